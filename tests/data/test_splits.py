from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molex_adapt.data import Table, Utterance, assign_splits, describe_split
from molex_adapt.errors import DataError


def _row(
    source: str, label: str = "bonafide", speaker: str | None = None, split: str | None = None
) -> Utterance:
    attack = None if label == "bonafide" else "world"
    return Utterance(Path(f"{label}/{source}.wav"), label, attack, source, speaker, split)


def _paired(count: int, speakers: int = 0) -> Table:
    rows = []
    for index in range(count):
        speaker = f"s{index % speakers}" if speakers else None
        rows += [_row(f"r{index}", "bonafide", speaker), _row(f"r{index}", "spoof", speaker)]
    return Table(tuple(rows), "data")


def _sides(table: Table, key: str = "source") -> dict[str, set[str | None]]:
    sides = defaultdict(set)
    for item in table:
        sides[getattr(item, key)].add(item.split)
    return sides


def _in_every_split(table: Table) -> bool:
    labels = {item.label for item in table}
    return all(
        len(table.select(label=label, split=split)) for label in labels for split in ("train", "dev", "test")
    )


def test_a_source_is_on_one_side_and_the_fractions_are_met():
    table = assign_splits(_paired(2_000), seed=1)
    assert all(len(found) == 1 for found in _sides(table).values())
    sizes = Counter(item.split for item in table)
    assert [sizes[split] / len(table) for split in ("train", "dev", "test")] == pytest.approx(
        [0.6, 0.15, 0.25], abs=0.03
    )


def test_the_side_of_a_source_does_not_depend_on_the_rest_of_the_table():
    small = {item.source: item.split for item in assign_splits(_paired(150), seed=3)}
    large = {item.source: item.split for item in assign_splits(_paired(600), seed=3)}
    spoofs = assign_splits(_paired(300).select(label="spoof"), seed=3)
    assert all(large[source] == split for source, split in small.items())
    assert all(large[item.source] == item.split for item in spoofs)


def test_the_seed_decides():
    sides = [[item.split for item in assign_splits(_paired(60), seed=seed)] for seed in (1, 1, 2)]
    assert sides[0] == sides[1] != sides[2]


def test_nothing_but_the_split_changes():
    table = _paired(30)
    again = assign_splits(table, seed=0)
    assert [replace(item, split=None) for item in again] == list(table) and again.root == table.root


@pytest.mark.parametrize("count", [3, 4, 5, 10, 20])
@pytest.mark.parametrize("seed", range(12))
def test_small_tables_have_every_class_in_every_split(count, seed):
    table = _paired(count)
    unpaired = Table(tuple(replace(item, source=item.label + item.source) for item in table), "data")
    for case in (table, unpaired):
        done = assign_splits(case, seed=seed)
        assert _in_every_split(done)
        assert all(len(found) == 1 for found in _sides(done).values())
        assert assign_splits(case, seed=seed) == done


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 15)), min_size=1, max_size=60),
    st.integers(0, 5),
    st.sampled_from(["auto", "source"]),
)
def test_any_table_is_divided_without_leaks_or_refused(rows, seed, by):
    table = Table(
        tuple(_row(f"r{s}", "spoof" if fake else "bonafide", f"v{v}") for s, fake, v in rows), "data"
    )
    sources = {
        label: {item.source for item in table if item.label == label} for label in ("bonafide", "spoof")
    }
    try:
        done = assign_splits(table, seed=seed, by=by)
    except DataError:
        assert any(0 < len(found) < 3 for found in sources.values())
        return
    assert _in_every_split(done) and all(len(found) == 1 for found in _sides(done).values())


def test_too_few_recordings():
    with pytest.raises(
        DataError, match=r"data has 2 bonafide recordings .* at least 3 different source recordings"
    ):
        assign_splits(_paired(2), seed=0)


def test_a_split_of_fraction_zero_stays_empty():
    table = assign_splits(_paired(8), seed=0, fractions=(0.7, 0.3, 0.0))
    assert {item.split for item in table} == {"train", "dev"}


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5), (0.5, 0.5)]
)
def test_fractions_that_are_none(fractions):
    with pytest.raises(DataError, match="three numbers of 0 or more that sum to 1"):
        assign_splits(_paired(9), seed=0, fractions=fractions)


def test_speakers_are_kept_apart_where_there_are_enough():
    table = assign_splits(_paired(300, speakers=30), seed=1)
    assert all(len(found) == 1 for found in _sides(table, "speaker").values())
    assert "disjoint by recording and by speaker (30 speakers)" in describe_split(table)


