from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from molex_adapt import Registry, Run
from molex_adapt.base import load_base
from molex_adapt.data import read
from molex_adapt.detector import Detector
from molex_adapt.errors import ExpertError, MolexError
from molex_adapt.features import (
    Features,
    OnlineFeatures,
    concatenate,
    extract,
    logits_of,
    pad,
    score_table,
    source_id,
)
from molex_adapt.low_level import STATISTICS, LowLevelView, Spectrum
from molex_adapt.prefix_cache import PrefixCache
from molex_adapt.registry import layout
from molex_adapt.registry.checks import check_exemplars
from molex_adapt.registry.exemplars import features_to_arrays
from molex_adapt.train.fusion import learn_low_level, weigh_low_level


@pytest.fixture
def made_up():
    """So many statistics of each class; spoofed ones are shifted in one of them."""

    def make(count: int, seed: int = 0, at: int = 5, shift: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.randn(2 * count, STATISTICS, generator=torch.Generator().manual_seed(seed)) * 3 + 1
        rows[count:, at] += 3 * shift
        return rows, torch.arange(2 * count) < count

    return make


@pytest.fixture
def detector(tiny_folder_of, tiny_recipe) -> Detector:
    torch.manual_seed(0)
    return Detector(load_base(tiny_folder_of()), tiny_recipe(head={"low_level": True}))


def waves(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def test_statistics_do_not_depend_on_padding_or_level():
    spectrum, rows = Spectrum(), waves(16_000, 9_000, 700, 100)
    together = spectrum(*pad(rows))
    assert together.shape == (4, STATISTICS)
    assert torch.isfinite(together).all()
    for row, found in zip(rows, together, strict=True):
        torch.testing.assert_close(spectrum(*pad([row]))[0], found, atol=2e-5, rtol=0)
        torch.testing.assert_close(spectrum(*pad([row * 0.01]))[0], found, atol=2e-3, rtol=0)
    assert torch.isfinite(spectrum(torch.zeros(1, 800), torch.tensor([800]))).all()


def test_statistics_are_those_of_the_spectrum():
    time = np.arange(16_000) / 16_000
    tone = (0.1 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    found = Spectrum()(*pad([tone]))[0]
    assert int(found[:257].argmax()) == 32  # 1000 Hz of 16000 in 512
    assert found[257 : 257 + 257][32] < 0.01  # a tone does not vary
    assert int(found[514 : 514 + 64].argmax()) in (7, 8)


def test_pauses_do_not_count():
    speech = waves(16_000)[0]
    paused = np.concatenate([speech[:8000], np.full(8000, 1e-6, np.float32), speech[8000:]])
    # The mean power, and with it the floor, halves; noise is far above the floor.
    alone, between = Spectrum()(*pad([speech]))[0], Spectrum()(*pad([paused]))[0]
    assert (alone[257:514] - between[257:514]).abs().max() < 0.3


def test_the_solution_is_that_of_ridge_regression_on_all_domains_at_once(made_up):
    view, parts = LowLevelView(), [made_up(40, 0), made_up(90, 1, at=9)]
    for rows, real in parts:
        view.learn(rows, real)
    centre, spread = parts[0][0].mean(0), parts[0][0].std(0, unbiased=False)
    gram, targets = np.zeros((STATISTICS + 1,) * 2), np.zeros(STATISTICS + 1)
    for rows, real in parts:
        known = ((rows - centre) / spread).clamp(-6, 6).double().numpy()
        known = np.concatenate([known, np.ones((len(known), 1))], axis=1)
        weights = np.where(real.numpy(), 0.5 / real.sum(), 0.5 / (~real).sum()) / 2
        gram += known.T @ (weights[:, None] * known)
        targets += known.T @ (weights * np.where(real.numpy(), 1, -1))
    expected = np.linalg.solve(gram + np.diag([6.0 / 260] * STATISTICS + [1e-9]), targets)
    np.testing.assert_allclose(view.weight.numpy(), expected, atol=2e-3)
    fresh, real = made_up(200, 7, at=9)
    evidence = view.evidence(fresh)
    assert evidence[real].mean() > evidence[~real].mean() + 0.3


def test_a_further_domain_does_not_make_it_forget(made_up):
    view = LowLevelView()
    view.learn(*made_up(900, 0, at=5, shift=4.0))
    held, real = made_up(200, 9, at=5, shift=4.0)
    view.learn(*made_up(900, 1, at=70))
    kept = view.evidence(held)
    other = LowLevelView()
    other.learn(*made_up(900, 1, at=70))
    lost = other.evidence(held)

    def wrong(found: torch.Tensor) -> float:
        return float(((found > 0) != real).float().mean())

    assert wrong(kept) < 0.3
    assert wrong(lost) > 0.4


def test_sums_that_no_recordings_give_are_refused(made_up):
    view = LowLevelView()
    view.learn(*made_up(30))
    view.sums.mul_(-1)
    with pytest.raises(MolexError, match=r"cannot be solved: .* Restore head.safetensors"):
        view.learn(*made_up(20, 1))


def test_what_was_not_heard_has_no_say(made_up):
    view, (rows, real) = LowLevelView(), made_up(30)
    view.share.fill_(2.0)
    view.learn(torch.full((4, STATISTICS), torch.nan), torch.tensor([True, True, False, False]))
    view.learn(rows[:30], real[:30])  # one class alone
    assert not view.has_learnt
    view.learn(rows, real)
    rows[3] = torch.nan
    found = view(rows)
    assert found[3] == 0
    assert found.count_nonzero() == 59


def test_the_score_is_both_views(detector, made_up):
    wave, lengths = pad(waves(16_000, 9_000))
    states = detector.logit(*detector.base.prefix(wave, lengths))
    torch.testing.assert_close(detector.score(wave, lengths), states)  # nothing learnt yet
    view = detector.head.low_level
    view.learn(*made_up(30))
    view.share.fill_(2.0)
    expected = states + 2 * view.evidence(view.spectrum(wave, lengths))
    torch.testing.assert_close(detector.score(wave, lengths), expected)
    assert not torch.allclose(expected, states)
    assert not any(
        "low_level" in name for name, _ in detector.named_parameters()
    )  # training moves nothing of it


def test_features_carry_statistics_and_the_cache_keeps_them(
    detector, recorded, tmp_path, monkeypatch, made_up, tiny_folder_of, tiny_recipe
):
    table = read(recorded(tmp_path / "data", bona_fide=3, buzz=3))
    run = Run(cache=tmp_path / "cache")
    without, _ = extract(Detector(load_base(tiny_folder_of()), tiny_recipe()), table, run)
    assert without.statistics is None
    first, _ = extract(detector, table, run)
    monkeypatch.setattr(LowLevelView, "forward", None)
    monkeypatch.setattr(Spectrum, "forward", None)
    again, _ = extract(detector, table, run)
    monkeypatch.undo()
    assert first.statistics.shape == (6, STATISTICS)
    assert torch.equal(first.statistics, again.statistics)
    assert first.digest() == again.digest() != without.digest()
    assert torch.equal(first.pick([4]).statistics, first.statistics[4:5])
    cache = PrefixCache.standard(run.cache)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 12
    assert cache.info().recordings == 6
    cache.clear()
    assert not list((tmp_path / "cache").rglob("*.npy"))
    pooled = concatenate([first, without]).statistics
    assert pooled[6:].isnan().all()
    assert torch.equal(pooled[:6], first.statistics)
    online = OnlineFeatures(detector, table.utterances, workers=2)
    torch.testing.assert_close(online.statistics, first.statistics, atol=2e-2, rtol=0)
    detector.head.low_level.learn(*made_up(30))
    detector.head.low_level.share.fill_(1.0)
    scored, _ = score_table(detector, table, Run(workers=1))
    torch.testing.assert_close(
        torch.tensor([item.score for item in scored]), logits_of(detector, first), atol=2e-2, rtol=1e-2
    )


def test_its_share_is_what_development_sets_say(detector, features_of_low, made_up):
    useful, useless = features_of_low(shift=2.0), features_of_low(shift=0.0)
    view = detector.head.low_level
    weigh_low_level(detector, [useful])
    assert float(view.share) == 0  # it has learnt nothing
    learn_low_level(detector, {"buzz": features_of_low(shift=2.0, seed=3)})
    (remark,) = weigh_low_level(detector, [useful])
    assert float(view.share) > 0
    assert "has learnt 1 domain(s); its part in the score is" in remark
    kept = float(view.share)
    weigh_low_level(detector, [Features(useful.clips, useful.bona_fide, useful.sources, useful.attacks)])
    assert float(view.share) == kept  # nothing to measure on
    weigh_low_level(detector, [Features(*[getattr(useless, name) for name in FIELDS], -useful.statistics)])
    assert float(view.share) == 0


FIELDS = ("clips", "bona_fide", "sources", "attacks")


@pytest.fixture
def features_of_low(made_up):
    """Sixty utterances whose prefix features say nothing, and whose statistics do."""

    def make(shift: float, seed: int = 0) -> Features:
        rows, real = made_up(30, seed, shift=shift)
        generator = torch.Generator().manual_seed(seed)
        clips = tuple(torch.randn(12, 16, generator=generator).half() for _ in range(60))
        attacks = tuple(None if label else "buzz" for label in real.tolist())
        return Features(clips, real, tuple(f"{seed}/{at}" for at in range(60)), attacks, rows)

    return make


def test_a_registry_keeps_the_view_and_a_new_expert_extends_it(
    tmp_path, tiny_folder_of, tiny_recipe, recorded
):
    recipe = tiny_recipe(head={"low_level": True})
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of()))
    run = Run(workers=1, device="cpu")
    for number, attack in enumerate(("buzz", "hum")):
        data = recorded(tmp_path / attack, bona_fide=12, first=300 * number, **{attack: 12})
        before = registry.add_expert(data, domain=attack, recipe=recipe, run=run)
        assert before.activated
    learnt = []
    for number in (1, 2):
        head = registry.store.head_tensors(number)
        learnt.append(float(head["low_level.counts"][0]))
    assert learnt == [1, 2]
    table = read(tmp_path / "hum")
    scores = [item.score for item in registry.score(table, run=run).scores]
    again = [item.score for item in Registry.open(tmp_path / "registry").score(table, run=run).scores]
    assert scores == again
    exemplars = layout.read_exemplars(registry.store.path, registry.store.experts()[1])
    assert exemplars["check.statistics"].shape == (len(exemplars["check.lengths"]), STATISTICS)
    assert not registry.store.verify()


def test_damaged_statistics_of_exemplars_are_refused(features_of_low):
    features = features_of_low(shift=1.0)
    features = replace(features, sources=tuple(source_id(name) for name in features.sources))
    arrays = features_to_arrays(features, "check", ["buzz"])
    check_exemplars(arrays, "here")
    for damaged, fault in (
        (arrays["check.statistics"][1:], "not one row for each of 60"),
        (arrays["check.statistics"] * np.float16(np.nan), "NaN or infinite"),
    ):
        with pytest.raises(ExpertError, match=fault):
            check_exemplars(arrays | {"check.statistics": damaged}, "here")
