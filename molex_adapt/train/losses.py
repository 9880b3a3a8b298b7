"""The losses of training, and the development loss that decides early stopping.

Shapes: M draws of routing inputs of old domains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from molex_adapt.base import frame_mask, send
from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import Features, concatenate, logits_of
from molex_adapt.mixture.routers import Router, contenders, load_balance
from molex_adapt.train.pools import Batch


def detection_loss(logit: Tensor, bona_fide: Tensor) -> Tensor:
    """Logistic loss in which both classes have the same weight, whatever their counts; scalar, nats."""
    loss = F.binary_cross_entropy_with_logits(logit, bona_fide, reduction="none")
    return _class_mean(loss, bona_fide > 0.5)


def twin_loss(logit: Tensor, twin: Tensor) -> Tensor:
    """Logistic loss of the difference between a recording's logit and that of its forged copy; scalar, nats.

    Voice, words and channel are the same in both and cancel out. What remains to learn is the attack. `twin` is that of
    `Batch`.
    """
    forged = (twin >= 0).nonzero()[:, 0]
    if not len(forged):
        return logit.new_zeros(())
    copies, originals = send(forged, logit.device), send(twin[forged], logit.device)
    return F.softplus(logit[copies] - logit[originals]).mean()


def scored_loss(scores: NDArray[np.float64], bona_fide: Tensor) -> float:
    """`detection_loss` of calibrated scores (N,), in nats."""
    return float(detection_loss(torch.from_numpy(scores), bona_fide.double()))


def loss_of_each(scores: NDArray[np.float64], bona_fide: Tensor) -> NDArray[np.float64]:
    """(N,) logistic losses of calibrated scores (N,), in nats."""
    return np.logaddexp(0.0, np.where(bona_fide.numpy(), -scores, scores))


def logits_and_loss(detector: Detector, batch: Batch, twin_weight: float) -> tuple[Tensor, Tensor]:
    """(B,) logits of the mixture, and the `detection_loss` plus `twin_weight` times the `twin_loss` of the whole score.

    What the readout says is part of that: experts learn what it leaves unsolved, as if what they say were not shrunk.
    """
    logit = detector.logit(batch.features, batch.frames) if batch.said is None else batch.said
    whole = logit / detector.head.shrinkage + batch.told
    return logit, detection_loss(whole, batch.bona_fide) + twin_weight * twin_loss(whole, batch.twin)


def domain_loss(detector: Detector, batch: Batch) -> Tensor:
    """Cross-entropy between the gate logits of every block and the expert of the spoofed speech; scalar.

    Where there is a rest, bona fide speech is its own. The rest and all experts together have the same weight.
    """
    owner, rest = batch.expert, detector.mixture.rest
    known = owner >= 0
    if not known.any():
        return batch.features.new_zeros(())
    if rest:
        real = batch.bona_fide.cpu() > 0.5
        owner, known = owner.masked_fill(real, len(detector.mixture.names)), known | real
    device = batch.features.device
    rows, owners = send(known.nonzero()[:, 0], device), send(owner[known], device)
    forged = send((batch.expert[known] >= 0).float(), device)
    mask = frame_mask(batch.frames, batch.features)[..., None]
    losses = []
    for routing in detector.mixture.routings:
        logits = contenders(routing.logits, rest)
        # Frame routing: the label belongs to the utterance, so its frames are averaged.
        if logits.shape[1] > 1:
            logits = (logits * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        each = F.cross_entropy(logits[rows, 0], owners, reduction="none")
        losses.append(_class_mean(each, forged > 0.5))
    return torch.stack(losses).mean()


def drift_loss(detector: Detector, rehearsed: Tensor, before: Sequence[Tensor]) -> Tensor:
    """How far the routing of (M, L, D) routing inputs is from what it was; scalar, Kullback-Leibler divergence in nats.

    `before` are the gate logits (M, E) of every block as they were.
    """
    losses, rest = [], detector.mixture.rest
    for router, read, former in zip(detector.mixture.routers, rehearsed.unbind(1), before, strict=True):
        shares = contenders(gate_logits(router, read), rest).log_softmax(-1)
        wanted = contenders(former, rest).log_softmax(-1)
        losses.append(F.kl_div(shares, wanted, log_target=True, reduction="batchmean"))
    return torch.stack(losses).mean()


def gate_logits(router: Router, read: Tensor) -> Tensor:
    """(M, D) standardised routing inputs of one block to gate logits (M, E)."""
    rows = router.rows.differentiable()
    # Contiguous: the gradient of a slice is a product of few columns, which is slow on a CPU.
    logits: Tensor = F.linear(read.to(rows), rows[:, :-1].contiguous(), rows[:, -1]) / router.width**0.5
    return logits


def balance_loss(detector: Detector, batch: Batch) -> Tensor:
    """Load-balancing loss, averaged over the blocks; scalar."""
    mask = frame_mask(batch.frames, batch.features)
    mixture = detector.mixture
    each = zip(mixture.routers, mixture.routings, strict=True)
    return torch.stack([load_balance(routing, mask, ~router.withdrawn) for router, routing in each]).mean()


def development_loss(
    detector: Detector,
    sets: Sequence[Features],
    utterances: int,
    shares: Sequence[float] | None = None,
) -> Callable[[], float]:
    """A function that measures the detector: the logistic loss of its calibrated scores on development sets, in nats.

    Bona fide speech has half of the weight. The spoofed speech of all domains has the other half, divided by `shares`,
    or equally: a large domain counts no more than a small one. Domains often share bona fide speech, so a source
    recording counts in the first set that has it: otherwise one hard recording would outweigh a whole domain. Of each
    class and set at most `utterances` are used, evenly spaced.

    Every call fits the calibration anew: what is asked is how well the classes are told apart. By one that stays, a
    readout that claims too much on new voices is best damped, and the loss falls though no more is told apart. Logits
    that cannot be calibrated are used as they are.
    """
    counts = [1.0] * len(sets) if shares is None else list(shares)
    parts: list[Features] = []
    seen: set[str] = set()
    for features in sets:
        chosen = _spread(features, features.of_class(True), utterances)
        parts.append(chosen.pick([at for at, source in enumerate(chosen.sources) if source not in seen]))
        seen |= set(chosen.sources)
    spoofed = [_spread(features, features.of_class(False), utterances) for features in sets]
    heard = concatenate([*parts, *spoofed])
    sizes = [sum(len(part) for part in parts), *(len(part) for part in spoofed)]
    # A domain without spoofed speech takes no weight, or the loss of the others would shrink.
    total = sum(count for count, part in zip(counts, spoofed, strict=True) if len(part))
    each = [1.0, *(count / max(total, 1e-9) for count in counts)]
    weights = np.concatenate(
        [np.full(size, own / max(1, size)) for own, size in zip(each, sizes, strict=True)]
    )

    def evaluate() -> float:
        logits = _calibrated(logits_of(detector, heard), heard.bona_fide, weights)
        losses = F.binary_cross_entropy_with_logits(logits, heard.bona_fide.float(), reduction="none")
        weighted = losses.double().numpy() * weights
        # The first part is all bona fide speech. Each class sums to its mean; a class that is missing is left out.
        classes = [part.sum() for part in np.split(weighted, sizes[:1]) if len(part)]
        return float(sum(classes) / len(classes))

    return evaluate


def _calibrated(logits: Tensor, bona_fide: Tensor, weights: NDArray[np.float64]) -> Tensor:
    values, real = logits.double().numpy(), bona_fide.numpy()
    try:
        found = Calibration.fit(values[real], values[~real], weights=(weights[real], weights[~real]))
    except DataError:
        return logits
    return torch.from_numpy(found.apply(values)).float()


def _spread(features: Features, members: list[int], most: int) -> Features:
    count = min(most, len(members))
    return features.pick([members[at * len(members) // count] for at in range(count)])


def _class_mean(loss: Tensor, positive: Tensor) -> Tensor:
    weights = torch.zeros_like(loss)
    for members in (positive, ~positive):
        weights = weights + members.to(loss.dtype) / members.sum().clamp(min=1)
    return (loss * weights).sum() / weights.sum()
