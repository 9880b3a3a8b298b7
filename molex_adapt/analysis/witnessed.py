"""What each of the readout's witnesses says of a recording, and what all together would say without it.

Shapes: B recordings, L states (B, F, D), A witnesses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molex_adapt.base import send
from molex_adapt.detector import Detector
from molex_adapt.readout import Readings, Readout, pooled


def witnesses_of(detector: Detector) -> tuple[str, ...]:
    """EXPERT/ATTACK of every witness; none where there is no readout, or it has learnt nothing."""
    readout = detector.head.readout
    return () if readout is None else readout.witnesses


def witnessed(
    detector: Detector, frozen: list[Tensor], mask: Tensor, heard: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Each witness by itself, and all without it.

    Args:
        detector: whose readout it is.
        frozen: L tensors (B, F, D) of the base without experts.
        mask: (B, F) bool, True where a frame is valid.
        heard: (B, statistics) of the low-level view; None where it heard nothing.

    Returns:
        (B, A) log-likelihood ratios of the witnesses in nats, below 0 where it accuses; (B, A) what the readout would
        add to logits if that witness said nothing. A is 0 where there is no readout.
    """
    readout = detector.head.readout
    if readout is None or not readout.has_learnt:
        nothing = torch.zeros(len(mask), 0, device=mask.device)
        return nothing, nothing
    known = detector.unheard(len(mask)) if heard is None else heard
    each = readout.each(Readings(send(known, mask.device), pooled(frozen, mask)))
    return each.float(), readout.share * _without_each(readout, each)


def _without_each(readout: Readout, each: Tensor) -> Tensor:
    """(B, A) to (B, A) nats for bona fide speech, one witness silent in each column.

    Of several, those that are left keep their priors: what differs from taking the witness away is the same for all
    recordings.
    """
    count, of_any = each.shape[1], readout.of_any
    # One that accuses nobody is sure of bona fide speech; what that for any attack says is added.
    silent = each.new_full((count,), torch.inf if count - of_any > 1 else 0.0)
    silent[:of_any] = 0.0
    rows = each[:, None].repeat(1, count, 1)
    torch.diagonal(rows, dim1=1, dim2=2).copy_(silent.expand(len(each), count))
    return readout.mixed(rows.flatten(0, 1)).reshape(len(each), count)
