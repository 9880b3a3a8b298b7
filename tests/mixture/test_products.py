from __future__ import annotations

import pytest
import torch

from molex_adapt.mixture.products import dot_rows, sum_rows


def drawn(dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x, table = (torch.randn(count, 24, generator=generator).to(dtype) for count in (5, 40))
    index = torch.randint(40, (5, 6), generator=generator)
    return x, table, index, torch.randn(5, 6, generator=generator).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_values_and_gradients_are_those_of_the_copied_rows(dtype, tolerance):
    x, table, index, weights = drawn(dtype)

    def products(rows, dot, total):
        own_x, own_weights = x.clone().requires_grad_(), weights.clone().requires_grad_()
        values = dot(own_x, rows), total(rows, own_weights)
        (values[0].square().sum() + values[1].square().sum()).backward()
        return [*values, own_x.grad, own_weights.grad]

    fast = products(table, lambda a, t: dot_rows(a, t, index), lambda t, w: sum_rows(t, index, w))
    copied = table.double()[index]
    slow = products(
        copied,
        lambda a, rows: torch.einsum("td,tjd->tj", a.double(), rows),
        lambda rows, w: torch.einsum("tj,tjd->td", w.double(), rows),
    )
    for one, other in zip(fast, slow, strict=True):
        assert one.dtype == dtype
        scale = float(other.detach().abs().max())
        torch.testing.assert_close(one.double() / scale, other.double() / scale, atol=tolerance, rtol=0)


def test_the_same_row_may_come_twice():
    table = torch.eye(3)
    index = torch.tensor([[1, 1]])
    assert sum_rows(table, index, torch.tensor([[2.0, 3.0]])).tolist() == [[0, 5, 0]]
    assert dot_rows(torch.tensor([[7.0, 8, 9]]), table, index).tolist() == [[8, 8]]
