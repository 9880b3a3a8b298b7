"""The readout: witnesses in closed form, one for each attack."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from molex_adapt import Registry, Run
from molex_adapt.base import load_base
from molex_adapt.calibration import Calibration
from molex_adapt.data import read
from molex_adapt.detector import Detector
from molex_adapt.errors import MolexError, RegistryError
from molex_adapt.features import OnlineFeatures, extract, logits_of, pad, parts_of, readings_of, score_table
from molex_adapt.head import Head
from molex_adapt.low_level import POWER, STATISTICS
from molex_adapt.readout import Lesson, Readings, Readout, learn, pooled
from molex_adapt.readout.learning import folds_of
from molex_adapt.readout.readout import told
from molex_adapt.readout.view import Moments, Ridge, View, half_of
from molex_adapt.registry import Store, layout
from molex_adapt.registry.assemble import require_head
from molex_adapt.shipped import registry_path
from molex_adapt.train import readout_stage
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import learn_readout, weigh_readout
from molex_adapt.train.stages import append_expert
from molex_adapt.witnesses import brought_speech, bytes_of, names_of, speech_arrays, with_those_of, without

STATES = 40


def lesson(count: int, seed: int, attacks: dict[str, int], shift: float = 4.0) -> Lesson:
    """So many of bona fide speech and of each attack, whose recordings are shifted in one feature of either view."""
    generator = torch.Generator().manual_seed(seed)
    total = count * (1 + len(attacks))
    spectrum = torch.randn(total, STATISTICS, generator=generator) * 3 + 1
    states = torch.randn(total, STATES, generator=generator)
    names: list[str | None] = [None] * count
    for number, (name, at) in enumerate(attacks.items(), 1):
        rows = slice(number * count, (number + 1) * count)
        spectrum[rows, at] += 3 * shift
        states[rows, at % STATES] += shift
        names += [name] * count
    groups = tuple(f"{seed} {at % count}" for at in range(total))
    return Lesson(Readings(spectrum, states), torch.arange(total) < count, tuple(names), groups)


def pair(attacks: dict[str, int], seed: int = 0, count: int = 120) -> tuple[Lesson, Lesson]:
    return lesson(count, seed, attacks), lesson(60, seed + 1, attacks)


def wrong(evidence: torch.Tensor, truth: torch.Tensor) -> float:
    return float(((evidence > 0) != truth).float().mean())


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
        {"expert": (Lesson(train.readings.pick(few), train.bona_fide[few], names, groups), development)},
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


def test_a_further_domain_leaves_the_witnesses_as_they_are_and_is_taken_away_without_a_trace():
    readout = Readout(STATES)
    learn(readout, {"one": pair({"buzz": 5})})
    held = lesson(200, 9, {"buzz": 5})
    before, kept = readout.evidence(held.readings), readout.each(held.readings)
    former = arrays_of(readout)
    taught = learn(readout, {"two": pair({"hum": 70, "hiss": 71}, seed=3)}).speech
    assert readout.witnesses == ("one/buzz", "two/hiss", "two/hum")
    torch.testing.assert_close(
        readout.each(held.readings)[:, :1], kept
    )  # not to the bit: products differ in width
    # A mixture of attacks: what one witness says of its own attack costs at most the logarithm of their number.
    after = readout.evidence(held.readings)
    assert (after[~held.bona_fide] <= before[~held.bona_fide] + np.log(3) + 1e-4).all()
    assert wrong(after, held.bona_fide) < 0.15
    other = lesson(200, 11, {"hum": 70})
    assert wrong(readout.evidence(other.readings), other.bona_fide) < 0.15
    arrays = {f"readout.{name}": value.numpy() for name, value in readout.state_dict().items()}
    left = without(arrays, "two", kept_of(arrays, taught["two"]))
    again = Readout(STATES)
    again.load_state_dict(
        {name.removeprefix("readout."): torch.from_numpy(value) for name, value in left.items()}
    )
    assert again.witnesses == ("one/buzz",)
    assert torch.equal(again.evidence(held.readings), before)
    assert left.keys() == former.keys()
    for name, value in former.items():
        exact = np.array_equal if "moments" not in name else partial(np.allclose, rtol=1e-5, atol=1e-6)
        assert exact(left[name], value), name
    stays = without(arrays, "two")  # of an expert that was made before its part was kept
    assert np.array_equal(stays["readout.of_states.moments"], arrays["readout.of_states.moments"])
    # What is learnt later is as if it had never been there.
    never = Readout(STATES)
    learn(never, {"one": pair({"buzz": 5})})
    for each in (again, never):
        learn(each, {"three": pair({"click": 40}, seed=7)})
    torch.testing.assert_close(again.weights, never.weights, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(again.scales, never.scales, rtol=1e-3, atol=1e-4)


def kept_of(arrays, speech) -> dict[str, np.ndarray]:
    return speech_arrays(arrays, [part.numpy() for part in speech])


def test_a_domain_without_a_witness_leaves_nothing_behind():
    readout = Readout(STATES)
    learn(readout, {"one": pair({"buzz": 5})})
    before = arrays_of(readout)
    train, development = pair({"hum": 70}, seed=3)
    alike = [
        replace(part, readings=Readings(0 * part.readings.spectrum, 0 * part.readings.states))
        for part in (train, development)
    ]
    found = learn(readout, {"two": (alike[0], alike[1])})
    assert found.speech == {} and "no witness for hum" in found.remarks[0]
    after = arrays_of(readout)
    assert all(np.array_equal(after[name], value) for name, value in before.items())


def test_experts_may_come_in_any_order_and_go_again():
    first = Readout(STATES)
    learn(first, {"one": pair({"buzz": 5})})
    begun = arrays_of(first)
    sent, kept = {}, {}
    for name, attack, seed in (("two", "hum", 3), ("three", "hiss", 4)):
        own = copy.deepcopy(first)
        speech = learn(own, {name: pair({attack: 70}, seed=seed)}).speech[name]
        sent[name], kept[name] = arrays_of(own), kept_of(begun, speech)

    def come(*names: str) -> dict[str, np.ndarray]:
        head = begun
        for name in names:
            head = with_those_of(head, sent[name], name, name, kept[name])
        return head

    both, other = come("two", "three"), come("three", "two")
    assert both["readout.domains"] == other["readout.domains"] == 3
    for name in ("of_spectrum", "of_states"):
        moments = f"readout.{name}.moments"
        assert np.allclose(both[moments], other[moments], rtol=1e-5, atol=1e-6)
        assert not np.allclose(both[moments], begun[moments], rtol=1e-3)
        alone = without(both, "two", kept["two"])
        assert np.allclose(alone[moments], come("three")[moments], rtol=1e-5, atol=1e-6)
        assert np.allclose(
            without(alone, "three", kept["three"])[moments], begun[moments], rtol=1e-5, atol=1e-6
        )
        nothing = without(without(alone, "three", kept["three"]), "one", kept["two"])
        assert nothing["readout.domains"] == 0
    stranger = Readout(STATES)
    learn(stranger, {"x": pair({"buzz": 5}, seed=9)})
    assert not brought_speech(arrays_of(stranger), kept["two"])
    assert brought_speech(begun, kept["two"]) and not brought_speech(begun, None)


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
    assert (readout(held.readings) == 0).all()  # nothing learnt yet
    nothing = Readings(torch.full_like(held.readings.spectrum, torch.nan), held.readings.states)
    assert "nothing" in learn(readout, {"x": (replace(held, readings=nothing),) * 2}).remarks[0]
    one_class = Lesson(
        held.readings.pick(held.bona_fide), torch.ones(50, dtype=torch.bool), (None,) * 50, ("a",) * 50
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
        Readings(torch.ones(80, STATISTICS), torch.ones(80, STATES)),
        truth,
        (None,) * 40 + ("buzz",) * 40,
        ("a",) * 80,
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


@pytest.fixture
def detector(tiny_folder_of, tiny_recipe) -> Detector:
    torch.manual_seed(0)
    return Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}))


@pytest.fixture
def heard(recorded, tmp_path, detector):
    """A table of two classes, and its features."""
    table = read(recorded(tmp_path / "data", bona_fide=14, buzz=14))
    features, _ = extract(detector, table, Run(workers=1, cache="off"))
    return table, features


def domain(table, train, features) -> DomainData:
    return DomainData(table, train, features, features, (), ())


def test_the_score_is_the_mixture_and_the_readout(detector, heard):
    table, features = heard
    wave, lengths = pad([detector.base.prepare(np.sin(np.arange(9000) / 9).astype(np.float32))])
    alone = detector.logit(*detector.base.prefix(wave, lengths))
    torch.testing.assert_close(detector.score(wave, lengths), alone)  # nothing learnt yet
    run = Run(workers=1, cache="off")
    learn_readout(detector, {"buzz": domain(table, features, features)}, run)
    readout = detector.head.readout
    readout.share.fill_(2.0)
    states = detector.pooled_states(*detector.base.prefix(wave, lengths))
    readings = Readings(detector.statistics(wave, lengths), states)
    torch.testing.assert_close(detector.score(wave, lengths), alone + 2 * readout.evidence(readings))
    states, evidence = parts_of(detector, features)
    torch.testing.assert_close(logits_of(detector, features), states + 2 * evidence)
    scored, _ = score_table(detector, table, run)
    # Features are kept in half precision.
    found = torch.tensor([item.score for item in scored])
    torch.testing.assert_close(found, logits_of(detector, features), atol=0.1, rtol=0.05)
    assert not any(
        "readout" in name for name, _ in detector.named_parameters()
    )  # training moves nothing of it


def test_no_expert_changes_what_the_readout_reads(detector, heard, tiny_recipe):
    _, features = heard
    before = readings_of(detector, features)
    append_expert(detector, "one", tiny_recipe(head={"readout": True}), 0)
    for weight in detector.mixture.expert_parameters("one"):
        torch.nn.init.normal_(weight)
    assert torch.equal(readings_of(detector, features).states, before.states)


def test_what_is_computed_anew_for_every_batch_is_read_once(detector, heard):
    table, features = heard
    run = Run(workers=1, cache="off")
    learn_readout(detector, {"buzz": domain(table, features, features)}, run)
    expected = detector.head.readout.evidence(readings_of(detector, features))
    detector.head.readout = Readout(2 * detector.base.width * (len(detector.base.blocks) + 1))
    online = OnlineFeatures(detector, table.utterances, workers=1)
    learn_readout(detector, {"buzz": domain(table, online, features)}, run)
    found = detector.head.readout.evidence(readings_of(detector, features))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_of_a_very_large_split_a_part_is_read(detector, heard, monkeypatch):
    table, features = heard
    table = table.with_utterances(replace(item, split="train") for item in table)
    lessons = []
    monkeypatch.setattr(readout_stage, "MOST_READ", 10)
    monkeypatch.setattr(readout_stage, "learn", lambda _, given: lessons.append(given["buzz"][0]))
    learn_readout(detector, {"buzz": domain(table, features, features)}, Run(workers=1, cache="off"))
    (read,) = lessons
    own = [[at for at in range(len(table)) if features.attacks[at] == kind][::3] for kind in (None, "buzz")]
    places = sorted(own[0] + own[1])
    assert read.attacks == tuple(features.attacks[at] for at in places) and min(map(len, own)) > 3
    assert torch.equal(read.readings.spectrum, features.statistics[places])
    assert read.readings.states.isfinite().all()


def test_a_part_of_a_very_large_split_has_every_class(detector, heard, monkeypatch):
    """Recordings and their copies in turn, as manifests list them."""
    table, features = heard
    real, forged = ([item for item in table if item.label == label] for label in ("bonafide", "spoof"))
    turns = [item for pair in zip(real, forged, strict=False) for item in pair]
    table = table.with_utterances(replace(item, split="train") for item in turns)
    lessons = []
    monkeypatch.setattr(readout_stage, "MOST_READ", len(turns) // 2)
    monkeypatch.setattr(readout_stage, "learn", lambda _, given: lessons.append(given["buzz"][0]))
    learn_readout(detector, {"buzz": domain(table, features, features)}, Run(workers=1, cache="off"))
    assert lessons[0].has_both_classes


def test_its_share_is_what_development_sets_say(detector, heard, tiny_recipe):
    table, features = heard
    assert weigh_readout(detector, [features]) == []  # it has learnt nothing
    learn_readout(detector, {"buzz": domain(table, features, features)}, Run(workers=1, cache="off"))
    (remark,) = weigh_readout(detector, [features])
    assert "has 1 witness(es); experts come on top of what it says" in remark
    readout, real = detector.head.readout, features.bona_fide
    alone = logits_of(detector, features)
    assert alone.std() > 0 and alone[real].mean() > alone[~real].mean()
    torch.testing.assert_close(alone, readout.share * readout.evidence(readings_of(detector, features)))
    append_expert(detector, "one", tiny_recipe(head={"readout": True}), 0)
    for weight in (*detector.mixture.expert_parameters("one"), *detector.head.parameters()):
        torch.nn.init.normal_(weight)
    share = float(readout.share)
    weigh_readout(detector, [features])
    assert float(readout.share) == pytest.approx(share)  # whatever experts say


def test_beside_a_whole_head_its_share_is_weighed(heard, tiny_folder_of, tiny_recipe):
    table, features = heard
    base, recipe = load_base(tiny_folder_of()), tiny_recipe(head={"readout": True})
    head = Head(base.width, len(base.blocks) + 1, recipe.head, relative=False)
    detector = Detector(base, recipe, head=head)
    learn_readout(detector, {"buzz": domain(table, features, features)}, Run(workers=1, cache="off"))
    (remark,) = weigh_readout(detector, [features])
    kept = float(detector.head.readout.share)
    assert kept > 0
    assert "has 1 witness(es); its part in the score is" in remark
    weigh_readout(detector, [replace(features, statistics=None)])
    assert float(detector.head.readout.share) == kept  # nothing to measure on


def test_a_registry_keeps_the_readout_an_expert_extends_it_and_removal_takes_its_part(
    tmp_path, tiny_folder_of, tiny_recipe, recorded
):
    recipe = tiny_recipe(head={"readout": True})
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of()))
    run = Run(workers=1, device="cpu")
    for number, attack in enumerate(("buzz", "hum")):
        data = recorded(tmp_path / attack, bona_fide=12, first=300 * number, **{attack: 12})
        assert registry.add_expert(data, accept=True, domain=attack, recipe=recipe, run=run).activated
    readout = registry.detector().head.readout
    assert readout.witnesses == ("buzz/buzz", "hum/hum")
    table = read(tmp_path / "hum")
    scores = [item.score for item in registry.score(table, run=run).scores]
    again = [item.score for item in Registry.open(tmp_path / "registry").score(table, run=run).scores]
    assert scores == again
    registry.store.remove("hum")
    left = registry.detector().head.readout
    assert left.witnesses == ("buzz/buzz",)
    assert not any("statistics of real speech" in line for line in registry.store.generation().remarks)
    before = registry.detector(1).head.readout
    assert left.domains == before.domains == 1
    for one, other in zip(left.views, before.views, strict=True):
        torch.testing.assert_close(one.moments, other.moments, rtol=1e-5, atol=1e-6)
    assert torch.equal(left.weights, readout.weights[:1])
    assert not registry.store.verify()


def test_where_no_part_of_a_domain_is_kept_removal_says_what_stays(tmp_path):
    store = Store.copy(registry_path(), tmp_path / "registry")  # made before parts were kept
    former = store.head_tensors()
    store.remove("world")
    after = store.head_tensors()
    assert any("still have its recordings in them" in line for line in store.generation().remarks)
    for name in ("readout.of_spectrum.moments", "readout.of_states.moments", "readout.domains"):
        assert np.array_equal(after[name], former[name])


def test_a_head_whose_witnesses_lack_names_is_refused(tmp_path, tiny_folder_of, tiny_recipe, recorded):
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of()))
    data = recorded(tmp_path / "buzz", bona_fide=12, buzz=12)
    run = Run(workers=1, device="cpu")
    registry.add_expert(data, accept=True, domain="buzz", recipe=tiny_recipe(head={"readout": True}), run=run)
    head = registry.store.head_tensors(1)
    state = {name: torch.from_numpy(value) for name, value in head.items()}
    state["readout.names"] = state["readout.names"][:0]
    detector = registry.detector()
    with pytest.raises(RegistryError, match="0 names and 1 scales for 1 witnesses"):
        require_head(detector.base, detector.recipe, state, layout.generation_folder(registry.store.path, 1))
    state["readout.names"], state["readout.scales"] = (
        torch.from_numpy(head["readout.names"]),
        state["readout.scales"][:0],
    )
    with pytest.raises(RegistryError, match="1 names and 0 scales for 1 witnesses"):
        require_head(detector.base, detector.recipe, state, layout.generation_folder(registry.store.path, 1))
    state["readout.scales"] = torch.tensor(1.0)  # no length at all
    with pytest.raises(RegistryError, match="scales has shape"):
        require_head(detector.base, detector.recipe, state, layout.generation_folder(registry.store.path, 1))


def arrays_of(readout: Readout) -> dict[str, np.ndarray]:
    return {f"readout.{name}": value.numpy().copy() for name, value in readout.state_dict().items()}


def test_witnesses_travel_between_readouts_of_the_same_features():
    ours = Readout(STATES)
    learn(ours, {"one": pair({"buzz": 5})})
    theirs = arrays_of(ours)
    learn(ours, {"two": pair({"hum": 70, "hiss": 71}, seed=3)})
    sent = arrays_of(ours)
    found = with_those_of(theirs, sent, "two", "other")
    assert names_of(found["readout.names"]) == ("one/buzz", "other/hiss", "other/hum")
    assert np.array_equal(found["readout.weights"], sent["readout.weights"])
    again = Readout(STATES)
    again.load_state_dict(
        {name.removeprefix("readout."): torch.from_numpy(value) for name, value in found.items()}
    )
    held = lesson(50, 8, {"buzz": 5}).readings
    assert torch.equal(again.each(held), ours.each(held))
    assert with_those_of(theirs, sent, "three", "other") is None
    stranger = Readout(STATES)
    learn(stranger, {"x": pair({"buzz": 5}, seed=9)})
    assert with_those_of(arrays_of(stranger), sent, "two", "other") is None  # other features
    assert with_those_of({}, sent, "two", "other") is None  # no readout
    damaged = sent | {"readout.scales": sent["readout.scales"][:1]}
    assert with_those_of(theirs, damaged, "two", "other") is None


def test_a_line_break_in_a_name_makes_no_further_witness():
    assert names_of(bytes_of(["a/b\nc", "d/\ud800"])) == ("a/b c", "d/?")
