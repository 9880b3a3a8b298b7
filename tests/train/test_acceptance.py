from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molex_adapt.metrics import eer, measure
from molex_adapt.recipe import AcceptanceOptions
from molex_adapt.reports import Change
from molex_adapt.train.acceptance import (
    DomainScores,
    caught_at_threshold,
    compare,
    compare_refused,
    rates,
    refusals,
    refused_by_voice,
    score_sets,
    still_accepted,
    undetected,
    unknown,
    unproven,
)
from molex_adapt.train.judgement import Adapted, compare_all

OPTIONS = AcceptanceOptions()


def scored(real: list[float], fake: list[float]) -> DomainScores:
    labels = np.array([True] * len(real) + [False] * len(fake))
    return DomainScores(np.array(real + fake), labels, tuple(f"s{i}" for i in range(len(labels))))


GOOD = scored([2.0, 3.0, 4.0, 5.0], [-2.0, -3.0, -4.0, -5.0])
BAD = scored([2.0, 3.0, -4.0, -5.0], [-2.0, -3.0, 4.0, 5.0])


def test_comparison_of_the_same_utterances():
    change = compare({"world": GOOD}, {"world": BAD}, 2.5)["world"]
    assert change.eer == pytest.approx(eer(*BAD.classes) - eer(*GOOD.classes)) == pytest.approx(0.5)
    assert change.miss == (0.25, 0.75)
    assert change.false_alarm == (0.0, 0.5)
    assert change.bona_fide_shift == pytest.approx(np.mean([0, 0, -8, -10]))
    assert change.spoof_shift == pytest.approx(np.mean([0, 0, 8, 10]))
    low, high = change.interval
    assert low <= 0.5 <= high
    same = compare({"world": GOOD}, {"world": GOOD}, 2.5)["world"]
    assert (same.eer, same.interval, same.bona_fide_shift) == (0.0, (0.0, 0.0), 0.0)


def test_figures_per_domain():
    found = rates({"world": GOOD, "opus": BAD})
    assert (found["world"].eer, found["opus"].eer) == (0.0, 0.5)
    assert (found["world"].bona_fide, found["world"].spoof) == (4, 4)


def test_of_a_first_mixture_what_chance_would_do_as_well_is_said():
    many = scored(list(np.linspace(0, 2, 40)), list(np.linspace(-2, 0.2, 40)))
    found = rates({"world": many, "opus": BAD, "gsm": scored([1.0], [0.0])})
    opus, gsm = undetected(found)
    assert opus.startswith("opus: nobody can tell that it is detected. Its EER is 50.0 % (")
    assert gsm.startswith("gsm: nobody can tell") and "(no interval) on 1 bona fide and 1 spoofed" in gsm


def change(rise: float, low: float, high: float) -> Change:
    return Change(rise, (low, high), (0, 0), (0, 0), 0, 0)


@pytest.mark.parametrize(
    ("rise", "low", "refused"),
    [
        (0.05, 0.01, True),
        (0.05, -0.01, False),
        (0.03, 0.01, False),  # the tolerance itself is accepted
        (0.01, 0.005, False),
        (-0.2, -0.3, False),
    ],
)
def test_old_domains_may_rise_to_the_tolerance(rise, low, refused):
    options = AcceptanceOptions(tolerance=0.03)
    found = refusals({"world": change(rise, low, 0.2), "new": change(0.9, 0.8, 1.0)}, None, "new", options)
    assert bool(found) == refused
    if refused:
        assert found[0].startswith("world: EER rose by 5.0 points (interval ")
        assert "tolerance is 3.0" in found[0]
    assert len(refusals({"new": change(0.9, 0.8, 1.0)}, None, None, options)) == 1


@pytest.mark.parametrize(("refused_now", "reason"), [(2, False), (9, True)])
def test_real_speech_must_not_be_refused_more(refused_now, reason):
    before = scored([3.0] * 60, [-3.0] * 10)
    after = scored([-3.0] * refused_now + [3.0] * (60 - refused_now), [-3.0] * 10)
    # Two domains with the same real speech: it counts once.
    found = compare_refused({"a": before, "b": before}, {"a": after, "b": after}, 0.0)
    assert (found.bona_fide, found.sources, found.before) == (60, 60, 0.0)
    assert found.rise == pytest.approx(refused_now / 60)
    reasons = refusals({}, found, "new", OPTIONS)
    assert bool(reasons) == reason
    if reason:
        assert reasons[0].startswith("bona fide speech: 0.0 % of 60 recordings were refused")
    # Another batch and half precision move a score a little.
    near = {"a": before, "b": replace(before, scores=before.scores + 1e-3)}, {"a": after, "b": after}
    assert compare_refused(*near, 0.0) == found
    only_spoof = scored([], [-1.0])
    assert compare_refused({"a": only_spoof}, {"a": only_spoof}, 0.0) is None


