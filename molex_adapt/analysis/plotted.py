"""The numbers of the figures on one attack, and of the tree, as the records that charts are drawn from."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

from molex_adapt.conventions import BONA_FIDE
from molex_adapt.findings import Clustering
from molex_adapt.plots.drawing import outlined
from molex_adapt.reports import Analysis

Records: TypeAlias = list[dict[str, str | float]]

LEAST = 1e-3
"""Error rates on a curve's axes; 0 and 1 have no normal deviate."""


def block_rows(report: Analysis, name: str) -> Records:
    """Mean gates of one kind of speech by block and expert."""
    return [
        {"speech": name, "block": block + 1, "expert": expert, "gate": round(gate, 3)}
        for block, gates in enumerate(report.usage_by_block.get(name, ()))
        for expert, gate in zip(report.experts, gates, strict=True)
    ]


def ablation_rows(report: Analysis, name: str) -> Records:
    """Change of the EER in points with its interval, by expert and by who takes its gates."""
    found: Records = []
    for item in report.findings.ablation:
        if item.attack == name and item.eer_change is not None and item.eer_ci is not None:
            points, low, high = (round(100 * rate, 2) for rate in (item.eer_change, *item.eer_ci))
            heirs = "others take over" if item.heirs == "others" else "nobody takes over"
            row: dict[str, str | float] = {"speech": name, "expert": item.expert, "heirs": heirs}
            star = "*" if item.is_needed or item.is_harmful else ""
            found.append(row | {"points": points, "low": low, "high": high, "star": star})
    return found


def score_rows(report: Analysis, name: str) -> Records:
    """Density of its scores, and of those of bona fide speech, by bin."""
    curves = report.findings.curves
    if curves is None or name == BONA_FIDE or name not in curves.counts:
        return []
    found: Records = []
    for kind, label in ((name, "this attack"), (BONA_FIDE, "bona fide")):
        counts = curves.counts.get(kind)
        if counts is None:
            continue
        total = sum(counts) or 1
        widths = [high - low for low, high in pairwise(curves.edges)]
        shares = [count / total / width for count, width in zip(counts, widths, strict=True)]
        for score, share in outlined(curves.edges, shares):
            found.append(
                {"speech": name, "kind": label, "score": round(score, 3), "density": round(share, 4)}
            )
    return found


def det_rows(report: Analysis, name: str) -> Records:
    """Its error curve, as normal deviates."""
    from scipy.special import ndtri

    curves = report.findings.curves
    found: Records = []
    for at, (false_alarm, miss) in enumerate(curves.det.get(name, ()) if curves else ()):
        x, y = (float(ndtri(min(max(rate, LEAST), 1 - LEAST))) for rate in (false_alarm, miss))
        found.append({"speech": name, "at": at, "x": round(x, 3), "y": round(y, 3)})
    return found


def tree_rows(clustering: Clustering) -> tuple[Records, Records]:
    """Three lines for every join of a dendrogram, and the names at its leaves."""
    place = {name: float(at) for at, name in enumerate(clustering.order)}
    nodes = [(0.0, place[name]) for name in clustering.names]
    lines: Records = []
    for join, (one, other, far, _) in enumerate(clustering.merges):
        (x1, y1), (x2, y2) = nodes[one], nodes[other]
        corners = ((x1, y1), (far, y1), (far, y2), (x2, y2))
        lines += [{"join": join, "at": at, "x": round(x, 4), "y": y} for at, (x, y) in enumerate(corners)]
        nodes.append((far, (y1 + y2) / 2))
    return lines, [{"speech": name, "y": y} for name, y in place.items()]