def test_a_few_speakers_are_shared_and_the_description_says_so():
    table = assign_splits(_paired(300, speakers=5), seed=1)
    assert describe_split(table).endswith("disjoint by recording; 5 of 5 speakers are shared between splits")
    apart = assign_splits(_paired(300, speakers=5), seed=1, by="speaker")
    assert all(len(found) == 1 for found in _sides(apart, "speaker").values())


def test_speakers_joined_by_a_recording_stay_together():
    rows = list(_paired(40, speakers=20))
    rows += [_row("shared", "bonafide", "s0"), _row("shared", "spoof", "s1")]
    table = assign_splits(Table(tuple(rows), "data"), seed=4, by="speaker")
    assert all(len(found) == 1 for found in _sides(table).values())
    assert all(len(found) == 1 for found in _sides(table, "speaker").values())
    assert _sides(table, "speaker")["s0"] == _sides(table, "speaker")["s1"]


def test_one_voice_for_all_spoofs_falls_back_to_sources():
    rows = [
        item if item.label == "bonafide" else replace(item, speaker="tts")
        for item in _paired(60, speakers=30)
    ]
    table = assign_splits(Table(tuple(rows), "data"), seed=1)
    assert _in_every_split(table)
    assert "of 31 speakers are shared" in describe_split(table)


def test_one_voice_with_texts_of_its_own_falls_back_to_sources():
    real = [item for item in _paired(60, speakers=30) if item.label == "bonafide"]
    table = Table((*real, *(_row(f"t{index}", "spoof", "tts") for index in range(60))), "data")
    assert _in_every_split(assign_splits(table, seed=1))


def test_by_speaker_needs_speakers():
    with pytest.raises(DataError, match="60 of 60 utterances have no speaker"):
        assign_splits(_paired(30), seed=0, by="speaker")


def test_stated_splits_are_kept_even_if_one_is_empty():
    rows = (_row("a", split="test"), _row("b", "spoof", split="test"))
    assert assign_splits(Table(rows, "eval only"), seed=0).utterances == rows


def test_copies_follow_the_stated_split_of_their_source():
    rows = list(_paired(60))
    rows[0] = replace(rows[0], split="test")
    for seed in range(8):
        table = assign_splits(Table(tuple(rows), "data"), seed=seed)
        assert table[0].split == table[1].split == "test" and _in_every_split(table)


def test_small_tables_with_stated_splits_move_only_the_others():
    rows = [replace(item, split="train") if item.source in ("r0", "r1") else item for item in _paired(6)]
    for seed in range(20):
        table = assign_splits(Table(tuple(rows), "data"), seed=seed)
        assert [item.split for item in list(table)[:4]] == ["train"] * 4 and _in_every_split(table)


def test_a_source_in_two_stated_splits():
    rows = (_row("x7", split="train"), _row("x7", "spoof", split="test"))
    with pytest.raises(
        DataError, match="The source 'x7' is in two splits: bonafide/x7.wav in train, spoof/x7.wav in test"
    ):
        assign_splits(Table(rows, "data"), seed=0)


def test_a_speaker_in_two_stated_splits():
    rows = (_row("a", speaker="eve", split="train"), _row("b", "spoof", speaker="eve", split="test"))
    table = Table(rows, "data")
    with pytest.raises(DataError, match="The speaker 'eve' is in two splits"):
        assign_splits(table, seed=0, by="speaker")
    assert assign_splits(table, seed=0) == table
    joined = (_row("a", speaker="eve", split="dev"), _row("c", "spoof", "eve"), _row("c", speaker="bob"),
              _row("d", speaker="bob", split="test"))  # fmt: skip
    with pytest.raises(
        DataError, match="speakers 'eve' and 'bob', who share a source recording, are in two splits"
    ):
        assign_splits(Table(joined, "data"), seed=0, by="speaker")


def test_descriptions():
    assert describe_split(_paired(3)) == "no splits assigned"
    leaky = Table((_row("a", split="train"), _row("a", "spoof", split="test")), "data")
    assert "NOT disjoint: 1 of 1 recordings are shared" in describe_split(leaky)
    known = Table((_row("a", split="train", speaker="x"), _row("b", split="dev")), "data")
    assert describe_split(known) == (
        "train 1, dev 1; disjoint by recording and by speaker (1 speakers); 1 utterances have no known "
        "speaker"
    )


def test_large_tables_are_quick():
    table = _paired(20_000, speakers=500)
    assert _in_every_split(
        assign_splits(table, seed=0, fractions=(0.999_98, 0.000_01, 0.000_01), by="source")
    )
