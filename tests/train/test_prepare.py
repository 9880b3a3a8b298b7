from __future__ import annotations

import pytest
import soundfile
import torch

from molex_adapt import Run
from molex_adapt.data import Failed, read
from molex_adapt.errors import DataError
from molex_adapt.features import Features, OnlineFeatures, StoredClips, source_id, with_draws
from molex_adapt.prefix_cache import PrefixCache
from molex_adapt.progress import Silent
from molex_adapt.train import prepare as module
from molex_adapt.train.prepare import prepare, prepare_check
from molex_adapt.train.stages import append_expert


@pytest.fixture(scope="module")
def folder(recorded, tmp_path_factory):
    made = recorded(tmp_path_factory.mktemp("data"), bona_fide=16, buzz=12, hum=12)
    (made / "bonafide" / "broken.wav").write_bytes(b"no audio")
    return made


def test_a_folder_becomes_three_sets_of_features(detector_of, tiny_recipe, folder):
    detector = detector_of(tiny_recipe(joint={"draws": 1}))
    found = prepare(detector, folder, detector.recipe, Run(workers=1))
    sets = {"train": found.train, "dev": found.dev, "test": found.test}
    for split, features in sets.items():
        items = with_draws(found.table.select(split=split), 0 if split == "test" else 1)
        assert isinstance(features, Features)
        assert features.sources == tuple(source_id(item.source) for item in items)
        assert features.bona_fide.tolist() == [item.label == "bonafide" for item in items]
    sources = [set(features.sources) for features in sets.values()]
    assert not sources[0] & sources[1]
    assert not sources[0] & sources[2]
    counts = [len(found.table.select(split=split)) for split in sets]
    assert sum(counts) == 40
    assert [len(features) for features in sets.values()] == [2 * counts[0], 2 * counts[1], counts[2]]
    assert [item.path.endswith("broken.wav") for item in found.failed] == [True]
    assert "disjoint by recording" in found.remarks[0]
    assert found.remarks[1].startswith(
        "the dev split has 1 bona fide and 4 spoofed recordings: of fewer than 10"
    )
    again = prepare(detector, read(folder), detector.recipe, Run(workers=1))
    assert again.test.sources == found.test.sources


def test_a_first_mixture_hears_drawn_conditions_and_a_further_expert_does_not(
    detector_of, tiny_recipe, folder
):
    def counts(draws: int, experts: int) -> tuple[list[int], tuple[str, ...]]:
        recipe = tiny_recipe(joint={"draws": draws})
        detector = detector_of(recipe)
        for number in range(experts):
            append_expert(detector, f"expert{number}", recipe, number)
        found = prepare(detector, folder, recipe, Run(workers=1))
        return [len(part) for part in (found.train, found.dev, found.test)], found.remarks

    plain, silent = counts(0, 0)
    assert not any("drawn" in remark for remark in silent)
    drawn, told = counts(2, 0)
    assert drawn == [3 * plain[0], 3 * plain[1], plain[2]]
    assert told[-1] == (
        f"train and dev are heard {2 * sum(plain[:2])} times under drawn conditions, too (joint.draws=2)"
    )
    assert counts(2, 1) == (plain, silent)


def test_one_attack_with_all_bona_fide_speech(detector_of, tiny_recipe, folder):
    detector = detector_of(tiny_recipe())
    whole = prepare(detector, folder, detector.recipe, Run(workers=1))
    hum = whole.of_attacks(["hum"])
    assert hum.table.attacks == ["hum"]
    for part, all_of_it in ((hum.train, whole.train), (hum.dev, whole.dev), (hum.test, whole.test)):
        assert set(part.attacks) == {None, "hum"}
        assert int(part.bona_fide.sum()) == int(all_of_it.bona_fide.sum())


