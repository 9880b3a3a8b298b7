"""Scores are the CPU's, whatever is scored beside them."""

from __future__ import annotations

import pytest
import torch

from molex_adapt.analysis import Corpus, conclude, observe_features
from molex_adapt.features import concatenate, logits_of, pad
from molex_adapt.routing import collect
from molex_adapt.train.reads import reads_of
from tests.families import ONE_OF_EACH

WAYS = [("utterance", 3), ("frame", 3), ("frame", 12)]
"""Gathered experts, all of them at once, picked rows."""


def sounds(*seconds: float) -> list:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(int(16_000 * length), generator=generator).numpy() for length in seconds]


def scored(detector, rows) -> torch.Tensor:
    wave, lengths = pad([detector.prepare(row)[0] for row in rows])
    return detector.score(wave.to(detector.device), lengths).cpu()


@pytest.mark.parametrize("kind", ONE_OF_EACH)
@pytest.mark.parametrize(("routing", "experts"), WAYS)
def test_scores_are_those_of_the_cpu(device, detector_on, kind, routing, experts):
    rows = sounds(0.5, 0.8, 0.31)
    expected = scored(detector_on("cpu", experts, kind=kind, routing=routing), rows)
    found = scored(detector_on(device, experts, kind=kind, routing=routing), rows)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert float(expected.std()) > 1e-3, "all alike: nothing was compared"


@pytest.mark.parametrize(("routing", "experts"), WAYS)
def test_bfloat16_is_near_and_is_not_float32(device, detector_on, routing, experts):
    rows = sounds(0.5, 0.8, 0.31)
    exact = scored(detector_on(device, experts, routing=routing), rows)
    rounded = scored(detector_on(device, experts, "bf16", routing=routing), rows)
    distance = float((rounded - exact).abs().max())
    assert 0 < distance < 0.05


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("routing", "experts"), WAYS)
def test_neither_padding_nor_company_changes_a_score(device, detector_on, routing, experts, precision):
    detector = detector_on(device, experts, precision, routing=routing)
    rows = sounds(0.5, 0.8, 0.31, 0.8)
    together = scored(detector, rows)
    alone = torch.cat([scored(detector, [row]) for row in rows])
    # Other shapes, other kernels: in bfloat16 a sum that is ordered otherwise may round to the next number.
    torch.testing.assert_close(together, alone, atol=1e-5 if precision == "fp32" else 2e-2, rtol=1e-5)


def test_lengths_may_lie_beside_the_waveform(device, detector_on):
    detector = detector_on(device)
    wave, lengths = pad([detector.prepare(row)[0] for row in sounds(0.5, 0.4)])
    wave = wave.to(device)
    assert torch.equal(detector.score(wave, lengths.to(device)), detector.score(wave, lengths))
    features, frames = detector.base.prefix(wave, lengths)
    torch.testing.assert_close(
        detector.logit(features, frames.to(device)), detector.logit(features, frames), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(("kind", "norm"), [*((kind, "layer") for kind in ONE_OF_EACH), ("wavlm", "group")])
def test_prefix_features_are_those_of_the_cpu(device, detector_on, kind, norm):
    wave, lengths = pad(sounds(0.5, 0.31, 0.5))
    expected, frames = detector_on("cpu", 0, kind=kind, norm=norm).base.prefix(wave, lengths)
    found, same = detector_on(device, 0, kind=kind, norm=norm).base.prefix(wave.to(device), lengths)
    assert frames.tolist() == same.tolist()
    # TF32, cuDNN's default, is out in the third digit.
    torch.testing.assert_close(found.cpu(), expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("routing", ["utterance", "frame"])
def test_analysis_and_routers_reads_are_those_of_the_cpu(device, detector_on, kept, routing):
    here, there = detector_on("cpu", routing=routing), detector_on(device, routing=routing)
    for one, other in zip(
        vars(collect(here, kept)).values(), vars(collect(there, kept)).values(), strict=True
    ):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)
    corpus = Corpus.of_features(kept)
    expected, found = (
        conclude(observe_features(place, kept, ablate=True), corpus, place.mixture.names)
        for place in (here, there)
    )
    for attack, usage in expected.usage.items():
        assert found.usage[attack] == pytest.approx(usage, abs=1e-4)
    assert len(expected.findings.ablation) == 2 * 3 * 2
    for one, other in zip(expected.findings.ablation, found.findings.ablation, strict=True):
        assert other.score_change == pytest.approx(one.score_change, abs=1e-4)
        assert other.moved == pytest.approx(one.moved, abs=1e-4)
    torch.testing.assert_close(reads_of(there, kept), reads_of(here, kept), atol=1e-4, rtol=1e-4)


def test_a_large_set_comes_in_its_own_order(device, detector_on, kept):
    detector = detector_on(device)
    large = concatenate([kept] * 4)
    found = logits_of(detector, large)
    torch.testing.assert_close(found, logits_of(detector, kept).repeat(4), atol=1e-5, rtol=1e-5)


def test_a_detector_may_move_after_it_has_scored(device, detector_on):
    """What was derived from weights where they lay before is not used where they lie now."""
    rows = sounds(0.4, 0.5)
    detector = detector_on("cpu", 40, "bf16", routing="frame")
    expected = scored(detector, rows)
    # bfloat16 keeps eight bits, and a card sums in another order: an H100 came out 0.036 nats apart.
    torch.testing.assert_close(scored(detector.to(device), rows), expected, atol=8e-2, rtol=0)
    torch.testing.assert_close(scored(detector.to("cpu"), rows), expected, atol=0, rtol=0)
