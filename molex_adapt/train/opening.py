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

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from molex_adapt.base import frame_mask, send
from molex_adapt.detector import Detector
from molex_adapt.mixture.routers import Router, contenders, utterance_mean
from molex_adapt.train.losses import detection_loss, gate_logits
from molex_adapt.train.pools import Batch, Pool, Sampler

OWN, OTHERS = 3.0, -9.0
"""Log-odds of the new expert's share that are aimed at: on its own attack, and on all other speech. The latter is far
below zero, for gates leak where voices are new: an expert that fires on real speech costs every attack."""
MARGIN = 6.0
"""By how much the log-odds on other speech are to lie further from zero than those on its own attack, in training."""
RIDGE, RIDGE_WITH_DRAWS = 0.03, 0.003
"""Many draws leave little to chance, and the weights less held back."""
_MOST_CROPS = 512
"""One of each recording, up to so many. They pass together, for the row of a block needs all that the block reads."""


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
    have the same weight. Half of the latter's is that of `rehearsed`, (M, L, D) routing inputs of old domains; where
    there are any, the crops are of the expert's own pool alone. Rows of all others stay. An expert that shares with
    nobody keeps the row it has.

    Block after block in one pass: a gate that opens takes share from the other experts, and changes what the blocks
    behind it read.
    """
    if not detector.mixture.has_choice:
        return
    heard = pools if rehearsed is None else [pool for pool in pools if pool.expert == row]
    crops = min(_MOST_CROPS, sum(len(pool.clips) for pool in heard))
    batch = Sampler(heard, crops, crop, seed).draw(detector.device)
    mine = batch.expert == row
    if not mine.any() or mine.all():
        return
    old = torch.zeros(0, len(detector.mixture.routers), detector.base.width)
    old = old if rehearsed is None else rehearsed.cpu()
    weights, mine = _weights(mine, len(old)), F.pad(mine, (0, len(old)))
    ridge = RIDGE if rehearsed is None else RIDGE_WITH_DRAWS

    def opened(block: int) -> Callable[[Router, tuple[Tensor, Tensor]], None]:
        def set_row(router: Router, args: tuple[Tensor, Tensor]) -> None:
            x, mask = args
            read = router.standardised(x, mask)
            rivals = utterance_mean(_rivals(gate_logits(router, read), row, router.rest), mask)[:, 0]
            inputs = torch.cat([utterance_mean(read, mask).cpu(), old[:, block]]).double()
            old_rivals = _rivals(gate_logits(router, old[:, block]), row, router.rest)[:, 0]
            target = torch.where(mine, OWN, OTHERS) + torch.cat([rivals.cpu(), old_rivals.cpu()]).double()
            solution = _ridge(F.pad(inputs, (0, 1), value=1.0), target, weights, ridge)
            # Logits are divided by the root of the width.
            router.rows[row].copy_(solution * router.width**0.5)

        return set_row

    routers = detector.mixture.routers
    handles = [router.register_forward_pre_hook(opened(block)) for block, router in enumerate(routers)]
    try:
        detector.mixture.hidden_states(batch.features, batch.frames)
    finally:
        for handle in handles:
            handle.remove()


def gate_loss(detector: Detector, batch: Batch, row: int, rehearsed: Tensor | None = None) -> Tensor:
    """Logistic loss by which the share of one expert tells its own attack from all other speech; scalar, nats.

    The share is that before top-k, and the loss is averaged over the blocks. Both kinds of speech have the same weight,
    and on other speech the share has to be e^`MARGIN` times smaller than an even one.
    That on `rehearsed`, (M, L, D) routing inputs of old domains, comes on top, with the weight of the other speech.
    """
    if not detector.mixture.has_choice:  # it has everything to itself
        return batch.features.new_zeros(())
    own = send((batch.expert == row).float(), batch.features.device)
    mask = frame_mask(batch.frames, batch.features)
    losses = []
    for routing in detector.mixture.routings:
        odds = _odds(routing.logits, row, routing.rest)[..., None]
        losses.append(detection_loss(utterance_mean(odds, mask)[:, 0] + MARGIN * (1 - own), own))
    if rehearsed is not None:
        losses += [
            F.softplus(_odds(gate_logits(router, read), row, router.rest) + MARGIN).mean() / 2
            for router, read in zip(detector.mixture.routers, rehearsed.unbind(1), strict=True)
        ]
    return torch.stack(losses).sum() / len(detector.mixture.routings)


def _odds(logits: Tensor, row: int, rest: bool) -> Tensor:
    """(..., E) gate logits to (...,): log-odds of one expert's share against all others', the rest among them."""
    return logits[..., row] - _rivals(logits, row, rest)[..., 0]


def _rivals(logits: Tensor, row: int, rest: bool) -> Tensor:
    """(..., E) gate logits to (..., 1): what one expert has to exceed for half of the share."""
    # Made on the device: an index that is sent there would wait for it.
    own = torch.arange(logits.shape[-1], device=logits.device) == row
    return contenders(logits.masked_fill(own, -torch.inf), rest).logsumexp(-1, keepdim=True)


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
