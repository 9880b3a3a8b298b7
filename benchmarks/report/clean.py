"""A first training from clean recordings, with drawn conditions beside them and without: means, then attacks."""

from __future__ import annotations

from statistics import mean

from benchmarks.report.found import Found
from benchmarks.report.means import NAMES, level, percent, points
from benchmarks.report.tables import table
from benchmarks.results import Figures
from molex_adapt.conventions import NO_CONDITION

SPLITS = {"dev": "development voices", "test": "test voices"}
"""Of the figures, in words."""
ALONE = "+clean"
"""Of a method that hears recordings as they are alone."""


def clean(found: Found) -> list[str]:
    """A row for each base, kind of voices and condition; bases that were measured one way alone are left out."""
    cells = {method: next(iter(each.values())) for method, each in found.by_method.items()}
    pairs = {base: (cells[base + ALONE], cells[base]) for base in cells if base + ALONE in cells}
    heard = next(iter(cells.values()))["heard"]
    about = (
        f"From {heard['bonafide']} real recordings and {heard['spoof']} copies of them, none under any condition, as a "
        "user has them who begins with a folder. Each figure is of recordings as they are alone → of each under one "
        "drawn chain of conditions beside it (`joint.draws`). EER in per cent, its change in points with intervals (95 "
        "%) over recordings, which are too narrow for other voices. `refused` is real speech, and `accepted` what is "
        "forged, at the threshold that training chose on voices of its own. The conditions that are measured are other "
        "ones than those that are drawn in training.\n"
    )
    return [about, *_means(pairs), *_attacks(pairs)]


def _means(pairs: dict[str, tuple[Figures, Figures]]) -> list[str]:
    rows = []
    for base, both in pairs.items():
        for split, voices in SPLITS.items():
            for condition, where in NAMES.items():
                groups = [each[split]["attacks"][condition] for each in both]
                refused = (percent(each[split]["real"][condition]["refused"]) for each in both)
                accepted = (percent(_accepted(each)) for each in groups)
                rows.append(
                    [
                        f"{base}, {voices}, {where}",
                        " → ".join(map(level, groups)),
                        points(groups[1], groups[0]),
                        " → ".join(refused),
                        " → ".join(accepted),
                    ]
                )
    return table(["base and recordings", "mean EER", "change", "refused", "accepted"], rows)


def _accepted(group: Figures) -> float:
    rates: list[float] = [rate["accepted"] for rate in group["attacks"].values()]
    return mean(rates)


def _attacks(pairs: dict[str, tuple[Figures, Figures]]) -> list[str]:
    names = next(iter(pairs.values()))[0]["test"]["attacks"][NO_CONDITION]["attacks"] if pairs else {}
    rows = [
        [
            name,
            *(
                " → ".join(
                    percent(each["test"]["attacks"][condition]["attacks"][name]["eer"]) for each in both
                )
                for both in pairs.values()
                for condition in NAMES
            ),
        ]
        for name in names
    ]
    header = [f"{base}, {where}" for base in pairs for where in NAMES.values()]
    return ["### Attacks, on test voices\n", *table(["attack", *header], rows)]
