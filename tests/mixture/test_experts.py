from __future__ import annotations

import pytest
import torch
from torch import nn

from molex_adapt.errors import ExpertError
from molex_adapt.mixture import ExpertLinear, ExpertSpec, Routing


def routing(gates: torch.Tensor) -> Routing:
    weights, chosen = gates.topk(gates.shape[-1])
    return Routing(chosen, weights, gates)


@pytest.fixture
def layer() -> ExpertLinear:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = ExpertLinear(nn.Linear(6, 4))
        for name, rank, alpha in (("one", 2, 4.0), ("two", 3, 3.0)):
            spec = ExpertSpec(name, rank, alpha)
            made.extend([spec], [(made.fresh(spec)[0], torch.randn(4, rank))])
    return made


def test_gates_weigh_the_updates(layer):
    x = torch.randn(2, 5, 6)
    layer.routing = routing(torch.tensor([[[0.25, 0.75]], [[1.0, 0.0]]]))
    update = [x @ layer.a[at].T @ layer.b[at].T * scale for at, scale in ((0, 2.0), (1, 1.0))]
    expected = layer.linear(x) + torch.stack([0.25 * update[0][0] + 0.75 * update[1][0], update[0][1]])
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_without_gates_or_experts_it_is_the_linear_layer(layer):
    x = torch.randn(2, 5, 6)
    assert torch.equal(layer(x), layer.linear(x))
    layer.routing = routing(torch.ones(2, 1, 2) / 2)
    layer.remove(0)
    layer.remove(0)
    assert torch.equal(layer(x), layer.linear(x))


def test_a_fresh_expert_is_drawn_from_its_generator():
    spec = ExpertSpec("new", 8, 8.0)
    (a, b), (again, _) = (
        ExpertLinear(nn.Linear(400, 4)).fresh(spec, torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(a, again)
    assert float(a.std()) == pytest.approx(1 / 20, rel=0.1)
    assert not bool(b.any())


def test_another_shape_is_refused(layer):
    with pytest.raises(ExpertError, match=r"lora_B has shape \(4, 5\), this layer needs \(4, 2\)"):
        layer.extend([ExpertSpec("three", 2, 2.0)], [(torch.zeros(2, 6), torch.zeros(4, 5))])
    assert len(layer.bank) == 2
