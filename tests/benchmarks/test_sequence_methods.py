"""What people would do instead of ours, on two tiny domains: each learns, scores, and goes on from its state."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from sklearn.linear_model import Ridge as LeastSquares
from torch.nn import functional as F

from benchmarks.sequence.domains import Measured
from benchmarks.sequence.methods import METHODS, Setting, lora, radian, regularised, simple
from benchmarks.sequence.methods.analytic import Moments, RandomFeatures, raw_readings
from benchmarks.sequence.methods.any_ssr import RIDGE
from benchmarks.sequence.methods.radian import Rwm
from benchmarks.sequence.methods.remembering import Ledger, bytes_kept, drawn_from
from benchmarks.sequence.methods.replayed import Der
from benchmarks.sequence.methods.state import packed, state_of, take_up, unpacked
from benchmarks.workbench import detector_on
from molex_adapt.base import load_base
from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.features import Features, concatenate, logits_of
from molex_adapt.mixture import ExpertSpec
from molex_adapt.progress import Silent
from molex_adapt.run import Run
from molex_adapt.train.pools import Sampler
from molex_adapt.train.prepare import prepare

ORDER = ("buzz", "hum")
KEEP = 8_000
"""Bytes: some pairs of each tiny domain, but not all."""


@pytest.fixture(scope="module")
def recipe(tiny_recipe):
    stage = {"steps": 3, "evaluate_every": 3, "learning_rate": 0.01}
    return tiny_recipe(
        head={"width": 8, "readout": True},
        router={"top_k": 2},
        joint=stage,
        expert=stage,
        router_stage={"steps": 1, "evaluate_every": 1},
        data={"crop_seconds": 0.4, "split_by": "source", "fractions": (0.5, 0.25, 0.25)},
    )


@pytest.fixture(scope="module")
def domains(recorded, recipe, tiny_folder_of, tmp_path_factory):
    detector = Detector(load_base(tiny_folder_of()), recipe)
    folder = tmp_path_factory.mktemp("methods")
    # The names of all attacks decide the pitch of each: nothing but their own is recorded.
    counts = {"buzz": {"buzz": 16}, "hum": {"buzz": 0, "hum": 16}}
    made = {
        name: recorded(folder / name, bona_fide=16, first=5000 * at, **counts[name])
        for at, name in enumerate(ORDER)
    }
    return {name: prepare(detector, place, recipe, Run(workers=1)) for name, place in made.items()}


@pytest.fixture(scope="module")
def measured(domains) -> Measured:
    features = concatenate([data.test for data in domains.values()])
    paths = [row.path for data in domains.values() for row in data.table if row.split == "test"]
    return Measured(features, tuple(paths), {})


@pytest.fixture(scope="module")
def setting(recipe, tiny_folder_of) -> Setting:
    return Setting(tiny_folder_of(), recipe, len(ORDER), 3, Silent(), KEEP)


@pytest.fixture(scope="module", autouse=True)
def made_small():
    with pytest.MonkeyPatch.context() as patch:
        first, *others = RandomFeatures.__init__.__defaults__
        assert first == 2000
        patch.setattr(RandomFeatures.__init__, "__defaults__", (64, *others))
        patch.setattr(regularised, "_EXAMINED", 8)
        yield


@pytest.fixture(scope="module")
def run_of(setting, domains, measured):
    """A method after both domains, by its name, with what each step came to; every method runs once."""
    known = {}

    def run(name):
        if name not in known:
            method, steps = METHODS[name](setting), []
            for domain in ORDER:
                learnt = method.learn(domain, domains[domain])
                state = save(method.state())
                steps.append((learnt, method.scores(measured), state))
            known[name] = method, steps
        return known[name]

    return run


@pytest.mark.parametrize("name", METHODS)
def test_a_method_learns_and_goes_on_from_its_state(name, run_of, setting, domains, measured):
    _, steps = run_of(name)
    for learnt, scores, _ in steps:
        assert scores.shape == (len(measured.features),)
        assert np.isfinite(scores).all()
        assert learnt.trainable > 0
        assert learnt.stored >= learnt.kept >= 0
    other = METHODS[name](setting)
    other.go_on(load(steps[0][2]), [(ORDER[0], domains[ORDER[0]])])
    assert np.array_equal(other.scores(measured), steps[0][1])
    assert other.learn(ORDER[1], domains[ORDER[1]]) == steps[1][0]
    assert np.array_equal(other.scores(measured), steps[1][1])


def test_a_detector_is_what_its_state_says(setting, measured):
    specs = [ExpertSpec("wide", 4, 8.0), ExpertSpec("narrow", 2, 8.0), ExpertSpec("third", 2, 4.0)]
    one, other = (detector_on(setting.base, setting.recipe, seed) for seed in (0, 1))
    generator = torch.Generator().manual_seed(0)
    for spec in specs:
        one.mixture.add(spec)
        for weight in (*one.mixture.expert_parameters(spec.name), *one.mixture.router_rows(spec.name)):
            weight.data.copy_(torch.randn(weight.shape, generator=generator))
    for router in one.mixture.routers:
        router.centre.normal_(generator=generator)
        router.spread.uniform_(0.5, 2.0, generator=generator)
    one.calibration = Calibration(2.0, -1.0)
    other.mixture.add(ExpertSpec("in the way", 8, 1.0))
    take_up(other, load(save(state_of(one))), specs)
    assert other.mixture.specs == specs
    assert other.calibration == one.calibration
    assert torch.equal(logits_of(one, measured.features), logits_of(other, measured.features))
    assert not any(weight.requires_grad for weight in other.parameters())


def scores_of(run_of, name: str) -> tuple[np.ndarray, np.ndarray]:
    first, second = (scores for _, scores, _ in run_of(name)[1])
    return first, second


@pytest.mark.parametrize("name", ["replay", "der", "ewc", "lwf", "rwm"])
def test_a_cure_begins_as_naive_training_and_changes_what_follows(name, run_of):
    naive, cured = scores_of(run_of, "naive"), scores_of(run_of, name)
    assert np.array_equal(cured[0], naive[0])
    assert not np.array_equal(cured[1], naive[1])
    assert np.array_equal(scores_of(run_of, "alone")[0], naive[0])


def test_one_lora_has_the_rank_of_all_experts_that_act_together(run_of, recipe):
    for name in METHODS:
        method, _ = run_of(name)
        detector = getattr(getattr(method, "method", method), "detector", None)
        specs = [] if detector is None else detector.mixture.specs
        times = 1 if name in ("ours", "joint", "arrow") else recipe.router.top_k
        assert {spec.rank for spec in specs} <= {times * recipe.lora.rank}, name
        assert {spec.scale for spec in specs} <= {recipe.lora.alpha / recipe.lora.rank}, name
        assert bool(specs) == (name not in ("ridge", "ranpac", "lfcc", "average_spectrum", "duration")), name
    assert run_of("arrow")[0]._form().top_k == recipe.router.top_k


@pytest.mark.parametrize("pitch", [500, 3500, 5000, 7500])
def test_the_spectrum_probe_hears_the_whole_band(pitch):
    quiet = 0.01 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    tone = quiet + 0.1 * np.sin(2 * np.pi * pitch / 16_000 * np.arange(16_000)).astype(np.float32)
    without, heard = (simple.statistics_of(wave)[simple.PROBES["average_spectrum"]] for wave in (quiet, tone))
    assert np.abs(heard - without).max() > 0.5
    assert np.abs(simple.statistics_of(-quiet)[simple.PROBES["lfcc"]][:40] - without).max() < 1e-6


def test_the_joint_mixture_is_that_of_ours(run_of):
    ours, joint = run_of("ours")[0].detector, run_of("joint")[0].detector
    assert joint.mixture.names == ours.mixture.names == list(ORDER)
    assert set(joint.head.readout.witnesses) == set(ours.head.readout.witnesses)
    assert len(joint.head.readout.witnesses) == len(ORDER)


def test_what_is_kept_fits_into_the_room_and_only_methods_with_replay_keep_data(run_of):
    kept = {name: [learnt.kept for learnt, _, _ in run_of(name)[1]] for name in METHODS}
    keeping = {name for name, each in kept.items() if any(each)}
    assert keeping == {"ours", "joint", "joint_lora", "replay", "der", "head"}
    for name in ("replay", "der", "head"):
        assert all(0 < each <= KEEP for each in kept[name])
    logits = run_of("der")[0].logits
    assert all(
        each + own.numel() * own.element_size() <= KEEP for each, own in zip(kept["der"], logits, strict=True)
    )


def test_drawing_takes_pairs_that_fit_and_no_more_than_a_crop(domains):
    train = domains["hum"].train
    small, large = (drawn_from(train, room, 0.4, seed=1) for room in (KEEP, 10**9))
    assert 0 < len(small) < len(large)
    assert bytes_kept(small) <= KEEP < bytes_kept(large)
    assert bytes_kept(small) + 2 * max(map(bytes_kept, (small.pick([at]) for at in range(2)))) > KEEP
    assert len(small.of_class(True)) == len(small.of_class(False))
    assert max(len(clip) for clip in large.clips) == 20
    assert small.statistics is None
    assert small.states is None
    again, other = (drawn_from(train, KEEP, 0.4, seed).sources for seed in (1, 2))
    assert again == small.sources != other
    assert len(drawn_from(train, KEEP, 0.4, seed=1, beside=KEEP)) == 0


def test_old_logits_are_those_of_the_rows_that_a_batch_drew():
    ledger, count = Ledger(), 12
    numbers = torch.arange(2 * count, dtype=torch.float32)
    sets = [
        Features(
            tuple(torch.full((3, 1), float(number)) for number in own),
            own % 2 == 0,
            tuple(f"{int(number) // 2}" for number in own),
            tuple(None if number % 2 == 0 else "hum" for number in own),
        )
        for own in numbers.split(count)
    ]
    known, unknown = ledger.pool(sets[0], 1.0, numbers[:count]), ledger.pool(sets[1], 1.0)
    sampler = Sampler([unknown, known], 8, 3, 0)
    for _ in range(3):
        drawn = sampler.draw(torch.device("cpu")).features[:, 0, 0]
        old = drawn < count
        assert 0 < int(old.sum()) < len(old)
        assert float(ledger.distance(drawn)) == 0
        sampler.draw(torch.device("cpu"))
        assert float(ledger.distance(numbers.new_zeros(8))) > 0
    assert float(ledger.distance(drawn)) == 0  # nothing was drawn since


@pytest.mark.parametrize("strength", [0.0, Der.strength])
def test_der_keeps_to_the_logits_that_it_stored(strength, run_of, setting, domains, measured, monkeypatch):
    state, (first, second) = load(run_of("der")[1][0][2]), ORDER
    monkeypatch.setattr(Der, "strength", strength)

    def scores(shift: float) -> np.ndarray:
        method = METHODS["der"](setting)
        method.go_on(state | {"own.0": state["own.0"] + shift}, [(first, domains[first])])
        method.learn(second, domains[second])
        return method.scores(measured)

    assert np.array_equal(scores(0.0), scores(50.0)) == (not strength)


def features_and_labels(method, domains):
    """What RanPAC and Any-SSR made of both domains, as one set."""
    detector = getattr(method, "method", method).detector
    random = [method.random(raw_readings(detector, domains[name].train)) for name in ORDER]
    return torch.cat(random), [len(rows) for rows in random]


def test_ranpac_is_ridge_regression_on_all_domains_at_once(run_of, domains):
    method, _ = run_of("ranpac")
    features, _ = features_and_labels(method, domains)
    names = [name for domain in ORDER for name in domains[domain].train.attacks]
    assert method.classes == [None, *ORDER]
    wanted = F.one_hot(torch.tensor([method.classes.index(name) for name in names]), 3).double()
    at_once = LeastSquares(alpha=method.ridge, fit_intercept=False, solver="cholesky").fit(features, wanted)
    assert torch.allclose(method.weights.T, torch.from_numpy(at_once.coef_), rtol=1e-6, atol=1e-6)
    margin = method.calibration.apply(
        (features @ method.weights)[:, 0] - (features @ method.weights)[:, 1:].amax(1)
    )
    train = Measured(domains["buzz"].train, (), {})
    assert np.allclose(method.scores(train), margin[: len(train.features)])


def test_ranpac_chooses_its_ridge_on_a_fifth_of_the_domain_at_hand(run_of, monkeypatch):
    method, _ = run_of("ranpac")
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(60, 12, generator=generator).double()
    noise = 3 * torch.randn(60, 2, generator=generator).double()
    classes = features @ torch.randn(12, 2, generator=generator).double() + noise
    monkeypatch.setattr(method.random, "size", 12)
    at = torch.randperm(60, generator=torch.Generator().manual_seed(method.random.seed))
    errors = {}
    for ridge in method.RIDGES:
        fit = LeastSquares(alpha=ridge, fit_intercept=False).fit(features[at[:48]], classes[at[:48]])
        errors[ridge] = ((fit.predict(features[at[48:]]) - classes[at[48:]].numpy()) ** 2).mean()
    assert method._chosen(features, classes) == min(errors, key=errors.get)
    assert 1e-8 < min(errors, key=errors.get) < 1e8


def test_moments_are_the_same_in_every_order():
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(count, 12, generator=generator).double() for count in (5, 9, 7)]
    classes = [torch.randn(len(rows), 3, generator=generator).double() for rows in features]
    solved = []
    for order in ((0, 1, 2), (2, 0, 1)):
        moments = Moments.none(12)
        for at in order:
            moments.add(features[at], classes[at])
        solved.append(moments.solve(0.1))
    at_once = LeastSquares(alpha=0.1, fit_intercept=False).fit(torch.cat(features), torch.cat(classes))
    for weights in solved:
        assert torch.allclose(weights.T, torch.from_numpy(at_once.coef_), rtol=1e-6, atol=1e-9)
    assert torch.equal(unpacked(packed(moments.gram)), moments.gram)


def test_the_recursive_router_is_least_squares_on_all_tasks_at_once(run_of, domains, measured):
    method, _ = run_of("any_ssr")
    features, sizes = features_and_labels(method, domains)
    wanted = F.one_hot(torch.arange(2).repeat_interleave(torch.tensor(sizes)), 2).double()
    at_once = LeastSquares(alpha=RIDGE, fit_intercept=False, solver="cholesky").fit(features, wanted)
    assert torch.allclose(method.router.weights.T, torch.from_numpy(at_once.coef_), rtol=1e-6, atol=1e-9)
    likeliest = np.argmax(at_once.predict(features), axis=1)
    assert np.array_equal(method.routed(domains["buzz"].train), likeliest[: sizes[0]])


def test_every_recording_is_scored_by_the_lora_that_it_is_sent_to(run_of, measured, monkeypatch):
    method, _ = run_of("any_ssr")
    halves = np.arange(len(measured.features)) % 2
    monkeypatch.setattr(method, "routed", lambda features: halves)
    found, alone = method.scores(measured), np.stack(scores_of(run_of, "alone"))
    assert np.allclose(found, np.where(halves, alone[1], alone[0]), atol=1e-5)
    assert not np.allclose(alone[0], alone[1], atol=1e-5)


def test_the_readout_alone_adds_a_witness_and_leaves_the_old_one(run_of):
    (_, _, first), (_, _, second) = run_of("ridge")[1]
    before, after = (load(state)["readout.weights"] for state in (first, second))
    assert (len(before), len(after)) == (1, 2)
    assert torch.equal(after[:1], before)
    assert run_of("ridge")[0].detector.mixture.names == []


def test_a_projector_leads_away_from_what_it_heard():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(16, 16, generator=generator).double())[0]
    heard = 1000 * torch.randn(40, 4, generator=generator).double() @ basis[:, :4].T
    projector = torch.eye(16).double()
    for r in heard:
        projector = radian.turned_away(projector, r)
    at_once = torch.linalg.inv(torch.eye(16).double() + heard.T @ heard / radian.ALPHA)
    assert torch.allclose(projector, at_once, atol=1e-6)
    # A gradient that is turned away changes no output for old inputs, and every one for others.
    gradient = torch.randn(5, 16, generator=generator).double()
    away, along = (gradient @ radian.direction(projector, theta) for theta in (0.0, math.pi / 2))
    old, new = basis[:, :4], basis[:, 4:]
    assert float((away @ old).abs().max()) < 1e-5
    assert torch.allclose(away @ new, math.sqrt(2) * gradient @ new, atol=1e-5)
    assert float((along @ new).abs().max()) < 1e-5
    assert torch.allclose(radian.direction(projector, math.pi / 4), torch.eye(16).double())


def test_the_class_that_is_known_best_turns_the_direction():
    real = torch.tensor([True, True, False, False])
    assert radian.radian(torch.tensor([3.0, 3.0, -3.0, -3.0]), real) == pytest.approx(math.pi / 4)
    assert radian.radian(torch.tensor([99.0, 3.0, -3.0, -3.0]), real) == pytest.approx(math.pi / 2)
    assert radian.radian(torch.tensor([3.0, 3.0, -99.0, -3.0]), real) == pytest.approx(0.0, abs=1e-6)


def test_the_gradient_of_every_linear_weight_is_turned_after_the_first_domain(
    run_of, setting, domains, monkeypatch
):
    state, (first, second) = load(run_of("rwm")[1][0][2]), ORDER

    def gradients(turn: float) -> tuple[list[torch.Tensor], Rwm]:
        method = Rwm(setting)
        method.go_on(state, [(first, domains[first])])
        monkeypatch.setattr(radian, "radian", lambda logit, bona_fide: turn)
        found = []

        def differentiate(setting, detector, weights, pools, development, loss, number):
            batch = Sampler(pools, 8, 20, 0).draw(detector.device)
            for weight in weights:
                weight.requires_grad_(True)
            found.extend(torch.autograd.grad(loss(batch), weights))

        with monkeypatch.context() as patch:
            patch.setattr(lora, "fit_weights", differentiate)
            method.learn(second, domains[second])
        return found, method

    (plain, method), (turned, _) = gradients(math.pi / 4), gradients(0.0)
    places = {id(weight): at for at, weight in enumerate(method.weights())}
    linear = [places[id(layer.weight)] for layer in method._layers()]
    projectors = [unpacked(state[f"own.{at}"]) for at in range(len(linear))]
    for at, projector in zip(linear, projectors, strict=True):
        assert torch.allclose(turned[at], plain[at] @ radian.direction(projector, 0.0), atol=1e-5), at
    assert any(not torch.allclose(turned[at], plain[at], atol=1e-5) for at in linear)
    free = set(places.values()) - set(linear)
    assert len(free) == 5  # four biases and the weights of the layers
    assert all(torch.allclose(turned[at], plain[at], atol=1e-5) for at in free)


def test_less_room_keeps_less(run_of, setting, domains):
    method = METHODS["replay"](replace(setting, keep=KEEP // 3))
    assert 0 < method.learn("buzz", domains["buzz"]).kept < run_of("replay")[1][0][0].kept


def test_beside_the_readout_one_lora_always_acts_and_learns_what_is_left(setting, domains, measured):
    roomy = replace(setting, keep=10**6)
    method, bare = (METHODS[name](roomy) for name in ("replay_readout", "replay"))
    for name in ORDER[:1]:
        method.learn(name, domains[name])
        bare.learn(name, domains[name])
    assert method.kept[0].statistics is not None and bare.kept[0].statistics is None
    assert 0 < len(method.kept[0]) <= len(bare.kept[0])
    state = load(save(method.state()))
    learnt = method.learn(ORDER[1], domains[ORDER[1]])
    assert 0 < learnt.kept <= 10**6
    assert method.detector.head.readout.witnesses[-1].startswith(ORDER[1])
    new, old = method.pools(domains[ORDER[1]])[:2]
    assert len(new.told) == len(new.clips) and len(old.told) == len(old.clips)
    _, shares = method.detector.score_and_shares(torch.randn(1, 16_000), torch.tensor([16_000]))
    assert shares.tolist() == [[1.0]]
    other = METHODS["replay_readout"](roomy)
    other.go_on(state, [(ORDER[0], domains[ORDER[0]])])
    assert other.learn(ORDER[1], domains[ORDER[1]]) == learnt
    assert np.array_equal(other.scores(measured), method.scores(measured))
