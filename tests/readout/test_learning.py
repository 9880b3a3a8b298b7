"""Witnesses in closed form, one for each attack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from molex_adapt.calibration import Calibration
from molex_adapt.errors import MolexError
from molex_adapt.low_level import POWER, STATISTICS
from molex_adapt.readout import Lesson, Readings, Readout, groups_of, learn, learning, pooled
from molex_adapt.readout.learning import folds_of
from molex_adapt.readout.readout import told
from molex_adapt.readout.view import Moments, Ridge, View, half_of
from tests.readout.lessons import STATES, lesson, pair, picked, wrong


def solved_by_numpy(rows: np.ndarray, real: np.ndarray, ridge: float) -> np.ndarray:
    own, forged = rows[real], rows[~real]
    gram = own.T @ own / len(own) / 2 + forged.T @ forged / len(forged) / 2
    gram += np.diag([ridge] * (rows.shape[1] - 1) + [1e-9])
    return np.linalg.solve(gram, (own.mean(0) - forged.mean(0)) / 2)


def says_by_numpy(views: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Half way between an equal say of both views and Fisher's discriminant of their unheard evidence."""
    spreads = views.std(1, ddof=1)
    own, forged = (views / spreads[:, None])[:, real], (views / spreads[:, None])[:, ~real]
    best = np.linalg.solve((np.cov(own) + np.cov(forged)) / 2, own.mean(1) - forged.mean(1)).clip(0)
    return (0.5 + best / best.sum()) / spreads


def test_a_view_that_tells_nothing_says_less():
    readout, (train, development) = Readout(STATES), pair({"buzz": 5})
    states = train.readings.states
    mixed = states[torch.randperm(len(states), generator=torch.Generator().manual_seed(0))]
    noise = replace(train, readings=Readings(train.readings.spectrum, mixed))
    learn(readout, {"expert": (noise, development)})
    low, high = (part.std() for part in told(readout.weights, readout.features(noise.readings)))
    assert low > 2 * high


def test_evidence_is_a_number_though_one_forged_recording_has_no_covariance():
    readout, (train, development) = Readout(STATES), pair({"buzz": 5})
    few = torch.arange(len(train)) <= int(train.bona_fide.sum())
    names = tuple(name for name, kept in zip(train.attacks, few, strict=True) if kept)
    groups = tuple(name for name, kept in zip(train.groups, few, strict=True) if kept)
    learn(
        readout,
        {"expert": (Lesson(train.bona_fide[few], names, groups, picked(train.readings, few)), development)},
    )
    assert readout.evidence(development.readings).isfinite().all()


def test_a_witness_is_ridge_regression_of_both_views_calibrated_on_what_it_has_not_learnt_from():
    readout, (train, development) = Readout(STATES), pair({"buzz": 5})
    learnt = learn(readout, {"expert": (train, development)})
    assert (learnt.remarks, readout.witnesses) == ([], ("expert/buzz",))
    real, folds = train.bona_fide.numpy(), folds_of(train.groups).numpy()
    assert (folds[real] == folds[~real]).all()  # a recording and its copy
    said, unheard = [], np.zeros((2, len(real)))
    for at, view in enumerate((readout.of_spectrum, readout.of_states)):
        rows = view(train.readings.views[at]).double().numpy()
        ridge = (10 / 120, 12 / 120)[at]
        said.append(
            view(development.readings.views[at]).double().numpy() @ solved_by_numpy(rows, real, ridge)
        )
        for fold in set(folds):
            left = folds != fold
            unheard[at, ~left] = rows[~left] @ solved_by_numpy(rows[left], real[left], ridge)
    says = says_by_numpy(unheard, real)
    evidence, unheard = says @ np.stack(said), says @ unheard
    calibration = Calibration.of_gaussians(unheard[real], unheard[~real])
    found = readout.evidence(development.readings)
    np.testing.assert_allclose(found.numpy(), calibration.apply(evidence), atol=2e-2)
    np.testing.assert_allclose(learnt.unheard["expert"].numpy(), calibration.apply(unheard), atol=2e-2)
    assert wrong(found, development.bona_fide) < 0.1
    # What it has learnt from, it tells too well.
    assert wrong(readout.evidence(train.readings), train.bona_fide) < wrong(
        learnt.unheard["expert"], train.bona_fide
    )


