"""What each expert does for its own attack, once all were added.

Shapes: N utterances, E experts.
"""

from __future__ import annotations

from typing import Any

from benchmarks.sequence.domains import Measured
from benchmarks.sequence.settings import TIES
from molex_adapt.detector import Detector
from molex_adapt.features import logits_of
from molex_adapt.metrics import paired_change
from molex_adapt.routing import collect

Figures = dict[str, Any]


def experts_of(detector: Detector, measured: Measured) -> dict[str, Figures | None]:
    """By expert, which is called as its attack: its figures where it is at work, None where it is withdrawn.

    These are its share of the gates, averaged over the blocks, on its `own` attack and on `bona_fide` speech, and by
    how much the EER of its attack rises `without` it, when its gates go to the other experts; `ci` is the paired
    interval of that. All are fractions.
    """
    found = collect(detector, measured.features)
    shares, scores = found.gates.mean(1), found.logits.double().numpy()  # (N, E) and (N,)
    figures: dict[str, Figures | None] = {}
    for at, name in enumerate(detector.mixture.names):
        if detector.mixture.has_withdrawn(name):
            figures[name] = None
            continue
        rows = measured.sets[name]
        own = measured.pick(rows)
        real, share = own.bona_fide, shares[rows, at].numpy()
        with detector.mixture.without(name):
            alone = logits_of(detector, own.features).double().numpy()
        change, interval = paired_change(
            scores[rows][real],
            scores[rows][~real],
            alone[real],
            alone[~real],
            groups=measured.sources(name),
            ties=TIES,
        )
        figures[name] = {
            "own": float(share[~real].mean()),
            "bona_fide": float(share[real].mean()),
            "without": change,
            "ci": list(interval),
        }
    return figures