def test_a_gain_must_be_certain():
    measured = rates({"new": scored([2.0] * 12, [-2.0] * 12)})
    assert not unproven({"new": change(-0.2, -0.3, -0.1)}, measured, "new")
    (text,) = unproven({"new": change(-0.1, -0.3, 0.1)}, measured, "new")
    # Twice the gain on either side, and one recording in twelve more: 2.8 times the gain in all.
    assert text.startswith(
        "new: no certain gain. Its EER changed by -10.0 points (interval -30.0 to +10.0) on 12"
    )
    assert "about 97 of each class would tell" in text
    (text,) = unproven({"new": replace(change(-0.1, -0.3, 0.1), voices=5)}, measured, "new")
    assert "recordings by 5 voices; a test split of about 97 of each class, by about 41 voices, would" in text
    (text,) = unproven({"new": change(-0.1, -0.2, 0.0)}, measured, "new")
    assert "about 41 of each class would tell" in text  # and not one more than failed
    (text,) = unproven({"new": change(0.0, 0.0, 0.0)}, measured, "new")
    assert "would tell" not in text
    assert not unproven({}, measured, "new")  # nothing to compare with
    for few in (scored([2.0], [-2.0]), scored([2.0] * 40, [-2.0] * 9)):
        (text,) = unproven({"new": change(-1.0, -1.0, -1.0)}, rates({"new": few}), "new", True)
        assert "test recordings tell nothing for certain; at least 10 of each class" in text


def test_a_gain_is_to_hold_for_other_voices():
    """Five recordings of a voice move together: one voice of eight decides."""
    voices = {f"s{at}": f"voice {at // 5 % 8}" for at in range(80)}
    before = scored([1.0] * 40, [1.0] * 10 + [-1.0] * 30)
    after = scored([1.0] * 40, [1.0] * 5 + [-1.0] * 35)
    over = {
        name: compare({"new": before}, {"new": after}, 0.0, new, known)["new"]
        for name, new, known in (("recordings", "new", {}), ("voices", "new", voices), ("old", None, voices))
    }
    assert over["recordings"] == over["old"]
    assert over["recordings"].voices is None and over["recordings"].interval[1] < 0
    assert over["voices"].voices == 8 and over["voices"].interval[1] == 0
    few = {source: f"voice {int(source[1:]) % 3}" for source in voices}
    assert compare({"new": before}, {"new": after}, 0.0, "new", few)["new"] == over["recordings"]


def test_many_small_steps_are_a_large_one():
    options = AcceptanceOptions(tolerance=0.03)
    changes = {"world": change(0.02, 0.01, 0.03)}
    assert not refusals(changes, None, "new", options)
    (text,) = refusals(changes, None, "new", options, risen={"world": 0.015})
    assert "rose by 2.0 points" in text and "and lay 1.5 above its best before" in text
    better = {"world": change(-0.01, -0.02, 0.0)}
    assert not refusals(better, None, "new", options, risen={"world": 0.09})


def test_what_too_few_recordings_leave_open_is_said():
    options, many = AcceptanceOptions(tolerance=0.03), scored([2.0] * 100, [-2.0] * 120)
    measured = rates({"world": many, "new": many, "gsm": many, "few": scored([2.0] * 100, [-2.0] * 16)})
    changes = {
        "world": change(0.0, -0.1, 0.1),
        "new": change(-0.2, -0.3, 0.3),
        "gsm": change(0.0, -0.01, 0.02),
        "few": change(0.0, 0.0, 0.0),  # no error is no certainty: three of sixteen may hide
    }
    (text,) = unknown(changes, measured, ["new"], options, [], "look at more")
    told = "world (up to +10.0, of 100 and 120 recordings), few (up to +18.8, of 100 and 16 recordings)"
    assert f"3.0 points: {told}; look at more" in text
    assert "world" not in unknown(changes, measured, ["new"], options, ["world: EER rose by 9 points"], "")[0]


def test_takes_of_one_recording_that_score_alike_count_each():
    takes = DomainScores(np.array([1.0, 1.0, 1.0, -1.0]), np.array([True] * 3 + [False]), ("s",) * 4)
    assert compare_refused({"a": takes, "b": takes}, {"a": takes, "b": takes}, 0.0).bona_fide == 3