def test_what_is_known_from_its_own_recordings_alone_claims_no_more_than_their_number():
    for seed in range(0, 40, 2):  # of noise every second one is told the wrong way when unheard
        readout = Readout(STATES)
        train, reversed_ = (
            lesson(40, seed, {"buzz": 5}, shift=0.0),
            lesson(40, seed + 1, {"buzz": 5}, shift=-4.0),
        )
        learnt = learn(readout, {"expert": (train, reversed_)})
        unheard = learnt.unheard["expert"]
        if readout.witnesses and unheard[train.bona_fide].mean() < unheard[~train.bona_fide].mean():
            said = readout.evidence(train.readings)
            assert 0 < said[train.bona_fide].mean() < np.log(41) + 0.5
            return
    raise AssertionError("no seed leaves a witness to its own recordings")


def test_few_recordings_hold_a_witness_back():
    ridge = Ridge(least=0.05, pull=20.0)
    assert [ridge.of(forged) for forged in (0, 10, 200, 400, 4000)] == [20.0, 2.0, 0.1, 0.05, 0.05]
    rows = torch.randn(60, STATES, generator=torch.Generator().manual_seed(0))
    rows = torch.nn.functional.pad(rows, (0, 1), value=1.0)
    view, folds = View(STATES, 0, ridge), torch.arange(60) % 5
    real, forged = Moments.of(rows[:30], folds[:30], 5), Moments.of(rows[30:], folds[30:], 5)
    twice = replace(
        forged, sums=2 * forged.sums, counts=2 * forged.counts
    )  # the same, of twice as many recordings
    found = [view.solve(real.mean(), own)[:-1].norm() for own in (forged, twice)]
    assert found[0] < 0.8 * found[1]
    np.testing.assert_allclose(
        view.solve(real.mean(), forged, without=1).numpy(),
        solved_by_numpy(
            torch.cat([rows[:30], rows[30:][folds[30:] != 1]]).double().numpy(),
            np.arange(54) < 30,
            20 / 30,
        ),
        rtol=1e-4,
    )


def test_unheard_evidence_has_the_old_witnesses_too():
    readout = Readout(STATES)
    first = learn(readout, {"one": pair({"buzz": 5}), "two": pair({"hum": 70}, seed=3)})
    assert {name: len(own) for name, own in first.unheard.items()} == {"one": 240, "two": 240}
    train, development = pair({"buzz": 5}, seed=5)
    said = readout.evidence(train.readings)
    again = learn(readout, {"three": (train, development)}).unheard["three"]
    # An attack that two witnesses know is surer to be one, and nothing else says less against it.
    assert (again[~train.bona_fide] < said[~train.bona_fide] + np.log(3 / 2) + 1e-4).all()


def test_small_attacks_of_a_domain_share_a_witness_and_several_domains_have_one_for_any():
    readout = Readout(STATES)
    small = lesson(30, 2, {"hum": 70, "hiss": 71})
    learn(readout, {"a": pair({"buzz": 5}), "b": (small, small), "c": pair({"tone": 9}, seed=5)})
    assert readout.witnesses == ("/any", "a/buzz", "b/hiss+hum", "c/tone")
    held = lesson(50, 8, {"buzz": 5}).readings
    each = readout.each(held)
    expected = np.log(3) - torch.logsumexp(-each[:, 1:], dim=1) + each[:, 0]
    torch.testing.assert_close(readout.evidence(held), expected)
    again = Readout(STATES)
    again.load_state_dict(readout.state_dict())
    assert torch.equal(again.evidence(held), readout.evidence(held))
    learn(readout, {"d": pair({"new": 33}, seed=7)})
    assert readout.witnesses[-1] == "d/new"


