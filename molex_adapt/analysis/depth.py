"""What each block does, which experts are idle, and how attacks join into families."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from molex_adapt.analysis.profiles import bits, js_distance
from molex_adapt.findings import Clustering, Depth, Distance, Health
from molex_adapt.reports import Analysis

_DEAD = 0.01
_COLLAPSED = 0.95


def depth_profile(
    report: Analysis, before_bits: dict[str, list[float]], attacks: Sequence[str]
) -> list[Depth]:
    """Of every block: information about the attack, distance between attacks, entropy, busiest expert.

    Args:
        report: shares by block.
        before_bits: by attack, L entropies before top-k.
        attacks: the rows that count; each has the same weight.
    """
    gates = np.array([report.usage_by_block[name] for name in attacks])
    found = []
    for block in range(report.blocks):
        rows = gates[:, block]
        middle = rows.mean(0)
        information = float(bits(middle)) - float(bits(rows).mean())
        apart = [float(js_distance(one[None], other[None])) for one, other in combinations(rows, 2)]
        most = int(middle.argmax())
        share = float(middle[most])
        found.append(
            Depth(
                block + 1,
                max(0.0, information) if apart else None,
                float(np.mean(apart)) if apart else None,
                float(np.mean([before_bits[name][block] for name in attacks])),
                report.experts[most] if share > 0 else None,
                share,
            )
        )
    return found


def health(
    chosen: NDArray[np.float64], first: NDArray[np.float64], experts: Sequence[str], unneeded: list[str]
) -> Health:
    """Idle experts and blocks, from (attacks, L, E) how often an expert is chosen, and has the largest gate."""
    dead = [name for at, name in enumerate(experts) if float(chosen[:, :, at].max(initial=0)) < _DEAD]
    settled = first.min(0).max(-1) >= _COLLAPSED
    compared = len(experts) > 1 and len(first) > 1  # one kind of speech may have an expert of its own
    blocks = [int(at) + 1 for at in np.flatnonzero(settled)] if compared else []
    return Health(dead, [name for name in unneeded if name not in dead], blocks)


def cluster(names: Sequence[str], found: Sequence[Distance]) -> Clustering | None:
    """Join kinds of speech by average linkage; None for fewer than two.

    Source: scipy.cluster.hierarchy, with leaves in the order of Bar-Joseph et al. 2001.
    """
    if len(names) < 2:
        return None
    from scipy.cluster.hierarchy import leaves_list, linkage

    apart = {frozenset((item.one, item.other)): item.distance for item in found}
    condensed = [apart[frozenset(pair)] for pair in combinations(names, 2)]
    joined = linkage(condensed, method="average", optimal_ordering=True)
    merges = [(int(one), int(other), float(far), int(count)) for one, other, far, count in joined.tolist()]
    return Clustering(list(names), merges, [names[int(at)] for at in leaves_list(joined)])