@pytest.mark.parametrize(
    ("real", "fake", "caught"),
    [
        ([2.0, 3.0, 4.0, 5.0, 6.0], [-1.0, -1.0, -1.0, -1.0], True),
        ([2.0, 3.0, 4.0, 5.0, -5.0], [-1.0, -1.0, -1.0, -1.0], False),  # real speech is refused for it
        ([2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 1.0, 1.0, 1.0], False),
    ],
)
def test_an_attack_that_ranks_low_and_is_accepted_can_be_caught(real, fake, caught):
    before, after = scored([2.0, 3.0, 4.0, 5.0, 6.0] * 3, [1.0] * 12), scored(real * 3, fake * 3)
    assert caught_at_threshold({"new": before}, {"new": after}, "new", 0.0) == caught
    assert not caught_at_threshold({}, {"new": after}, "new", 0.0)
    one = scored([2.0, 3.0, 4.0, 5.0, 6.0] * 3, [1.0] * 11 + [-1.0])
    assert not caught_at_threshold({"new": before}, {"new": one}, "new", 0.0)  # one of twelve: not certain
    measured = rates({"new": after})
    assert bool(unproven({"new": change(0.0, 0.0, 0.0)}, measured, "new", caught)) != caught
    assert unproven({"new": change(0.1, 0.05, 0.2)}, measured, "new", caught)


def test_what_is_caught_at_the_threshold_is_accepted_and_said(tiny_recipe):
    before, after = (
        scored([2.0, 3.0, 4.0, 5.0, 6.0] * 3, [1.0] * 12),
        scored([2.0, 3.0, 4.0, 5.0, 6.0] * 3, [-1.0] * 12),
    )
    for start, end, held in ((before, after, True), (before, before, False)):
        result = Adapted(["new"], 0.0)
        compare_all({"new": start}, {"new": end}, "new", tiny_recipe(), result, {})
        assert bool(result.refused) != held
        (text,) = result.told or [""]
        assert bool(text) == held
        said = "new: what is gained for certain is at the frozen threshold, which accepts 0 % of its spoofed speech"
        assert not held or text.startswith(f"{said} (100 % before)")


def test_scores_are_calibrated(detector_of, features_of, tiny_recipe):
    from molex_adapt.calibration import Calibration

    detector = detector_of(tiny_recipe(), "world")
    plain = score_sets(detector, {"world": features_of(3)})["world"]
    detector.calibration = Calibration(2.0, -1.0)
    found = score_sets(detector, {"world": features_of(3)})["world"]
    np.testing.assert_allclose(found.scores, 2 * plain.scores - 1)
    assert found.bona_fide.tolist() == [True] * 3 + [False] * 3
    assert found.groups == (["0/0", "0/1", "0/2"], ["0/0", "0/1", "0/2"])


def test_an_attack_that_passes_the_threshold_all_the_same_is_said():
    rates = measure([1.0, 2.0, 3.0] * 4, [-1.0, 0.0, 2.5] * 4)
    passes = replace(change(-0.2, -0.3, -0.1), false_alarm=(0.99, 0.97))
    (text,) = still_accepted({"new": passes}, {"new": rates}, "new")
    assert "97 % of its spoofed speech is still accepted (99 % before)" in text
    assert "molex-adapt set-threshold" in text
    for same in (replace(passes, eer=0.0), replace(passes, eer=0.05)):
        (text,) = still_accepted({"new": same}, {"new": rates}, "new")
        assert "no lower than before" in text and "set-threshold" not in text
    caught = replace(passes, false_alarm=(0.9, 0.12))
    assert not still_accepted({"new": caught, "old": passes}, {"new": rates}, "new")


def test_a_voice_that_is_refused_more_often_is_a_reason_of_its_own():
    before = scored([2.0] * 140, [-2.0] * 4)
    worse = scored([2.0] * 100 + [-1.0] * 10 + [2.0] * 30, [-2.0] * 4)
    voices = {f"s{at}": "ann" if at < 100 else "june" for at in range(125)}  # fifteen are nobody's
    voices |= {f"s{at}": "few" for at in range(130, 140)}
    found = refused_by_voice({"a": before, "b": before}, {"a": worse, "b": worse}, 0.0, voices)
    assert {voice: (own.before, own.after, own.bona_fide) for voice, own in found.items()} == {
        "ann": (0.0, 0.0, 100),
        "june": (0.0, 0.4, 25),
    }
    (reason,) = refusals({}, None, None, OPTIONS, found)
    assert reason.startswith(
        "voice june: 0.0 % of 25 recordings were refused at the frozen threshold, now 40.0 %"
    )
    assert refusals({}, None, None, OPTIONS, {"ann": found["ann"]}) == []
