"""Statistics of router inputs, from which no speech can be rebuilt, and a loss that keeps routing away from them.

A *read* is the input of a router. Old experts, old router rows and the base are frozen. If the head is frozen as well,
an expert that receives no speech of an old domain cannot change the scores of that domain. It is then enough to know
where the inputs of old speech lie. Mean and a few principal directions, over some tens of utterances, describe that;
they contain no frame and no utterance.

Source: own; feature statistics in place of data as in class-incremental learning (e.g. Zhu et al., CVPR 2021).

Shapes: S statistics of one domain, P principal directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from molex_adapt.base import send
from molex_adapt.detector import Detector
from molex_adapt.features import Features, length_batches, pad_clips


@dataclass(frozen=True)
class ReadStatistics:
    """Distribution of the standardised reads of L routers for one class of one domain.

    Attributes:
        mean: (L, D).
        directions: (L, P, D) principal directions, each with the length of one standard deviation.
        rest: (L, D) standard deviation that the directions leave unexplained.
    """

    mean: Tensor
    directions: Tensor
    rest: Tensor

    @classmethod
    def of(cls, reads: Tensor, directions: int) -> ReadStatistics:
        """From (N, L, D) reads, N at least 2. Where N is too small for as many directions, the last ones are zero."""
        mean = reads.mean(0)
        deviations = (reads - mean).transpose(0, 1)  # (L, N, D)
        kept = min(directions, len(reads) - 1, reads.shape[-1])  # the mean takes one degree of freedom
        _, lengths, axes = torch.linalg.svd(deviations, full_matrices=False)
        scale = lengths[:, :kept, None] / (len(reads) - 1) ** 0.5
        chosen = F.pad(axes[:, :kept] * scale, (0, 0, 0, directions - kept))
        left = deviations.square().sum(1) / (len(reads) - 1) - chosen.square().sum(1)
        return cls(mean, chosen, left.clamp(min=0).sqrt())  # rounding can leave a small negative variance

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, L, D) reads drawn from the normal distribution with these statistics."""
        blocks, kept, width = self.directions.shape
        along = torch.randn(count, blocks, kept, generator=generator)
        aside = torch.randn(count, blocks, width, generator=generator)
        return self.mean + torch.einsum("nlp,lpd->nld", along, self.directions) + aside * self.rest


def reads_to_arrays(reads: Sequence[ReadStatistics]) -> dict[str, NDArray[np.float16]]:
    """S statistics of equal shape as `reads.mean` (S, L, D), `.directions` (S, L, P, D) and `.rest` (S, L, D)."""
    if not reads:
        return {}
    parts = ("mean", "directions", "rest")
    return {
        f"reads.{part}": torch.stack([getattr(item, part) for item in reads]).half().numpy() for part in parts
    }


def arrays_to_reads(arrays: Mapping[str, NDArray[Any]]) -> tuple[ReadStatistics, ...]:
    """The inverse of `reads_to_arrays`; empty where none were kept."""
    if "reads.mean" not in arrays:
        return ()
    tensors = (torch.from_numpy(arrays[f"reads.{part}"]).float() for part in ("mean", "directions", "rest"))
    return tuple(ReadStatistics(*item) for item in zip(*tensors, strict=True))


@torch.no_grad()
def reads_of(detector: Detector, features: Features) -> Tensor:
    """(N, L, D) mean input of every router over each utterance, standardised, on the CPU."""
    routers = detector.mixture.routers
    found = torch.zeros(len(features), len(routers), detector.base.width)
    for rows in length_batches([len(clip) for clip in features.clips], 1000):
        clips, frames = pad_clips([features.clips[row] for row in rows])
        with caught_reads(detector) as caught:
            detector.logit(send(clips, detector.device), frames)
        means = []
        for router, (x, mask) in zip(routers, caught, strict=True):
            weight = mask[..., None].to(x.dtype)
            mean = (x * weight).sum(1) / weight.sum(1)
            means.append((mean.float() - router.centre) / router.spread)
        found[rows] = torch.stack(means, dim=1).cpu()
    return found


@contextmanager
def caught_reads(detector: Detector) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Input (B, F, D) and mask (B, F) of every router, for the forward passes inside the `with` block."""
    caught: list[tuple[Tensor, Tensor]] = []
    handles = [
        router.register_forward_pre_hook(lambda _module, args: caught.append((args[0], args[1])))
        for router in detector.mixture.routers
    ]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def keep_out_loss(
    detector: Detector,
    expert: int,
    known: Sequence[ReadStatistics],
    generator: torch.Generator,
    each: int = 8,
) -> Tensor:
    """Hinge loss on the gate logit of an expert that should not be chosen for known speech; scalar.

    It is zero where the logit is at least 1 below the weakest chosen logit of the other experts, in every block.

    Args:
        detector: the loss is differentiated by the rows of its routers.
        expert: row of the expert.
        known: statistics of the speech that other experts serve.
        generator: of the samples.
        each: samples drawn from each statistics.
    """
    reads = send(torch.cat([item.sample(each, generator) for item in known]), detector.device)
    losses = []
    for block, router in enumerate(detector.mixture.routers):
        rows = router.rows.differentiable()
        logits = F.linear(reads[:, block], rows[:, :-1], rows[:, -1]) / router.width**0.5
        others = torch.cat([logits[:, :expert], logits[:, expert + 1 :]], dim=1)
        # Below the k-th largest of the others the expert is not among the top k.
        places = min(router.options.top_k, others.shape[1])
        weakest = others.topk(places, dim=1).values[:, -1]
        losses.append(F.relu(logits[:, expert] - weakest + 1.0).mean())
    return torch.stack(losses).mean()