def test_what_does_not_fit_into_memory_is_computed_anew(detector_of, tiny_recipe, folder, monkeypatch):
    recipe = tiny_recipe()
    monkeypatch.setattr(module, "memory_gib", lambda: 1e-9)
    heard: list[str] = []

    class Ear(Silent):
        def note(self, text):
            heard.append(text)

    found = prepare(detector_of(recipe), folder, recipe, Run(workers=1, progress=Ear()))
    assert isinstance(found.train, OnlineFeatures)
    assert isinstance(found.test, Features)
    assert "do not fit into 1e-09 GiB" in heard[0]
    hum = found.of_attacks(["hum"]).train
    assert len(hum) < len(found.train)
    assert {item.attack for item in hum.utterances} == {None, "hum"}


def test_what_does_not_fit_into_memory_stays_in_the_cache_where_there_is_one(
    detector_of, tiny_recipe, folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("MOLEX_CACHE", str(tmp_path / "cache"))
    detector = detector_of(tiny_recipe())
    resident = prepare(detector, folder, tiny_recipe(), Run(workers=1)).train
    monkeypatch.setattr(module, "memory_gib", lambda: 1e-9)
    stored = prepare(detector, folder, tiny_recipe(), Run(workers=1)).train
    assert isinstance(resident.clips, tuple)
    assert isinstance(stored.clips, StoredClips)
    indices = [3, 0, 5]
    for kept, mapped in zip(
        resident.batch(indices, 12, [0.1, 0.5, 0.9]),
        stored.batch(indices, 12, [0.1, 0.5, 0.9]),
        strict=True,
    ):
        torch.testing.assert_close(mapped, kept, atol=0, rtol=0)
    assert isinstance(stored.of_attacks(["hum"]).clips, StoredClips)
    assert (stored.sources, stored.attacks) == (resident.sources, resident.attacks)
    PrefixCache.standard().clear()
    with pytest.raises(DataError, match="kept in .* are gone.*MOLEX_CACHE_GIB"):
        stored.batch(indices, 12, [0.0] * 3)


def test_a_cache_that_is_too_small_keeps_no_training_set(
    detector_of, tiny_recipe, folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("MOLEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MOLEX_CACHE_GIB", "1e-7")
    recipe = tiny_recipe()
    monkeypatch.setattr(module, "memory_gib", lambda: 1e-9)
    assert isinstance(prepare(detector_of(recipe), folder, recipe, Run(workers=1)).train, OnlineFeatures)


def test_a_quarter_of_the_memory_is_for_training_features(monkeypatch):
    pages = {"SC_PHYS_PAGES": 2**23, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(module.os, "sysconf", pages.__getitem__)
    assert module.memory_gib() == 8.0
    pages["SC_PHYS_PAGES"] = -1
    assert module.memory_gib() == 4.0

    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr(module.os, "sysconf", unknown)
    assert module.memory_gib() == 4.0


def test_large_measuring_sets_are_halved_by_class(detector_of, tiny_recipe, folder, monkeypatch):
    monkeypatch.setattr(module, "MOST_MEASURED", 4)
    detector = detector_of(tiny_recipe())
    found = prepare(detector, folder, detector.recipe, Run(workers=1))
    assert [len(found.test.of_class(label)) for label in (True, False)] == [2, 2]
    assert len(found.train) > 4


def test_a_class_that_is_lost_is_named(detector_of, tiny_recipe, sound, tmp_path):
    detector = detector_of(tiny_recipe())
    for label in ("bonafide", "spoof/buzz"):
        (tmp_path / label).mkdir(parents=True)
    for at in range(6):
        soundfile.write(tmp_path / "bonafide" / f"real{at}.wav", sound(at), 16_000)
        soundfile.write(tmp_path / "spoof" / "buzz" / f"{at}.wav", sound(50 + at, 0.2), 16_000)
    with pytest.raises(DataError, match=r"left with 6 bonafide, 0 spoof .* 6 of 12 .*/0.wav: too short"):
        prepare(detector, tmp_path, detector.recipe, Run(workers=1))
    rows = [f"bonafide/real{at}.wav,bonafide,,dev" for at in range(6)]
    rows += [f"spoof/{at}.wav,spoof,buzz,train" for at in range(6)]
    for at in range(6):
        soundfile.write(tmp_path / "spoof" / f"{at}.wav", sound(90 + at, 0.7), 16_000)
    (tmp_path / "manifest.csv").write_text("path,label,attack,split\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match="the train split has no bonafide"):
        prepare(detector, tmp_path, detector.recipe, Run(workers=1))


def test_a_rare_attack_is_in_every_split_that_is_measured(
    tiny_recipe, detector_of, recorded, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "MOST_MEASURED", 4)
    folder = recorded(tmp_path / "data", bona_fide=24, buzz=24, hum=24, rare=4)
    recipe = tiny_recipe(data={"fractions": [0.2, 0.4, 0.4]})
    found = prepare(detector_of(recipe), folder, recipe, Run(workers=1))
    for split, part in (("dev", found.dev), ("test", found.test)):
        assert set(part.attacks) == {None, *found.table.select(split=split).attacks}
        assert len(part) < 8


def test_a_class_that_is_lost_after_the_audit_is_missed_before_training(
    detector_of, tiny_recipe, folder, monkeypatch
):
    extract = module.extract

    def without_bona_fide(detector, part, run, **how):
        real = [item for item in part if item.label == "bonafide"]
        features, _ = extract(detector, part.select(label="spoof"), run, **how)
        return features, tuple(Failed(str(item.path), "it is gone") for item in real)

    monkeypatch.setattr(module, "extract", without_bona_fide)
    with pytest.raises(DataError, match="the train split is left with 0 bonafide, .* it is gone"):
        prepare(detector_of(tiny_recipe()), folder, tiny_recipe(), Run(workers=1))


def test_more_than_a_tenth_that_cannot_be_used_is_refused_unless_allowed(
    tiny_recipe, detector_of, recorded, tmp_path
):
    detector = detector_of(tiny_recipe())
    folder = recorded(tmp_path / "data", bona_fide=12, buzz=12)
    for path in sorted((folder / "bonafide").iterdir())[:3]:
        path.write_bytes(b"no sound")
    with pytest.raises(DataError, match=r"3 of 24 recordings .* cannot be used, such as .*--allow-failures"):
        prepare(detector, folder, detector.recipe, Run(workers=1))
    found = prepare(detector, folder, detector.recipe, Run(workers=1, allow_failures=True))
    assert len(found.failed) == 3
    with pytest.raises(DataError, match=r"3 of 24 recordings .* cannot be used"):
        prepare_check(detector, folder, detector.recipe, Run(workers=1))
    _, features, lost = prepare_check(detector, folder, detector.recipe, Run(workers=1, allow_failures=True))
    assert len(lost) == 3 and features.has_both_classes


def test_the_control_is_never_learnt(tiny_recipe, detector_of, recorded, tmp_path):
    detector = detector_of(tiny_recipe())
    folder = recorded(tmp_path / "data", bona_fide=12, null=12)
    with pytest.raises(DataError, match="12 recordings have the attack 'null', which is the control"):
        prepare(detector, folder, detector.recipe, Run(workers=1))
    assert prepare_check(detector, folder, detector.recipe, Run(workers=1))[0].attacks == ["null"]


def test_what_the_readout_reads_needs_room_in_the_cache_as_well(
    detector_of, tiny_recipe, folder, monkeypatch, tmp_path
):
    asked = []
    monkeypatch.setattr(PrefixCache, "takes", lambda _, size: bool(asked.append(size)))
    for recipe in (tiny_recipe(), tiny_recipe(head={"readout": True})):
        data = prepare(detector_of(recipe), folder, recipe, Run(workers=1, cache=tmp_path))
    heard = sum(map(len, (data.train, data.dev, data.test)))  # train and dev under conditions, too
    states = 2 * heard * detector_of(recipe).pooled_width
    assert asked[1] - asked[0] == pytest.approx(states, abs=2)
