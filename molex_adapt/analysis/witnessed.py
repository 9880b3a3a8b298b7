"""What the score would be if a witness of the readout said nothing.

Shapes: B recordings, A witnesses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molex_adapt.detector import Detector


def witnesses_of(detector: Detector) -> tuple[str, ...]:
    """EXPERT/ATTACK of every witness; none where there is no readout, or it has learnt nothing."""
    readout = detector.head.readout
    return () if readout is None else readout.witnesses


def without_each(detector: Detector, logit: Tensor, each: Tensor) -> Tensor:
    """(B, A) uncalibrated scores, one witness silent in each column; of the head's (B,) and the witnesses' (B, A).

    Of several, those that are left keep their priors: what differs from taking the witness away is the same for all
    recordings.
    """
    readout = detector.head.readout
    assert readout is not None
    count, of_any = each.shape[1], readout.of_any
    # One that accuses nobody is sure of bona fide speech; what that for any attack says is added.
    silent = each.new_full((count,), torch.inf if count - of_any > 1 else 0.0)
    silent[:of_any] = 0.0
    rows = each[:, None].repeat(1, count, 1)
    torch.diagonal(rows, dim1=1, dim2=2).copy_(silent.expand(len(each), count))
    whole = detector.whole(logit.repeat_interleave(count), rows.flatten(0, 1))
    return whole.reshape(len(each), count)
