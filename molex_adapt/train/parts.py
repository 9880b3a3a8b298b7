"""The gradient of a whole batch, computed in parts: by several processes, and in pieces that fit into memory.

Losses couple the rows of a batch: classes and pairs are averaged, the load of experts is balanced over all rows. So a
part does not compute its own loss. All parts say first what the mixture makes of their rows; the loss of the whole
batch is differentiated with respect to that; then each part takes the gradient on to the weights. It is that of one
pass over the whole batch, but for the order in which sums are rounded.

Source: gradients of large batches in pieces, Gao et al. (arXiv 2101.06983).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from molex_adapt.chance import part_of
from molex_adapt.detector import Detector
from molex_adapt.mixture.routers import Routing
from molex_adapt.processes import are_several, is_first, place, summed
from molex_adapt.train.checkpoints import random_state, set_random_state
from molex_adapt.train.pools import Batch


def differentiate_in_parts(
    detector: Detector,
    batch: Batch,
    loss: Callable[[Batch], Tensor],
    weights: Sequence[nn.Parameter],
    most: int | None = None,
) -> Tensor:
    """Add the gradient of the loss of a batch to weights that have none yet; of several processes all get the whole.

    Args:
        detector: in training; its routings are those of the whole batch afterwards.
        batch: the same in every process.
        loss: scalar, of a batch that has `said`.
        weights: all that learn.
        most: rows that pass the mixture at once; more than so many pass it twice. None for no limit.

    Returns:
        The loss, detached.
    """
    size = len(batch.frames)
    parts, mine = _parts(size, most)
    start = random_state(detector.device)
    at_once = len(parts) == 1

    def said_of(part: slice) -> list[Tensor]:
        set_random_state(start, detector.device)  # every part meets the chance of the whole
        return _said(detector, batch, part)

    with torch.set_grad_enabled(at_once):
        said = [said_of(part) for part in parts]
    whole = _joined(said, parts if mine else [], size)
    detector.mixture.routings = _routings(whole, detector.mixture.rest)
    value = loss(replace(batch, said=whole[0]))
    value.backward()
    if not is_first():  # terms of the weights alone, such as orthogonality, are there in every process
        for weight in weights:
            weight.grad = None
    for number, part in enumerate(parts if mine else []):
        _pass_on(said[number] if at_once else said_of(part), [values.grad for values in whole], part)
    _add_up(weights)
    return value.detach()


def _parts(size: int, most: int | None) -> tuple[list[slice], bool]:
    """The rows of a batch that this process computes, and whether they are its own.

    A process without any row of its own computes the first one for nothing: its random state has to move on as well.
    """
    rank, count = place()
    first, last = rank * size // count, (rank + 1) * size // count
    if first == last:
        return [slice(0, 1)], False
    step = last - first if most is None else most
    return [slice(at, min(at + step, last)) for at in range(first, last, step)], True


def _said(detector: Detector, batch: Batch, part: slice) -> list[Tensor]:
    """What the mixture makes of some rows: the logit, and of every block gate logits, gates, and who was chosen."""
    with part_of(part.start, len(batch.frames)):
        logit = detector.logit(batch.features[part], batch.frames[part])
    routings = detector.mixture.routings
    return [logit, *(values for item in routings for values in (item.logits, item.weights, item.chosen))]


def _routings(whole: Sequence[Tensor], rest: bool) -> list[Routing]:
    return [
        Routing(chosen.long(), weights, logits, rest)
        for logits, weights, chosen in zip(whole[1::3], whole[2::3], whole[3::3], strict=True)
    ]


def _joined(said: Sequence[Sequence[Tensor]], parts: Sequence[slice], size: int) -> list[Tensor]:
    """What all parts of all processes say, detached, for the whole batch; the loss can be differentiated by it."""
    shapes = [(size, *values.shape[1:]) for values in said[0]]
    found = [said[0][0].new_zeros(shape) for shape in shapes]
    with torch.no_grad():
        for own, part in zip(said, parts, strict=False):
            for values, given in zip(found, own, strict=True):
                values[part] = given.to(values)
        whole = summed(torch.cat([values.flatten() for values in found]))
    pieces = whole.split([values.numel() for values in found])
    return [piece.view(shape).clone().requires_grad_() for piece, shape in zip(pieces, shapes, strict=True)]


def _pass_on(said: Sequence[Tensor], gradients: Sequence[Tensor | None], part: slice) -> None:
    """Take gradients with respect to what was said of the whole batch on to the weights, for the rows of a part."""
    pairs = [
        (values, gradient[part])
        for values, gradient in zip(said, gradients, strict=True)
        if gradient is not None and values.requires_grad
    ]
    if pairs:
        torch.autograd.backward([values for values, _ in pairs], [gradient for _, gradient in pairs])


def _add_up(weights: Sequence[nn.Parameter]) -> None:
    """Give every process the sum of all gradients; weights that no process has a gradient of stay without."""
    if not are_several():
        return
    counts = summed(torch.tensor([float(weight.grad is not None) for weight in weights])).tolist()
    learning = [weight for weight, count in zip(weights, counts, strict=True) if count]
    if not learning:
        return
    own = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in learning]
    total = summed(torch.cat([gradient.flatten() for gradient in own]))
    pieces = total.split([weight.numel() for weight in learning])
    for weight, piece in zip(learning, pieces, strict=True):
        weight.grad = piece.view_as(weight)
