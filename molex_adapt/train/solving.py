"""The router rows of all experts together, in closed form, from what routers read of every domain.

Each expert's gate opens for its own attack, as the others' do for theirs, and bona fide speech is routed as it is, on
average. Means and covariances are all that this needs: no recording of an old domain.

Shapes: D the width of a router's input, E experts.

Source: own; linear regression on the targets of all classes from second moments, class sizes made equal (Hastie,
Tibshirani and Friedman, The Elements of Statistical Learning, 4.2). A router in closed form from statistics of all
tasks is the idea of Any-SSR (arXiv 2503.13575), there by recursive least squares on features of the frozen model.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from molex_adapt.conventions import Seconds
from molex_adapt.detector import Detector
from molex_adapt.mixture.routers import Router, contenders
from molex_adapt.rehearsal import Gaussian, Remembered
from molex_adapt.train.loop import Fitted, Stage, developed
from molex_adapt.train.old import OldDomain, row_of
from molex_adapt.train.opening import OWN
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.remembering import remember, require_fit, standardisation

RIDGE = 0.03
"""What it is hardly matters: on development voices, 0.003 to 0.1 are within 0.1 point (tools/wideband/README.md)."""


@dataclass(frozen=True)
class DomainReads:
    """What these routers read of a domain; None for a class of which nothing is kept.

    Attributes:
        row: of its expert; None where several share the domain, or it was withdrawn.
        bona_fide, spoof: standardised as the routers do.
    """

    row: int | None
    bona_fide: Gaussian | None
    spoof: Gaussian | None

    @classmethod
    def of(cls, detector: Detector, row: int | None, kept: Remembered) -> DomainReads:
        """As these routers read it, whoever learnt it."""
        here = kept.read_by(*standardisation(detector))
        return cls(row, here.bona_fide, here.spoof)


def known_reads(
    detector: Detector, old: Mapping[str, OldDomain], data: Mapping[str, DomainData], seconds: Seconds
) -> list[DomainReads]:
    """Of old domains, from `data` where there are recordings of them, else from their statistics or exemplars.

    The first so many seconds of each recording are heard. Domains that nothing is kept of are left out.

    Raises:
        ExpertError: an expert's statistics are of another base.
    """
    require_fit(detector, old)
    found = []
    for domain, item in old.items():
        kept = item.remembered
        if domain in data:
            kept = remember(detector, data[domain].train, seconds)
        elif kept is None and item.exemplars is not None:
            kept = remember(detector, item.exemplars.replay, seconds)
        if kept is not None:
            found.append(DomainReads.of(detector, row_of(detector, item), kept))
    return found


def solve_if_better(detector: Detector, domains: Sequence[DomainReads], stage: Stage) -> Fitted | None:
    """Solve the rows where that lowers the stage's development loss; else they are as before, and it is None."""
    started, before = time.monotonic(), developed(stage)
    routers = detector.mixture.routers
    former = [router.rows.table.clone() for router in routers]
    if solve_rows(detector, domains) and (found := developed(stage)) < before:
        return Fitted(0, 0, before, found, time.monotonic() - started)
    for router, rows in zip(routers, former, strict=True):
        router.take_back(rows)
    return None


@torch.no_grad()
def solve_rows(detector: Detector, domains: Sequence[DomainReads]) -> bool:
    """Set the rows of all experts whose attacks are known, by ridge regression; whether there was anything to solve.

    The target is a share of odds e^`OWN` for an expert on its own attack, and on bona fide speech and other attacks the
    logit that it has on bona fide speech now, on average. Bona fide speech has half of the weight, all domains alike.
    """
    real = [each.bona_fide for each in domains if each.bona_fide is not None]
    forged = [(each.row, each.spoof) for each in domains if each.row is not None and each.spoof is not None]
    if not real or not forged or not detector.mixture.has_choice:
        return False
    for block, router in enumerate(detector.mixture.routers):
        _solve(
            router,
            [_moments(each, block) for each in real],
            [(row, _moments(each, block)) for row, each in forged],
        )
    return True


def _solve(
    router: Router, real: Sequence[tuple[Tensor, Tensor]], forged: Sequence[tuple[int, tuple[Tensor, Tensor]]]
) -> None:
    """One router, from second moments (D + 1, D + 1) and means (D + 1,) of bona fide speech and of experts' attacks."""
    table = router.rows.table.double().cpu()
    level = (_mean(mean for _, mean in real) @ table.T) / router.width**0.5
    silent = router.withdrawn.cpu()
    gram = (_mean(moment for moment, _ in real) + _mean(moment for _, (moment, _) in forged)) / 2
    product = torch.outer(_mean(mean for _, mean in real), level) / 2
    for row, (_, mean) in forged:
        rivals = level.masked_fill(silent, -torch.inf)
        rivals[row] = -torch.inf
        target = level.clone()
        # An expert that acts on bona fide speech as well has no less of its own attack.
        target[row] = torch.maximum(level[row], contenders(rivals, router.rest).logsumexp(0) + OWN)
        product += torch.outer(mean, target) / (2 * len(forged))
    penalty = torch.full((len(gram),), RIDGE, dtype=gram.dtype)
    penalty[-1] = 1e-9  # the constant is not held back
    factor = torch.linalg.cholesky(gram + penalty.diag())
    solution = torch.cholesky_solve(product, factor).T * router.width**0.5  # logits are divided by that root
    for row in {row for row, _ in forged}:
        router.rows.table[row] = solution[row].to(router.rows.table)


def _moments(kept: Gaussian, block: int) -> tuple[Tensor, Tensor]:
    """Second moment (D + 1, D + 1) and mean (D + 1,) of one block's inputs with a constant 1 beside them."""
    mean = torch.cat([kept.mean[block].double(), torch.ones(1, dtype=torch.float64)])
    directions = kept.directions[block].double()
    moment = torch.outer(mean, mean)
    moment[:-1, :-1] += directions.T @ directions + kept.rest[block].double().diag()
    return moment, mean


def _mean(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(0)
