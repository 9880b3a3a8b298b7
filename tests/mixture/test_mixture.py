from __future__ import annotations

from itertools import product

import pytest
import torch
from torch.nn import functional as F

from molex_adapt.base import load_base
from molex_adapt.errors import ExpertError
from molex_adapt.mixture import ExpertSpec, Mixture
from molex_adapt.recipe import LoraOptions, RouterOptions
from tests.families import KINDS

THREE = {"world": (2, 4.0), "opus": (3, 3.0), "codec2": (1, 8.0)}
ROUTINGS = ["utterance", "frame"]
WAYS = list(product(["wavlm", "whisper"], ROUTINGS, [1, 2, 3], [tuple(THREE), ("opus",), ()]))
WAYS += [("wav2vec2-bert", routing, 2, ("opus",)) for routing in ROUTINGS]  # whose feed-forward is two
BIAS = torch.arange(14)


def states(mixture: Mixture, heard) -> list[torch.Tensor]:
    with torch.no_grad():  # with a graph, torch may choose another kernel, which rounds otherwise
        return mixture.hidden_states(*heard)


def valid(heard) -> torch.Tensor:
    return BIAS[None] < heard[1][:, None]


def same(left, right, heard, atol: float = 1e-5) -> None:
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one[valid(heard)], other[valid(heard)], atol=atol, rtol=0)


class Slow:
    """The same mixture, token by token and expert by expert, straight from the definition."""

    def __init__(self, mixture: Mixture, k: int, routing: str) -> None:
        self.mixture, self.k, self.routing = mixture, k, routing
        self.gates: list[torch.Tensor] = []

    def __call__(self, features: torch.Tensor, frames: torch.Tensor) -> list[torch.Tensor]:
        handles = []
        for block, router, layers in zip(
            self.mixture.base.blocks, self.mixture.routers, self.mixture.layers, strict=True
        ):
            entry = block.get_submodule(self.mixture.base.family.feed_forward_at)
            handles.append(entry.register_forward_pre_hook(self._decide(router, frames)))
            handles += [layer.register_forward_hook(self._apply(layer)) for layer in layers.values()]
        try:
            return self.mixture.base.hidden_states(features, frames)
        finally:
            for handle in handles:
                handle.remove()

    def _decide(self, router, frames):
        def hook(_module, args):
            x = args[0]
            gates = torch.zeros(*x.shape[:2], len(router.rows))
            for row in range(len(x)):
                count = int(frames[row])
                for frame in range(x.shape[1]):
                    u = x[row, :count].mean(0) if self.routing == "utterance" else x[row, frame]
                    u = (u - router.centre) / router.spread
                    logits = torch.stack([r[:-1] @ u + r[-1] for r in router.rows]) / len(u) ** 0.5
                    best = sorted(range(len(logits)), key=lambda e: -float(logits[e].detach()))[: self.k]
                    for expert, gate in zip(best, logits[best].softmax(0), strict=True):
                        gates[row, frame, expert] = gate
            self.gates.append(gates)

        return hook

    def _apply(self, layer):
        def hook(_module, args, _output):
            output = F.linear(args[0], layer.linear.weight, layer.linear.bias)
            for expert, spec in enumerate(self.mixture.specs):
                update = args[0] @ layer.a[expert].T @ layer.b[expert].T * (spec.alpha / spec.rank)
                output = output + self.gates[-1][..., expert, None] * update
            return output

        return hook


