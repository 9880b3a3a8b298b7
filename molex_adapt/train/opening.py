"""The gate of a new expert: router rows in closed form that open it for its own attack, and the loss that keeps it so.

An expert that fires on everything changes the scores of everything that was learnt before. One that fires on its attack
leaves the rest alone, and is what its name promises.

What routers read of old domains is drawn from Gaussians where it is kept (`rehearsal`): a few exemplars say little of
what those domains are like in other channels.

Shapes: B utterances, D the width of a router's input, M draws.

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
from molex_adapt.train.losses import detection_loss, gate_logits
from molex_adapt.train.pools import Batch, Pool, Sampler
from molex_adapt.train.reads import caught_reads

OWN, OTHERS = 3.0, -9.0
"""Log-odds of the new expert's share that are aimed at: on its own attack, and on all other speech. The latter is far
below zero, for gates leak where voices are new: an expert that fires on real speech costs every attack."""
MARGIN = 6.0
"""By how much the log-odds on other speech are to lie further from zero than those on its own attack, in training."""
RIDGE, RIDGE_WITH_DRAWS = 0.03, 0.003
"""Many draws leave little to chance, and the weights less held back."""
_DRAWS, _OF = 4, 128


@torch.no_grad()
def open_gates(
    detector: Detector,
    row: int,
    pools: Sequence[Pool],
    crop: int,
    seed: int,
    rehearsed: Tensor | None = None,
) -> None:
    """Set the router rows of one expert, by ridge regression on crops from the pools (`crop` in frames).

    The target is a share of odds e^`OWN` among all experts on its own attack, and e^`OTHERS` on all other speech; both
    have the same weight. Half of the latter's is that of `rehearsed`, (M, L, D) routing inputs of old domains, where
    there are any. Rows of all others stay. An expert that is alone keeps the row it has.
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
    drawn = torch.zeros(0, len(inputs), detector.base.width) if rehearsed is None else rehearsed.cpu()
    weights = _weights(mine, len(drawn))
    mine = F.pad(mine, (0, len(drawn)))
    for at, router in enumerate(detector.mixture.routers):
        own_rivals = _rivals(gate_logits(router, drawn[:, at]), row)[:, 0].cpu().double()
        target = torch.where(mine, OWN, OTHERS).double() + torch.cat([*rivals[at], own_rivals])
        read = F.pad(torch.cat([*inputs[at], drawn[:, at].double()]), (0, 1), value=1.0)
        solution = _ridge(read, target, weights, RIDGE if rehearsed is None else RIDGE_WITH_DRAWS)
        router.rows[row].copy_(solution * router.width**0.5)  # logits are divided by the root of the width


def gate_loss(detector: Detector, batch: Batch, row: int, rehearsed: Tensor | None = None) -> Tensor:
    """Logistic loss by which the share of one expert tells its own attack from all other speech; scalar, nats.

    The share is that before top-k, and the loss is averaged over the blocks. Both kinds of speech have the same weight,
    and on other speech the share has to be e^`MARGIN` times smaller than an even one.
    That on `rehearsed`, (M, L, D) routing inputs of old domains, comes on top, with the weight of the other speech.
    """
    if len(detector.mixture.names) < 2:  # it has everything to itself
        return batch.features.new_zeros(())
    own = send((batch.expert == row).float(), batch.features.device)
    mask = frame_mask(batch.frames, batch.features)
    losses = []
    for routing in detector.mixture.routings:
        odds = _odds(routing.logits, row)[..., None]
        losses.append(detection_loss(utterance_mean(odds, mask)[:, 0] + MARGIN * (1 - own), own))
    if rehearsed is not None:
        losses += [
            F.softplus(_odds(gate_logits(router, read), row) + MARGIN).mean() / 2
            for router, read in zip(detector.mixture.routers, rehearsed.unbind(1), strict=True)
        ]
    return torch.stack(losses).sum() / len(detector.mixture.routings)


def _odds(logits: Tensor, row: int) -> Tensor:
    """(..., E) gate logits to (...,): log-odds of one expert's share against all others'."""
    return logits[..., row] - _rivals(logits, row)[..., 0]


def _rivals(logits: Tensor, row: int) -> Tensor:
    """(..., E) gate logits to (..., 1): what one expert has to exceed for half of the share."""
    # Made on the device: an index that is sent there would wait for it.
    own = torch.arange(logits.shape[-1], device=logits.device) == row
    return logits.masked_fill(own, -torch.inf).logsumexp(-1, keepdim=True)


def _weights(mine: Tensor, drawn: int) -> Tensor:
    """(B,) own or not to (B + drawn,) weights: half for its own, half for other speech, of which draws take half."""
    others = 0.25 if drawn else 0.5
    found = torch.where(mine, 0.5 / mine.sum(), others / (~mine).sum()).double()
    return torch.cat([found, torch.full((drawn,), 0.25 / max(1, drawn), dtype=found.dtype)])


def _ridge(rows: Tensor, target: Tensor, weights: Tensor, ridge: float) -> Tensor:
    """(B, D + 1) rows, the last constant, (B,) targets and their weights, to a solution (D + 1,)."""
    weighed = weights[:, None] * rows
    penalty = torch.full((rows.shape[1],), ridge, dtype=rows.dtype)
    penalty[-1] = 1e-9  # the constant is not held back
    solution: Tensor = torch.linalg.solve(weighed.T @ rows + penalty.diag(), weighed.T @ target)
    return solution
