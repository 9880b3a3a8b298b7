from __future__ import annotations

import pytest
import torch

from benchmarks.sequence.methods import METHODS, Setting
from benchmarks.sequence.plan import read_plan
from molex_adapt.progress import Silent
from molex_adapt.train.stages import append_expert


@pytest.fixture
def built(tiny_folder_of, tiny_recipe):
    """A detector of a method with three experts and routers that tell utterances apart, and a batch."""

    def make(method: str):
        torch.manual_seed(0)
        recipe = tiny_recipe()
        made = METHODS[method](Setting(tiny_folder_of(), recipe, read_plan(), 0, Silent()))
        detector = made.detector
        for seed, name in enumerate(("a", "b", "c")):
            append_expert(detector, name, recipe, seed)
        for router in detector.mixture.routers:
            router.rows.table.normal_(std=3.0)
        for weight in detector.head.parameters():
            torch.nn.init.normal_(weight, std=0.5)
        features, frames = detector.base.prefix(torch.randn(4, 16_000), torch.full((4,), 16_000))
        with torch.no_grad():
            return detector, features, frames, detector.logit(features, frames)

    return make


def test_a_shared_expert_is_always_on(built):
    detector, *_ = built("shared")
    for routing in detector.mixture.routings:
        assert torch.equal(routing.gates[..., 0], torch.ones(4, 1))
        assert torch.allclose(routing.gates[..., 1:].sum(-1), torch.ones(4, 1))
        assert (routing.chosen[..., 1:] > 0).all()


def test_all_routers_read_the_first_block(built):
    detector, features, frames, _ = built("first_reads")
    before = [routing.logits.clone() for routing in detector.mixture.routings]
    first, second = (router for router in detector.mixture.routers)
    second.rows.table.copy_(first.rows.table)
    with torch.no_grad():
        detector.logit(features, frames)
    assert torch.equal(detector.mixture.routings[1].logits, before[0])
    assert not torch.equal(before[1], before[0])


def test_heads_are_mixed_by_the_gates_and_only_the_newest_moves(built):
    detector, features, frames, same = built("heads")
    assert len(detector.head.heads) == 3
    newest = {id(weight) for weight in detector.head.heads[-1].parameters()}
    assert {id(weight) for weight in detector.head.parameters()} == newest
    with torch.no_grad():
        detector.head.heads[0].classify.bias += 8
        moved = detector.logit(features, frames)
    mixed = torch.stack([routing.gates[:, 0] for routing in detector.mixture.routings]).mean(0)
    assert torch.allclose(moved - same, 8 * mixed[:, 0], atol=1e-4)