def test_a_readout_that_learnt_when_power_was_all_goes_on_with_it(monkeypatch):
    own, held = pair({"buzz": 5}), lesson(50, 3, {"buzz": 5})
    cut = [
        replace(each, readings=Readings(each.readings.spectrum[:, :POWER], each.readings.states))
        for each in own
    ]
    heard = Readings(held.readings.spectrum[:, :POWER], held.readings.states)
    with monkeypatch.context() as then:
        then.setattr("molex_adapt.readout.readout.STATISTICS", POWER)
        former = Readout(STATES)
    learn(former, {"one": (cut[0], cut[1])})
    readout = Readout(STATES)
    readout.load_state_dict(former.state_dict())
    assert (readout.heard, Readout(STATES).heard) == (POWER, STATISTICS)
    assert torch.equal(readout.evidence(heard), former.evidence(heard))
    learn(readout, {"two": (cut[0], cut[1])})
    assert readout.weights.shape == (2, POWER + STATES + 2)
    assert readout.spectrum(torch.randn(1, 4000), torch.tensor([4000])).shape == (1, POWER)


def test_moments_in_half_precision_are_as_good_as_whole_ones():
    readout = Readout(STATES)
    learn(readout, {"one": pair({"buzz": 5})})
    view = readout.of_spectrum
    exact = view.kept.clone()
    half = exact + exact.abs() * 2**-11 * torch.randn(exact.shape, dtype=torch.float64).clamp(-1, 1)
    forged = Moments.of(
        view(lesson(60, 9, {"hum": 7}).readings.spectrum), torch.zeros(120, dtype=torch.int64), 1
    )
    one, two = view.solve(exact, forged), view.solve((half + half.T) / 2, forged)
    assert half_of(exact).dtype == torch.float16
    assert (one - two).norm() < 0.01 * one.norm()


def test_what_was_not_heard_is_left_to_the_states():
    readout, held = Readout(STATES), lesson(50, 3, {"buzz": 5})
    assert (readout.evidence(held.readings) == 0).all()  # nothing learnt yet
    nothing = Readings(torch.full_like(held.readings.spectrum, torch.nan), held.readings.states)
    assert "nothing" in learn(readout, {"x": (replace(held, readings=nothing),) * 2}).remarks[0]
    one_class = Lesson(
        torch.ones(50, dtype=torch.bool), (None,) * 50, ("a",) * 50, picked(held.readings, held.bona_fide)
    )
    learn(readout, {"x": (one_class, one_class)})
    assert not readout.has_learnt
    learn(readout, {"x": pair({"buzz": 5})})
    found = readout.evidence(nothing)
    assert torch.isfinite(found).all()
    assert wrong(found, held.bona_fide) < 0.2


def test_an_attack_that_cannot_be_told_gets_no_witness():
    readout, truth = Readout(STATES), torch.arange(80) < 40
    flat = Lesson(
        truth,
        (None,) * 40 + ("buzz",) * 40,
        ("a",) * 80,
        Readings(torch.ones(80, STATISTICS), torch.ones(80, STATES)),
    )
    (remark,) = learn(readout, {"x": (flat, flat)}).remarks
    assert "no witness for buzz" in remark
    assert not readout.has_learnt


def test_moments_that_no_recordings_give_are_refused():
    readout = Readout(STATES)
    learn(readout, {"one": pair({"buzz": 5})})
    readout.of_states.moments.mul_(-9)
    with pytest.raises(MolexError, match=r"cannot be solved: .* Restore head.safetensors"):
        learn(readout, {"two": pair({"hum": 7})})


def test_pooled_states_do_not_depend_on_padding():
    states = [torch.randn(2, 9, 4), torch.randn(2, 9, 4)]
    mask = torch.arange(9)[None] < torch.tensor([[9], [5]])
    for state in states:
        state[1, 5:] = torch.nan
    found = pooled(states, mask)
    assert found.shape == (2, 16)
    torch.testing.assert_close(found[1, :4], states[0][1, :5].mean(0))
    torch.testing.assert_close(found[1, 12:], states[1][1, :5].std(0, unbiased=False))


