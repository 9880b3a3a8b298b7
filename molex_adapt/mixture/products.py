"""Products of tokens with a few rows of a table, without a copy of the rows; frame routing is built on them.

Each of `dot_rows` and `sum_rows` is the gradient of the other. Both use kernels that torch has for weighted embedding
bags. Time and memory do not grow with the table, and nothing is read back from the device.

torch has no bfloat16 kernel of them for CUDA: there the products are float32, and what comes back is bfloat16 again.

Shapes: T tokens, M rows of the table, J rows of each token.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F


def sum_rows(table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum (T, D) of each token's rows of a frozen table (M, D), by index and weights (T, J)."""
    dtype = _kernel_dtype(table)
    summed = F.embedding_bag(index, table.to(dtype), per_sample_weights=weights.to(dtype), mode="sum")
    return summed.to(table.dtype)


def dot_rows(x: Tensor, table: Tensor, index: Tensor) -> Tensor:
    """Product (T, J) of each token (T, D) with each of its rows of a frozen table (M, D), by index (T, J)."""
    return cast(Tensor, _DotRows.apply(x, table, index))  # type: ignore[no-untyped-call]


class _DotRows(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(table, index)
        return _dot(x, table, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        table, index = ctx.saved_tensors
        return sum_rows(table, index, gradients[0].contiguous()), None, None


def _dot(x: Tensor, table: Tensor, index: Tensor) -> Tensor:
    tokens, rows = index.shape
    token, dtype = torch.arange(tokens, device=x.device), _kernel_dtype(table)
    found: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        x.contiguous().to(dtype),
        table.to(dtype),
        index.flatten(),
        token * rows,
        token.repeat_interleave(rows),
        0,
    )
    return found.view(tokens, rows).to(x.dtype)


def _kernel_dtype(table: Tensor) -> torch.dtype:
    return torch.float32 if table.is_cuda and table.dtype == torch.bfloat16 else table.dtype
