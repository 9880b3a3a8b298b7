"""The gate of a new expert: opened in closed form, kept by a loss."""

import pytest
import torch
from torch.nn import functional as F

from molex_adapt.mixture.routers import Routing
from molex_adapt.routing import collect
from molex_adapt.train.opening import MARGIN, gate_loss, open_gates
from molex_adapt.train.pools import Batch, Pool
from molex_adapt.train.stages import append_expert

OLD = ("world", "opus")


class Routed:
    """Stands in for a detector whose routers have just decided."""

    def __init__(self, logits: torch.Tensor, names: str, rest: bool = False) -> None:
        self.mixture, self.names = self, list(names)
        self.has_choice = rest or len(names) > 1
        weights, chosen = logits.softmax(-1).topk(min(2, logits.shape[-1]))
        self.routings = [Routing(chosen, weights, logits, rest)]


def batch(frames: list[int], expert: list[int]) -> Batch:
    count = len(frames)
    lengths = torch.tensor(frames)
    none = torch.full((count,), -1)
    return Batch(
        torch.zeros(count, 3, 1),
        lengths,
        torch.zeros(count),
        torch.tensor(expert),
        none,
        torch.zeros(count),
    )


@pytest.mark.parametrize("routing", ["utterance", "frame"])
def test_gates_open_for_the_own_attack_and_for_nothing_else(
    detector_of, features_of, tiny_recipe, state, changed, routing
):
    recipe = tiny_recipe(router={"routing": routing, "top_k": 3})
    detector = detector_of(recipe, *OLD)
    append_expert(detector, "new", recipe, seed=0)
    fresh = state(detector)
    own, old = features_of(40, channel=3), features_of(40, 1, "a", 5)
    open_gates(detector, 2, [Pool(own, 1.0, 2), Pool(old, 1.0, 0)], crop=99, seed=0)
    assert changed(fresh, detector) == {"row new"}
    shares = [collect(detector, clips).probabilities[:, :, 2] for clips in (own, old)]
    on_own, on_real, on_old = (
        float(found[clips.bona_fide == label].mean())
        for found, clips, label in (
            (shares[0], own, False),
            (shares[0], own, True),
            (shares[1], old, False),
        )
    )
    assert on_own > 2 * max(on_real, on_old)


@pytest.mark.parametrize("kept", [False, True])
def test_a_gate_is_made_for_what_its_block_reads_once_the_gates_before_it_are_open(
    detector_of, features_of, tiny_recipe, kept
):
    recipe = tiny_recipe(router={"top_k": 3})
    detector = detector_of(recipe, *OLD)
    append_expert(detector, "new", recipe, seed=0)
    own, old = Pool(features_of(40, channel=3), 1.0, 2), Pool(features_of(40, 1, "a", 5), 1.0, 0)
    drawn = torch.randn(50, len(detector.mixture.routers), detector.base.width) if kept else None
    rows = []
    for _ in range(2):
        open_gates(detector, 2, [own, old], crop=99, seed=0, rehearsed=drawn)
        rows.append(torch.stack([router.rows.table[2].clone() for router in detector.mixture.routers]))
    # What the blocks read the second time is what they read the first time, when each row was set.
    torch.testing.assert_close(*rows, atol=1e-4, rtol=1e-4)


def test_where_old_domains_are_rehearsed_their_exemplars_are_not_heard(detector_of, features_of, tiny_recipe):
    recipe = tiny_recipe(router={"top_k": 3})
    own, old = Pool(features_of(40, channel=3), 1.0, 2), Pool(features_of(40, 1, "a", 5), 1.0, 0)
    for kept in (False, True):
        rows = []
        for pools in ([own], [own, old]):
            detector = detector_of(recipe, *OLD)
            append_expert(detector, "new", recipe, seed=0)
            generator = torch.Generator().manual_seed(0)
            blocks = len(detector.mixture.routers)
            drawn = torch.randn(50, blocks, detector.base.width, generator=generator) if kept else None
            open_gates(detector, 2, pools, crop=99, seed=0, rehearsed=drawn)
            rows.append(torch.stack([router.rows.table[2].clone() for router in detector.mixture.routers]))
        assert torch.equal(*rows) is kept


@pytest.mark.parametrize(("count", "crops"), [(40, 80), (300, 512)])
def test_one_crop_of_each_recording_is_heard_up_to_a_limit(
    detector_of, features_of, tiny_recipe, monkeypatch, count, crops
):
    recipe = tiny_recipe(router={"top_k": 3})
    detector = detector_of(recipe, *OLD)
    append_expert(detector, "new", recipe, seed=0)
    heard, run = [], detector.mixture.hidden_states
    monkeypatch.setattr(
        detector.mixture, "hidden_states", lambda clips, frames: heard.append(clips) or run(clips, frames)
    )
    open_gates(detector, 2, [Pool(features_of(count, channel=3), 1.0, 2)], crop=99, seed=0)
    assert [len(clips) for clips in heard] == [crops]
    assert len({clip.numpy().tobytes() for clip in heard[0]}) == crops


def test_an_expert_alone_has_no_gate_to_open(detector_of, features_of, tiny_recipe, state, changed):
    recipe = tiny_recipe()
    detector = detector_of(recipe, "world")
    before = state(detector)
    open_gates(detector, 0, [Pool(features_of(8), 1.0, 0)], crop=99, seed=0)
    assert changed(before, detector) == set()


def test_the_loss_tells_an_expert_to_fire_on_its_own_attack_alone():
    logits = torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(0))
    rows = batch([3] * 4, [2, -1, 0, 2])  # expert 2's own speech, bona fide speech, another's, its own
    odds = logits[:, 0, 2] - logits[:, 0, :2].logsumexp(1)
    expected = F.softplus(-odds[[0, 3]]).mean() / 2 + F.softplus(odds[[1, 2]] + MARGIN).mean() / 2
    torch.testing.assert_close(gate_loss(Routed(logits, "abc"), rows, 2), expected)
    by_frame = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(0))
    odds = (by_frame[0, :2, 1] - by_frame[0, :2, 0]).mean()
    found = gate_loss(Routed(by_frame, "ab"), batch([2], [1]), 1)
    torch.testing.assert_close(found, F.softplus(-odds))
    assert float(gate_loss(Routed(torch.randn(2, 1, 1), "a"), batch([3, 3], [0, -1]), 0)) == 0.0


def test_the_first_expert_shares_with_the_rest():
    logits = torch.tensor([[[2.0]], [[-1.0]]])
    found = gate_loss(Routed(logits, "a", rest=True), batch([3, 3], [0, -1]), 0)
    expected = F.softplus(torch.tensor(-2.0)) / 2 + F.softplus(torch.tensor(-1.0 + MARGIN)) / 2
    torch.testing.assert_close(found, expected)
