"""Statistics of what routers read: samples look like the reads, no speech is in them, and the new expert keeps out."""

from __future__ import annotations

import pytest
import torch

from molex_adapt import Run
from molex_adapt.train.adapt import add_expert, train_first
from molex_adapt.train.old import OldDomain
from molex_adapt.train.reads import (
    ReadStatistics,
    arrays_to_reads,
    keep_out_loss,
    reads_of,
    reads_to_arrays,
)


def test_samples_have_the_mean_and_spread_of_the_reads():
    generator = torch.Generator().manual_seed(0)
    axis = torch.nn.functional.normalize(torch.randn(12, generator=generator), dim=0)
    reads = torch.randn(400, 2, 12, generator=generator) * 0.3 + 2.0
    reads = reads + 3 * torch.randn(400, 2, 1, generator=generator) * axis
    found = ReadStatistics.of(reads, directions=1).sample(20_000, generator)
    assert found.mean(0) == pytest.approx(reads.mean(0), abs=0.1)
    assert found.std(0) == pytest.approx(reads.std(0), rel=0.1)
    assert (found[:, 0] @ axis).std() == pytest.approx(float((reads[:, 0] @ axis).std()), rel=0.05)


@pytest.mark.parametrize("count", [2, 5])
def test_few_utterances_give_fewer_directions(count):
    statistics = ReadStatistics.of(torch.randn(count, 3, 8), directions=16)
    assert statistics.directions.shape == (3, 16, 8)
    assert (statistics.directions.abs().sum(-1) > 0).sum(1).tolist() == [count - 1] * 3
    assert statistics.rest.max() < 1e-2
    assert torch.isfinite(statistics.sample(4, torch.Generator())).all()


def test_statistics_travel_as_arrays():
    kept = [ReadStatistics.of(torch.randn(9, 3, 8), directions=4) for _ in range(2)]
    arrays = reads_to_arrays(kept)
    assert {name: array.shape for name, array in arrays.items()} == {
        "reads.mean": (2, 3, 8),
        "reads.directions": (2, 3, 4, 8),
        "reads.rest": (2, 3, 8),
    }
    for before, after in zip(kept, arrays_to_reads(arrays), strict=True):
        assert torch.allclose(before.directions, after.directions, atol=1e-3)
    assert arrays_to_reads(reads_to_arrays([])) == ()


def test_reads_are_what_routers_read_whatever_the_batch(detector_of, features_of, tiny_recipe):
    detector = detector_of(tiny_recipe(), "world", "opus")
    features = features_of(4)
    together = reads_of(detector, features)
    assert together.shape == (8, 2, 32)
    for row in (0, 5):
        assert torch.allclose(reads_of(detector, features.pick([row]))[0], together[row], atol=1e-5)


def test_the_loss_is_zero_only_where_the_expert_stays_out(detector_of, features_of, tiny_recipe):
    detector = detector_of(tiny_recipe(router={"top_k": 1}), "world", "opus", "new")
    known = [ReadStatistics.of(reads_of(detector, features_of(6)), 2)]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for router in detector.mixture.routers:
            router.lift(2, -100.0)
        assert keep_out_loss(detector, 2, known, generator) == 0
        for router in detector.mixture.routers:
            router.lift(2, 200.0)
        assert keep_out_loss(detector, 2, known, generator) > 50


def test_without_exemplars_statistics_keep_old_scores(detector_of, domain_of, tiny_recipe):
    """Nothing is replayed; old domains' speech must not reach the new expert, which learns its own all the same."""
    drift = {}
    for gate, weight in (("everywhere", 0.0), ("domain", 5.0)):
        recipe = tiny_recipe(
            joint={"steps": 60, "evaluate_every": 20},
            expert={
                "steps": 60,
                "evaluate_every": 20,
                "keep_out": weight,
                "gate_at": gate,
                "domain_loss": 0.5,
                "head": "frozen",
            },
            router={"top_k": 1},
            exemplars={"replay": 0, "check": 8, "directions": 4},
        ).model_copy(update={"calibration": "keep"})
        detector = detector_of(recipe)
        first = train_first(
            detector,
            {"buzz": domain_of("buzz", 0, 1, 24), "hum": domain_of("hum", 5, 2, 24)},
            recipe,
            Run(),
        )
        old = {name: OldDomain(name, item) for name, item in first.exemplars.items()}
        assert all(not len(item.replay) and len(item.reads) == 2 for item in first.exemplars.values())
        result = add_expert(detector, "new", "new", domain_of("new", 11, 5, 24), old, 0.0, recipe, Run())
        assert result.stages["expert"].loss_best < 0.2
        drift[gate] = sum(abs(result.changes[name].spoof_shift) for name in ("buzz", "hum"))
    assert drift["domain"] < 0.1 * drift["everywhere"]