@pytest.mark.parametrize(("kind", "routing", "k", "trained"), WAYS)
def test_output_and_gradients_equal_a_slow_reference(mixed, heard, kind, routing, k, trained):
    found = []
    for make in (lambda m: m.hidden_states, lambda m: Slow(m, k, routing)):
        mixture = mixed(kind, experts=THREE, routing=routing, top_k=k)
        weights = [w for name in trained for w in mixture.expert_parameters(name)]
        weights += [row for name in THREE for row in mixture.router_rows(name)]
        for weight in weights:
            weight.requires_grad_(True)
        outputs = make(mixture)(*heard)
        if k > 1 or trained:  # the only gate is always 1
            outputs[-1][valid(heard)].square().mean().backward()
        found.append((outputs, [torch.zeros(1) if w.grad is None else w.grad for w in weights]))
    (fast, fast_gradients), (slow, slow_gradients) = found
    same(fast, slow, heard)
    assert sum(float(gradient.abs().max()) > 0 for gradient in fast_gradients) >= (
        2 * len(trained) if k > 1 else 0
    )
    for left, right in zip(fast_gradients, slow_gradients, strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_expert_changes_nothing(mixed, heard, kind):
    bare = mixed(kind)
    before = states(bare, heard)
    bare.add(ExpertSpec("new", 4, 8.0))
    assert all(torch.equal(a, b) for a, b in zip(before, states(bare, heard), strict=True))
    assert len(bare.routings) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_attach_and_detach_restore_the_base_bit_for_bit(mixed, heard, tiny_folder_of, kind):
    untouched = load_base(tiny_folder_of(kind))
    mixture = mixed(kind, experts=THREE)
    adapted = states(mixture, heard)
    mixture.attach()  # twice is once
    assert torch.equal(states(mixture, heard)[-1], adapted[-1])
    assert len(mixture.routings) == 2
    mixture.detach()
    mixture.detach()
    bare = untouched.hidden_states(*heard)
    assert all(torch.equal(a, b) for a, b in zip(mixture.base.hidden_states(*heard), bare, strict=True))
    assert mixture.base.model.state_dict().keys() == untouched.model.state_dict().keys()
    assert float((adapted[-1] - bare[-1]).abs().max()) > 1e-2
    mixture.attach()
    assert all(torch.equal(a, b) for a, b in zip(states(mixture, heard), adapted, strict=True))


@pytest.mark.parametrize("routing", ["utterance", "frame"])
@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_gates_sum_to_one_over_k_experts(mixed, heard, routing, k):
    mixture = mixed(experts=THREE, routing=routing, top_k=k)
    states(mixture, heard)
    for routed in mixture.routings:
        assert routed.gates.shape == (3, 14 if routing == "frame" else 1, 3)
        torch.testing.assert_close(routed.gates.sum(-1), torch.ones(routed.gates.shape[:2]))
        assert ((routed.gates > 0).sum(-1) == min(k, 3)).all()
        torch.testing.assert_close(routed.probabilities, routed.logits.softmax(-1))


@pytest.mark.parametrize("routing", ["utterance", "frame"])
@pytest.mark.parametrize(("kind", "norm"), [*((kind, "layer") for kind in KINDS), ("wavlm", "group")])
def test_padding_changes_neither_routing_nor_states(mixed, heard, routing, kind, norm):
    mixture = mixed(kind, experts=THREE, routing=routing, norm=norm)
    features, frames = heard
    together = states(mixture, heard)
    gates = [routed.gates for routed in mixture.routings]
    for row, count in enumerate(frames.tolist()):
        alone = mixture.hidden_states(features[row : row + 1, :count], frames[row : row + 1])
        for left, right in zip(together, alone, strict=True):
            torch.testing.assert_close(left[row, :count], right[0], atol=1e-5, rtol=0)
        for left, routed in zip(gates, mixture.routings, strict=True):
            own = left[row] if routing == "utterance" else left[row, :count]
            torch.testing.assert_close(own, routed.gates[0], atol=1e-5, rtol=0)


def test_removing_an_expert_is_never_having_had_it(mixed, heard):
    without = {name: value for name, value in THREE.items() if name != "opus"}
    never = mixed(experts=without, top_k=2)
    removed = mixed(experts=THREE, top_k=2)
    for name in without:  # both were drawn by their place, so give them the same weights
        for left, right in zip(never.expert_parameters(name), removed.expert_parameters(name), strict=True):
            left.data.copy_(right.data)
        for left, right in zip(never.router_rows(name), removed.router_rows(name), strict=True):
            left.data.copy_(right.data)
    removed.remove("opus")
    assert removed.names == ["world", "codec2"]
    assert all(torch.equal(a, b) for a, b in zip(states(removed, heard), states(never, heard), strict=True))
    removed.remove("world")
    removed.remove("codec2")
    bare = load_base_states(removed, heard)
    assert all(torch.equal(a, b) for a, b in zip(states(removed, heard), bare, strict=True))
    assert removed.routings == []


def load_base_states(mixture: Mixture, heard) -> list[torch.Tensor]:
    mixture.detach()
    with torch.no_grad():
        bare = mixture.base.hidden_states(*heard)
    mixture.attach()
    return bare


def test_a_new_router_row_is_the_mean_of_the_old(mixed):
    mixture = mixed(experts=THREE)
    mixture.add(ExpertSpec("new", 2, 2.0))
    for router in mixture.routers:
        rows = list(router.rows)
        torch.testing.assert_close(rows[3], torch.stack(rows[:3]).mean(0))
        assert rows[3].data_ptr() != rows[0].data_ptr()
    given = [torch.full((33,), float(block)) for block in range(2)]
    mixture.add(ExpertSpec("given", 2, 2.0), rows=given)
    assert [float(row[0]) for row in mixture.router_rows("given")] == [0.0, 1.0]
    first = mixed()
    first.add(ExpertSpec("first", 2, 2.0))
    assert not any(bool(row.any()) for row in first.router_rows("first"))


def test_weights_go_out_and_come_in(mixed, heard):
    one, other = mixed(experts=THREE), mixed()
    for name, (rank, alpha) in THREE.items():
        rows = [row.data for row in one.router_rows(name)]
        other.add(ExpertSpec(name, rank, alpha), one.weights(name), rows)
    assert all(torch.equal(a, b) for a, b in zip(states(one, heard), states(other, heard), strict=True))
    assert set(one.weights("opus")) == {
        f"encoder.layers.{block}.feed_forward.{layer}.lora_{part}"
        for block in (0, 1)
        for layer in ("intermediate_dense", "output_dense")
        for part in "AB"
    }


@pytest.mark.parametrize("fault", ["rank", "missing", "further", "shape"])
def test_weights_that_do_not_fit_change_nothing(mixed, heard, fault):
    mixture = mixed(experts=THREE)
    before = states(mixture, heard)
    weights = mixture.weights("opus")
    first = min(weights)
    rank = 4 if fault == "rank" else 3
    if fault == "missing":
        del weights[first]
    elif fault == "further":
        weights["encoder.layers.9.feed_forward.output_dense.lora_A"] = torch.zeros(3, 64)
    elif fault == "shape":
        weights[first] = weights[first][:, :-1]
    with pytest.raises(ExpertError, match="'copy' does not fit this mixture: .* weight"):
        mixture.add(ExpertSpec("copy", rank, 4.0), weights)
    assert mixture.names == list(THREE)
    assert torch.equal(states(mixture, heard)[-1], before[-1])


def test_names_are_unique_and_known(mixed):
    mixture = mixed(experts=THREE)
    with pytest.raises(ExpertError, match="'opus' is already in this mixture"):
        mixture.add(ExpertSpec("opus", 2, 2.0))
    with pytest.raises(ExpertError, match="no expert 'mp3' in this mixture; it has world, opus, codec2"):
        mixture.remove("mp3")


def test_forcing_restores_whatever_happens(mixed, heard):
    mixture = mixed(experts=THREE)
    routed = states(mixture, heard)
    with mixture.forcing("opus"):
        forced = states(mixture, heard)
        assert all(float(item.gates[..., 1].min()) == 1.0 for item in mixture.routings)
    with pytest.raises(KeyError), mixture.forcing("world"):
        raise KeyError
    assert torch.equal(states(mixture, heard)[-1], routed[-1])
    assert not torch.equal(forced[-1], routed[-1])


def test_an_unknown_target_is_refused_and_the_known_ones_are_named(tiny_folder_of):
    base = load_base(tiny_folder_of())
    with pytest.raises(ExpertError, match="'feed_forward.middle' is not a linear layer .*output_dense"):
        Mixture(base, LoraOptions(targets=("feed_forward.middle",)), RouterOptions())


def test_a_base_carries_one_mixture_at_a_time(mixed):
    mixture = mixed(experts=THREE)
    with pytest.raises(ExpertError, match="carries a mixture already"):
        Mixture(mixture.base, mixture.lora, RouterOptions())
    mixture.detach()
    Mixture(mixture.base, mixture.lora, RouterOptions())


def test_the_default_targets_are_the_feed_forward_by_the_names_of_the_base(mixed):
    mixture = mixed("whisper", experts=THREE)
    assert mixture.lora.targets == ("fc1", "fc2")
    assert list(mixture.placed)[:2] == ["encoder.layers.0.fc1", "encoder.layers.0.fc2"]
    assert mixed("whisper", targets=("fc2", "self_attn.q_proj")).lora.targets == ("fc2", "self_attn.q_proj")
    with pytest.raises(
        ExpertError, match="'feed_forward.output_dense' is not .* self_attn.out_proj, fc1, fc2"
    ):
        mixed("whisper", targets=("feed_forward.output_dense",))


def test_orthogonality_is_the_mean_squared_cosine_of_pairs(mixed):
    mixture = mixed(experts={"one": (2, 2.0), "two": (2, 2.0), "three": (2, 2.0)})
    expected = []
    for layer in (layer for block in mixture.layers for layer in block.values()):
        for left, right in ((0, 1), (0, 2), (1, 2)):
            expected += [
                float(F.cosine_similarity(layer.a[left][i], layer.a[right][j], dim=0)) ** 2
                for i in range(2)
                for j in range(2)
            ]
    assert float(mixture.orthogonality()) == pytest.approx(sum(expected) / len(expected), abs=1e-6)
    assert float(mixed(experts={"one": (2, 2.0)}).orthogonality()) == 0.0


@pytest.mark.parametrize("routing", ["utterance", "frame"])
@pytest.mark.parametrize("heirs", ["others", "none"])
def test_an_expert_that_is_off_takes_no_part(mixed, heard, routing, heirs):
    mixture = mixed(experts=THREE, routing=routing, top_k=2)
    before = mixture.hidden_states(*heard)[-1]
    usual = [routing.gates for routing in mixture.routings]
    with mixture.without("opus", heirs):
        off = mixture.hidden_states(*heard)[-1]
        first = mixture.routings[0].gates
    assert not first[..., mixture.index("opus")].any()
    if heirs == "others":
        torch.testing.assert_close(first.sum(-1), torch.ones(first.shape[:-1]))
    else:
        # Routing of the first block is as usual, and the others keep their gates.
        kept = usual[0].clone()
        kept[..., mixture.index("opus")] = 0
        torch.testing.assert_close(first, kept)
    assert (off - before).abs().max() > 1e-3
    assert torch.equal(mixture.hidden_states(*heard)[-1], before)
