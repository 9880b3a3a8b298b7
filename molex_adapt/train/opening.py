"""The gate of a new expert: router rows in closed form that open it for its own attack, and the loss that keeps it so.

An expert that fires on everything changes the scores of everything that was learnt before. One that fires on its attack
leaves the rest alone, and is what its name promises.

Shapes: B utterances, D the width of a router's input, E experts.

Source: own; the odds of one class by linear regression on indicators, class sizes made equal (Hastie, Tibshirani and
Friedman, The Elements of Statistical Learning, 4.2), here of each block's routing input.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from molex_adapt.base import frame_mask, send
from molex_adapt.detector import Detector
from molex_adapt.mixture.routers import utterance_mean
from molex_adapt.train.losses import detection_loss
from molex_adapt.train.pools import Batch, Pool, Sampler
from molex_adapt.train.reads import caught_reads

ODDS = 3.0
"""Log-odds of the new expert's share: this much on its own attack, and as much below zero on all other speech."""
RIDGE = 0.03
_DRAWS, _OF = 4, 128


@torch.no_grad()
def open_gates(detector: Detector, row: int, pools: Sequence[Pool], crop: int, seed: int) -> None:
    """Set the router rows of one expert, by ridge regression on crops from the pools (`crop` in frames).

    The target is a share of odds e^`ODDS` among all experts on its own attack, and e^-`ODDS` on all other speech; both
    have the same weight. Rows of all others stay. An expert that is alone keeps the row it has.
    """
    if len(detector.mixture.names) < 2:
        return
    sampler = Sampler(pools, _OF, crop, seed)
    inputs: list[list[Tensor]] = [[] for _ in detector.mixture.routers]
    rivals: list[list[Tensor]] = [[] for _ in detector.mixture.routers]
    own = []
    for _ in range(_DRAWS):
        batch = sampler.draw(detector.device)
        with caught_reads(detector) as caught:
            detector.logit(batch.features, batch.frames)
        own.append(batch.expert == row)
        for at, (router, (x, mask)) in enumerate(zip(detector.mixture.routers, caught, strict=True)):
            mean = utterance_mean(router.read(x, mask), mask).float()
            inputs[at].append(((mean - router.centre) / router.spread).cpu().double())
            rivals[at].append(
                utterance_mean(_rivals(detector.mixture.routings[at].logits, row), mask)[:, 0].cpu().double()
            )
    mine = torch.cat(own)
    if not mine.any() or mine.all():
        return
    for router, read, level in zip(detector.mixture.routers, inputs, rivals, strict=True):
        target = torch.where(mine, ODDS, -ODDS).double() + torch.cat(level)
        solution = _ridge(F.pad(torch.cat(read), (0, 1), value=1.0), target, mine)
        router.rows[row].copy_(solution * router.width**0.5)  # logits are divided by the root of the width


def gate_loss(detector: Detector, batch: Batch, row: int) -> Tensor:
    """Logistic loss by which the share of one expert tells its own attack from all other speech; scalar, nats.

    The share is that before top-k, and the loss is averaged over the blocks. Both kinds of speech have the same weight.
    """
    if len(detector.mixture.names) < 2:  # it has everything to itself
        return batch.features.new_zeros(())
    own = send((batch.expert == row).float(), batch.features.device)
    mask = frame_mask(batch.frames, batch.features)
    losses = []
    for routing in detector.mixture.routings:
        odds = routing.logits[..., row, None] - _rivals(routing.logits, row)
        losses.append(detection_loss(utterance_mean(odds, mask)[:, 0], own))
    return torch.stack(losses).mean()


def _rivals(logits: Tensor, row: int) -> Tensor:
    """(B, N, E) gate logits to (B, N, 1): what one expert has to exceed for half of the share."""
    # Made on the device: an index that is sent there would wait for it.
    own = torch.arange(logits.shape[-1], device=logits.device) == row
    return logits.masked_fill(own, -torch.inf).logsumexp(-1, keepdim=True)


def _ridge(rows: Tensor, target: Tensor, mine: Tensor) -> Tensor:
    """(B, D + 1) rows, the last constant, and (B,) targets to weights (D + 1,); both groups count the same."""
    weights = torch.where(mine, 0.5 / mine.sum(), 0.5 / (~mine).sum())[:, None] * rows
    penalty = torch.full((rows.shape[1],), RIDGE, dtype=rows.dtype)
    penalty[-1] = 1e-9  # the constant is not held back
    solution: Tensor = torch.linalg.solve(weights.T @ rows + penalty.diag(), weights.T @ target)
    return solution
