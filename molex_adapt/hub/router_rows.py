"""Router rows between mixtures: the same function of the routing input under another centre and spread.

A row scores a routing input u as (w · (u - centre) / spread + b) / √D. Another mixture standardises otherwise, which
can be undone exactly. What cannot be known is the level: a softmax does not change when all rows change alike, so a row
says something only beside the other rows it was trained with. Experts that both mixtures have settle that level;
without any, the mean of all rows stands in for it. Where the frozen base takes a share (a rest), its gate logit of 0 is
the level, in every mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from molex_adapt.registry.files import Arrays
from molex_adapt.registry.withdrawn import closed

Source = Literal["carried", "aligned", "heard", "centred", "mean"]
"""carried: to the bit, or to rounding, as where it came from. aligned: the same, but rows of shared experts have been
trained since. heard: made from what this mixture's routers read of its exemplars, or those of its own mixture of its
domain. centred: relative to the mean of the rows it came with. mean: the mean of the rows here."""

GATE = 4.0
"""Gate logit by which a made row stands above the mean of the others in the middle of its domain, and below it in the
middle of what this mixture knows."""

_CLOSE = 1e-3


@dataclass(frozen=True)
class Rows:
    """One row (D + 1,) per block, float32, where it comes from, and how many experts both mixtures `shared`."""

    values: list[NDArray[np.float32]]
    source: Source
    shared: int = 0


def re_express(
    rows: NDArray[Any], old: tuple[NDArray[Any], NDArray[Any]], new: tuple[NDArray[Any], NDArray[Any]]
) -> NDArray[Any]:
    """Rows (E, D + 1) that give the same logits from inputs standardised otherwise.

    `old` and `new` are the centre and spread (D,) that they were trained with, and those that they will be used with.
    """
    if all(np.array_equal(left, right) for left, right in zip(old, new, strict=True)):
        return rows
    (centre, spread), (centre_, spread_) = ([part.astype(np.float64) for part in pair] for pair in (old, new))
    weights, bias = rows[:, :-1].astype(np.float64) / spread, rows[:, -1].astype(np.float64)
    return np.concatenate([weights * spread_, (bias + weights @ (centre_ - centre))[:, None]], axis=1)


def brought_rows(
    own: Arrays, own_experts: Sequence[str], sent: Arrays, sent_experts: Sequence[str], rest: bool = False
) -> Rows:
    """Rows for a pulled expert from those it was trained with, which come first in the router that was `sent`.

    Experts go by the hashes of their adapters. `rest` says whether the frozen base takes a share in both mixtures.
    """
    pairs = [
        (own_experts.index(digest), at)
        for at, digest in enumerate(sent_experts)
        if at > 0 and digest in own_experts
    ]
    closed_here, closed_there = (closed(router["blocks.0.rows"]) for router in (own, sent))
    # One that is withdrawn has no level to settle, and one that was never trained is like any other.
    pairs = [(mine, theirs) for mine, theirs in pairs if not closed_here[mine] and not closed_there[theirs]]
    values, apart = [], 0.0
    for block in range(len(own) // 3):
        name = f"blocks.{block}"
        moved = re_express(sent[f"{name}.rows"], _standard(sent, name), _standard(own, name))
        here = own[f"{name}.rows"]
        if pairs:
            gaps = np.stack([here[mine].astype(np.float64) - moved[theirs] for mine, theirs in pairs])
            row = moved[0] + gaps.mean(0)
            scale = max(1.0, float(np.abs(here).max()))
            apart = max(apart, float(np.abs(gaps - gaps.mean(0)).max()) / scale)
        elif rest:
            row = moved[0]
        else:
            row = _middle(here) + moved[0] - _middle(moved)
        values.append(row.astype(np.float32))
    if rest and not pairs:
        return Rows(values, "carried")
    if pairs:
        return Rows(values, "carried" if apart < _CLOSE else "aligned", len(pairs))
    return Rows(values, "centred" if len(sent_experts) > 1 else "mean")


def made_rows(own: Arrays, means: NDArray[Any], variances: NDArray[Any], rest: bool = False) -> Rows | None:
    """Rows along the linear discriminant between a domain and what this mixture knows; None where there is none.

    `means` and `variances` (L, D) are of the domain's spoofed speech, in this mixture's standardised input, where what
    it knows lies around zero with variance 1. Along Σ⁻¹ μ, Σ the mean of both variances, the gate logit above the mean
    of the others, or with a `rest` above its own, rises from -GATE at zero to +GATE at the domain's mean.
    """
    values = []
    for block, (mean, variance) in enumerate(
        zip(means.astype(np.float64), variances.astype(np.float64), strict=True)
    ):
        along = mean / ((1 + variance) / 2)
        # Never steeper than this per standard deviation: a domain in the middle of all others stands apart from none.
        reach = max(float(along @ mean), float(np.linalg.norm(along)))
        if not reach > 0:
            return None
        rows = own[f"blocks.{block}.rows"]
        root = np.sqrt(len(mean))
        step = np.append(2 * GATE * root * along / reach, -GATE * root)
        level = np.zeros(rows.shape[1]) if rest else _middle(rows)
        values.append((level + step).astype(np.float32))
    return Rows(values, "heard")


def mean_rows(own: Arrays) -> Rows:
    """The mean of the rows here: the expert takes part as the average one does."""
    blocks = range(len(own) // 3)
    return Rows([_middle(own[f"blocks.{block}.rows"]).astype(np.float32) for block in blocks], "mean")


def is_withdrawn(sent: Arrays) -> bool:
    """Whether the expert whose rows come first in a router is withdrawn there."""
    return bool(closed(sent["blocks.0.rows"])[0])


def _middle(rows: NDArray[Any]) -> NDArray[np.float64]:
    """The mean of the rows (E, D + 1) of experts that act; zero without, as beside a published detector's first one."""
    acting = rows[~closed(rows)]
    return acting.mean(0, dtype=np.float64) if len(acting) else np.zeros(rows.shape[1])


def _standard(router: Arrays, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    return router[f"{name}.centre"], router[f"{name}.spread"]
