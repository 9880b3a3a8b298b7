from __future__ import annotations

import pytest
import torch

from molex_adapt.mixture import Router, Routing
from molex_adapt.mixture.routers import load_balance
from molex_adapt.recipe import RouterOptions


def router(experts: int = 3, rest: bool = False, **options: object) -> Router:
    made = Router(8, RouterOptions.model_validate(options), rest)
    generator = torch.Generator().manual_seed(0)
    for _ in range(experts):
        made.add(torch.randn(9, generator=generator) * 3)
    return made.requires_grad_(False).eval()


@pytest.fixture
def heard() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(1))
    return x, torch.arange(6)[None] < torch.tensor([6, 3, 5, 1])[:, None]


def test_noise_is_for_training_only(heard):
    noisy = router(noise=1.0)
    torch.manual_seed(0)
    first = noisy(*heard)
    assert torch.equal(noisy(*heard).gates, first.gates)
    noisy.train()
    second, third = noisy(*heard), noisy(*heard)
    assert not torch.equal(second.gates, third.gates)
    assert torch.equal(second.logits, first.logits)  # what losses see is without it
    quiet = router(noise=0.0).train()
    assert torch.equal(quiet(*heard).gates, quiet(*heard).gates)


def test_dense_softmax_over_all(heard):
    assert ((router(top_k=1)(*heard).gates > 0).sum(-1) == 1).all()
    routed = router(top_k=9)(*heard)
    torch.testing.assert_close(routed.gates, routed.probabilities)


def test_the_rest_takes_what_no_gate_asks_for(heard):
    made = router(top_k=2, rest=True)
    routed = made(*heard)
    top = routed.logits.topk(2).values
    torch.testing.assert_close(routed.weights, top.exp() / (1 + top.exp().sum(-1, keepdim=True)))
    torch.testing.assert_close(routed.gates.sum(-1), routed.weights.sum(-1))
    every = router(top_k=3, rest=True)(*heard)
    torch.testing.assert_close(every.gates, every.probabilities)
    made.rows.table[:, -1] -= 100
    assert float(made(*heard).gates.sum()) < 1e-9
    made.forced = 1
    assert torch.equal(made(*heard).gates.sum(-1), torch.ones(4, 1))  # who is forced takes all
    made.forced, made.off = None, (0, "others")
    assert float(made(*heard).gates[..., 0].max()) == 0.0


def test_without_the_only_expert_the_rest_takes_everything(heard):
    made = router(1, rest=True)
    for heirs in ("others", "none"):
        made.off = 0, heirs
        assert float(made(*heard).gates.abs().max()) == 0.0


def test_the_input_is_standardised_and_read_over_valid_frames_only(heard):
    x, mask = heard
    made = router(top_k=3)
    made.centre.fill_(0.5)
    made.spread.fill_(2.0)
    mean = torch.stack([row[valid].mean(0) for row, valid in zip(x, mask, strict=True)])
    rows = torch.stack(list(made.rows))
    expected = ((mean - 0.5) / 2 @ rows[:, :-1].T + rows[:, -1]) / 8**0.5
    torch.testing.assert_close(made(x, mask).logits[:, 0], expected)
    x[~mask] = 1e6
    torch.testing.assert_close(made(x, mask).logits[:, 0], expected)
    by_frame = router(top_k=3, routing="frame")
    assert by_frame(x, mask).gates.shape == (4, 6, 3)


def test_forced_takes_all_and_keeps_the_logits(heard):
    made = router()
    free = made(*heard)
    made.forced = 2
    routed = made(*heard)
    assert (routed.gates == torch.tensor([0.0, 0.0, 1.0])).all()
    assert torch.equal(routed.logits, free.logits)


def test_rows_come_and_go():
    made = router()
    rows = [row.clone() for row in made.rows]
    made.remove(1)
    assert [torch.equal(row, rows[at]) for row, at in zip(made.rows, (0, 2), strict=True)] == [True, True]
    made.add()
    torch.testing.assert_close(made.rows[2].data, (rows[0] + rows[2]) / 2)


def decided(gates: torch.Tensor) -> Routing:
    """One expert each, without doubt."""
    weights, chosen = gates.topk(1)
    return Routing(chosen, weights, gates.log())


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        ([[[1.0, 0, 0]], [[0, 1.0, 0]], [[0, 0, 1.0]]], 1.0),
        ([[[1.0, 0, 0]]] * 3, 3.0),
    ],
)
def test_load_balance_is_1_for_equal_shares_and_e_for_one_taker(gates, expected):
    routing = decided(torch.tensor(gates))
    able = torch.ones(routing.logits.shape[-1], dtype=torch.bool)
    assert float(load_balance(routing, torch.ones(3, 5, dtype=torch.bool), able)) == pytest.approx(expected)
    # A withdrawn one beside them is nobody's rival.
    beside = decided(torch.cat([torch.tensor(gates), torch.zeros(*torch.tensor(gates).shape[:2], 1)], dim=2))
    able = torch.cat([able, torch.tensor([False])])
    assert float(load_balance(beside, torch.ones(3, 5, dtype=torch.bool), able)) == pytest.approx(expected)


def test_load_balance_of_frames_leaves_padding_out():
    gates = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]])
    mask = torch.tensor([[True, True, False, False]])
    assert float(load_balance(decided(gates), mask, torch.ones(2, dtype=torch.bool))) == pytest.approx(1.0)


def test_a_withdrawn_expert_takes_nothing_and_is_no_example_for_the_next(heard):
    made = router()
    two = router()
    two.rows.replace(made.rows.table[[0, 2]], {})
    made.withdraw(1)
    assert made.withdrawn.tolist() == [False, True, False]
    routed = made(*heard)
    assert float(routed.gates[..., 1].max()) < 1e-9
    torch.testing.assert_close(routed.gates[..., [0, 2]], two(*heard).gates)
    made.add()
    torch.testing.assert_close(made.rows[3].data, (made.rows[0] + made.rows[2]).data / 2)


@pytest.mark.parametrize("rest", [False, True])
def test_where_all_gates_are_closed_nobody_acts(heard, rest):
    """Without a rest there is none to take what closed gates leave: the last of three experts must not get it all."""
    made = router()
    made.rest = rest
    for index in (0, 2):
        made.withdraw(index)
    made.off = (1, "others")
    assert float(made(*heard).gates.max()) < 1e-9
    made.off = None
    assert float(made(*heard).gates[..., 1].min()) > (0.0 if rest else 0.999)
    made.remove(1)
    routed = made(*heard)
    assert max(float(routed.gates.max()), float(routed.probabilities.max())) < 1e-9
