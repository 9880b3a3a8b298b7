"""One expert in place of many: of all experts of its rank, the nearest to what the mixture does on average.

Source: own; truncated singular value decomposition of a sum of LoRA products (Eckart and Young, 1936).

Shapes: M ranks of all experts together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molex_adapt.mixture.experts import ExpertSpec, ExpertWeights
from molex_adapt.mixture.mixture import Mixture


@torch.no_grad()
def merged(
    mixture: Mixture, gates: Tensor, spec: ExpertSpec, generator: torch.Generator | None = None
) -> ExpertWeights:
    """Weights of the expert whose update is nearest to the sum of all experts' updates, weighted by (L, E) gates.

    Rows of A have length 1, as those of a fresh expert have on average, so that both learn well at the same rates.
    Where the experts together have a lower rank than the new one, the remaining rows are fresh.
    """
    found = {}
    per_layer = gates.repeat_interleave(len(mixture.lora.targets), dim=0)
    for (path, layer), own in zip(mixture.placed.items(), per_layer, strict=True):
        weights = own.to(layer.bank.scales) * layer.bank.scales
        a = layer.bank.stacked_a.float()
        b = layer.bank.stacked_b.float() * weights[:, None, None]
        found[f"{path}.lora_A"], found[f"{path}.lora_B"] = own_a, own_b = layer.fresh(spec, generator)
        low, high = _nearest(a.flatten(0, 1), b.flatten(0, 1), spec.rank)
        # The layer will multiply by the scale again.
        own_a[: len(low)], own_b[:, : len(low)] = low, high / spec.scale
    return found


def _nearest(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(M, D_in) and (M, D_out) to (R, D_in), rows of length 1, and (D_out, R): their product is nearest to b^T a."""
    # b^T a = Q_b (R_b R_a^T) Q_a^T with Q orthogonal: the small matrix has the singular values.
    q_a, r_a = torch.linalg.qr(a.T)
    q_b, r_b = torch.linalg.qr(b.T)
    left, values, right = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    return right[:rank] @ q_a.T, (q_b @ left[:, :rank]) * values[:rank]