@pytest.mark.parametrize("voices", ["one", "two of a fold", "one forges"])
def test_recordings_of_too_few_voices_to_part_are_parted_by_source(voices):
    count = 120
    train, development = (lesson(count, seed, {"buzz": 5}, shift=0.0) for seed in (0, 1))
    alike = [name for name in map(str, range(20)) if folds_of([name]) == folds_of(["0"])][:2]
    spoken = {
        "one": ["0"] * 2 * count,
        "two of a fold": alike * count,
        "one forges": [*map(str, range(count)), *["0"] * count],
    }[voices]
    sources = [f"s{at % count}" for at in range(2 * count)]
    groups = groups_of(spoken, sources, train.attacks)
    assert list(groups[count:]) == sources[count:]
    assert list(groups[:count]) == (spoken if voices == "one forges" else sources)[:count]
    learnt = learn(readout := Readout(STATES), {"e": (replace(train, groups=groups), development)})
    told = learnt.unheard["e"]  # there is nothing to tell them by
    if readout.witnesses:
        assert wrong(told, train.bona_fide) > 0.35
        assert readout.evidence(development.readings).std() < 1.0


def test_voices_stay_together_where_there_are_enough():
    attacks = (None, None, "buzz", "buzz")
    assert groups_of(("0", "1", "0", "1"), ("a", "b", "c", "d"), attacks) == ("0", "1", "0", "1")
    assert len(set(folds_of(["0", "1"]).tolist())) == 2


def test_a_witness_that_nothing_was_kept_from_is_calibrated_on_development(monkeypatch):
    asked, fit = [], learning._calibrated
    monkeypatch.setattr(
        learning, "_calibrated", lambda evidence, *rest: asked.append(len(evidence)) or fit(evidence, *rest)
    )
    train, development = pair({"buzz": 5})
    for groups, expected in ((train.groups, len(train)), (("one",) * len(train), len(development))):
        asked.clear()
        learn(Readout(STATES), {"e": (replace(train, groups=groups), development)})
        assert set(asked) == {expected}


def test_a_readout_that_learnt_when_power_was_all_stays_on_its_device():
    former, readout = Readout(STATES), Readout(STATES).to("meta")
    former._hear(POWER)
    former.weights = former.weights.new_zeros(2, former.of_spectrum.size + former.of_states.size)
    state = former.state_dict() | {"scales": torch.zeros(2, 2)}
    for _ in range(2):  # as stored, and what a withdrawn expert gives back
        readout.make_room(state)
        assert {value.device.type for value in readout.state_dict().values()} == {"meta"}
        assert readout.weights.shape == former.weights.shape
        assert tuple(readout.of_spectrum.centre.shape) == (POWER,)


def test_very_many_recordings_are_read_part_by_part(monkeypatch):
    """And views are standardised on some of them; half precision is converted on the way."""
    whole, parts = Readout(STATES), Readout(STATES)
    train, development = pair({"buzz": 5})
    learn(whole, {"expert": (train, development)})
    monkeypatch.setattr("molex_adapt.readout.readings._MOST_VALUES", 7 * STATES)
    sizes = [len(part.states) for part in train.readings.parts]
    assert sum(sizes) == len(train) and max(sizes) == 7
    assert train.readings.parts[1].states.data_ptr() == train.readings.states[7:].data_ptr()
    learn(parts, {"expert": (train, development)})
    assert torch.equal(whole.of_states.basis, parts.of_states.basis)
    torch.testing.assert_close(parts.weights, whole.weights, rtol=1e-4, atol=1e-5)
    said = whole.evidence(development.readings)
    torch.testing.assert_close(parts.of_many(development.readings), said, rtol=1e-3, atol=1e-3)
    assert parts.of_many(picked(development.readings, torch.arange(0))).shape == (0,)

    monkeypatch.setattr("molex_adapt.readout.view.MOST_STANDARDISED", 60)
    some, heard = Readout(STATES), list[int]()
    lowrank = torch.svd_lowrank
    monkeypatch.setattr(
        torch, "svd_lowrank", lambda rows, **how: heard.append(len(rows)) or lowrank(rows, **how)
    )
    half = replace(train, readings=Readings(train.readings.spectrum, train.readings.states.half()))
    learn(some, {"expert": (half, development)})
    assert heard == [60]
    assert wrong(some.evidence(development.readings), development.bona_fide) < 0.1
