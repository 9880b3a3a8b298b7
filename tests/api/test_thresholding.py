"""Another threshold on real speech of the place of use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from molex_adapt import Run
from molex_adapt.api import thresholding
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.data import read
from molex_adapt.errors import DataError
from molex_adapt.metrics import threshold_for_new_voices

HOW = Run(workers=1, device="cpu", command="molex-adapt set-threshold data/")


@pytest.fixture
def voices_of():
    """A data set with its recordings divided among so many speakers."""

    def divide(folder, count):
        table = read(folder)
        return table.with_utterances(
            replace(item, speaker=f"voice {at % count}") for at, item in enumerate(table)
        )

    return divide


def test_it_refuses_what_was_asked_for_and_changes_nothing_else(registry, made):
    before = registry.store.generation()
    scores = {item.path: item.score for item in registry.score(made.buzz, run=HOW).scores}
    report = registry.set_threshold(read(made.buzz), refused=0.2, run=HOW)
    after = registry.store.generation()
    real = [scores[str(item.path)] for item in read(made.buzz) if item.label == BONA_FIDE]
    assert report.refused[1].refused == sum(score < after.threshold for score in real) == int(0.2 * len(real))
    assert report.refused[0].refused == sum(score < before.threshold for score in real)
    assert (after.number, after.parent) == (report.generation, before.number)
    assert report.threshold == (before.threshold, after.threshold)
    assert before.threshold != after.threshold
    assert after.experts == before.experts
    assert after.calibration == before.calibration
    assert after.metrics == before.metrics
    assert [item.score for item in registry.score(made.buzz, run=HOW).scores] == list(scores.values())


def test_known_domains_are_measured_at_both_thresholds(registry, made):
    report = registry.set_threshold(read(made.buzz), refused=0.3, run=HOW)
    recorded = registry.store.generation().changes
    assert report.change
    assert recorded.keys() == report.change.keys()
    for domain, change in report.change.items():
        rises = report.threshold[1] > report.threshold[0]
        assert (change.miss[1] >= change.miss[0]) == rises or change.miss[0] == change.miss[1]
        assert recorded[domain]["miss"] == list(change.miss)


def test_forged_recordings_decide_nothing_and_are_reported(registry, made):
    table = read(made.buzz)
    real = table.with_utterances(item for item in table if item.label == BONA_FIDE)
    alone = registry.set_threshold(real, refused=0.2, run=HOW)
    beside = registry.set_threshold(table, refused=0.2, run=HOW)
    assert alone.threshold[1] == beside.threshold[1]
    assert alone.accepted == {}
    assert set(beside.accepted) == set(table.attacks)
    assert beside.accepted[table.attacks[0]][0] == beside.accepted[table.attacks[0]][1]


def test_voices_are_reported_where_there_are_several_with_enough_recordings(registry, made, monkeypatch):
    monkeypatch.setattr("molex_adapt.api.thresholding.FEWEST_OF_A_VOICE", 3)
    table = read(made.buzz)
    real = [item for item in table if item.label == BONA_FIDE]
    named = [replace(item, speaker="ann" if at < 3 else "bob") for at, item in enumerate(real[:5])]
    report = registry.set_threshold(table.with_utterances(named), refused=0.4, run=HOW)
    assert list(report.voices) == ["ann"]
    assert report.voices["ann"][1].bona_fide == 3


def test_for_new_voices_the_threshold_is_that_of_their_differences(registry, made, monkeypatch):
    monkeypatch.setattr("molex_adapt.api.thresholding.FEWEST_VOICES", 3)
    table = read(made.buzz)
    named = [replace(item, speaker=f"voice {at % 3}") for at, item in enumerate(table)]
    whole = table.with_utterances(named)
    pooled = registry.set_threshold(whole, refused=0.3, run=HOW)
    report = registry.set_threshold(whole, refused=0.3, new_voices=True, run=HOW)
    scores = {item.path: item.score for item in registry.score(whole, run=HOW).scores}
    real = [(scores[str(item.path)], item.speaker) for item in named if item.label == BONA_FIDE]
    expected = threshold_for_new_voices(*zip(*real, strict=True), 0.3)
    assert report.threshold == (pooled.threshold[1], pytest.approx(expected))
    assert expected <= pooled.threshold[1]
    assert "of voices that are not in it" in registry.store.generation().remarks[0]
    with pytest.raises(DataError, match=r"0 voices are named.*takes 3 or more.*leave --new-voices out"):
        registry.set_threshold(table, refused=0.3, new_voices=True, run=HOW)


@pytest.mark.parametrize("refused", [-0.1, 0.5, float("nan")])
def test_shares_that_make_no_sense_are_refused(registry, made, refused):
    with pytest.raises(DataError, match="cannot be refused"):
        registry.set_threshold(made.buzz, refused=refused, run=HOW)
    assert registry.store.generation().number == len(registry.store.history())


def test_too_few_recordings_for_the_share_are_refused_and_nothing_is_written(registry, made):
    before = registry.store.history()
    with pytest.raises(DataError, match="takes 1000 or more"):
        registry.set_threshold(made.buzz, refused=0.001, run=HOW)
    assert registry.store.history() == before


def test_a_folder_without_classes_is_real_speech(registry, made, tmp_path):
    folder = tmp_path / "calls"
    folder.mkdir()
    real = [item.path for item in read(made.buzz) if item.label == BONA_FIDE]
    for at, path in enumerate(real):
        wave, rate = soundfile.read(path)
        soundfile.write(folder / f"{at}.wav", np.tile(wave, 4), rate)  # folders are read from 0.7 s on
    (folder / "words.wav").write_text("words")
    report = registry.set_threshold(folder, refused=0.25, run=HOW)
    assert [item.path for item in report.failed] == [str(folder / "words.wav")]
    assert report.remarks == []
    assert report.refused[1].bona_fide == len(real)
    assert report.as_dict()["bona_fide_refused"][1]["refused"] == int(0.25 * len(real))
    (folder / "notes.txt").write_text("words")
    named = registry.set_threshold(folder, refused=0.25, run=HOW)
    assert named.remarks == [f"no audio, or of no class, and not read: 1 ({folder / 'notes.txt'})"]
    listed = [f"calls/{at}.wav,ann" for at in range(len(real))]
    (tmp_path / "list.csv").write_text("\n".join(["file,speaker", *listed]))
    again = registry.set_threshold(tmp_path / "list.csv", refused=0.25, run=HOW)
    assert again.threshold[1] == report.threshold[1] and again.refused[1].bona_fide == len(real)


def test_what_it_refuses_of_unheard_voices_is_measured_by_leaving_each_out(registry, made, voices_of):
    table = voices_of(made.buzz, 3)
    report = registry.set_threshold(table, refused=0.2, run=HOW)
    scores = {item.path: item.score for item in registry.score(made.buzz, run=HOW).scores}
    real = [item for item in table if item.label == BONA_FIDE]
    refused = 0
    for voice in {item.speaker for item in real}:
        others = sorted(scores[str(item.path)] for item in real if item.speaker != voice)
        refused += sum(
            scores[str(item.path)] < others[int(0.2 * len(others))] for item in real if item.speaker == voice
        )
    assert (report.unheard.recordings, report.unheard.voices) == (len(real), 3)
    assert report.unheard.refused == refused / len(real)
    assert registry.store.generation().unheard.refused == report.unheard.refused
    assert "below a threshold that was chosen in the same way without them" in str(report.unheard)
    assert "that it was not chosen on were below it" in str(replace(report.unheard, in_turn=False))


def test_scores_say_so_as_long_as_the_threshold_is_kept(registry, made, voices_of, tiny_recipe):
    assert registry.score(made.buzz, run=HOW).unheard is None
    report = registry.set_threshold(voices_of(made.buzz, 3), refused=0.2, run=HOW)
    assert registry.score(made.buzz, run=HOW).unheard == report.unheard
    registry.add_expert(made.hum, domain="hum", recipe=tiny_recipe(), accept=True, run=HOW)
    later = registry.score(made.buzz, run=HOW)
    assert later.generation > report.generation
    assert later.unheard == report.unheard  # with the generation that it was measured with
    assert later.as_dict()["unheard"]["generation"] == report.generation
    registry.set_threshold(voices_of(made.buzz, 1), refused=0.3, run=HOW)
    assert registry.score(made.buzz, run=HOW).unheard is None  # one voice tells nothing of others


def test_many_voices_are_left_out_in_groups(registry, made, voices_of, monkeypatch):
    chosen = []
    choose = thresholding._chosen
    monkeypatch.setattr(
        thresholding, "_chosen", lambda real, **how: chosen.append(len(real)) or choose(real, **how)
    )
    monkeypatch.setattr(thresholding, "MOST_GROUPS", 2)
    table = voices_of(made.buzz, 4)
    report = registry.set_threshold(table, refused=0.2, run=HOW)
    real = sum(item.label == BONA_FIDE for item in table)
    assert len(chosen) == 3 and chosen[0] == real == sum(
        chosen[1:]
    )  # each is among the others once, of two groups
    assert (report.unheard.recordings, report.unheard.voices) == (real, 4)
