"""What the shipped detector shows: in the demonstration, and where it is wrong."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.report.found import Found
from benchmarks.report.tables import table

Figures = dict[str, Any]

NULL = "null"
"""The control among the demonstration's domains."""
VOICES = {"known": "known voices", "heard": "heard voices", "unheard": "one unheard voice (June)"}
"""Groups of recordings, as pages call them."""


def demo(found: Found) -> list[str]:
    """Every domain before and after, a column a voice and seed."""
    lines = []
    for cell, figures in found.by_method.get("seed", {}).items():
        minutes, seconds = divmod(round(figures["seconds"]), 60)
        lines.append(f"Seed {cell.arguments[0]}, {minutes} min {seconds} s. EER before → after:\n")
        voices = figures["eer"]
        domains = dict.fromkeys(domain for own in voices.values() for domain in own)
        rows = [[domain, *(_arrow(own.get(domain)) for own in voices.values())] for domain in domains]
        lines += table(["domain", *map(VOICES.__getitem__, voices)], rows)
    return lines


def limits(found: Found) -> list[str]:
    """Share of real recordings that are called forged."""
    rows = []
    for voices, runs in found.by_method.items():
        for figures in runs.values():
            what = f"{figures['recordings']} real recordings as they are, {VOICES[voices]}: called forged, %"
            rows.append([what, f"{100 * figures['called_spoof']:.1f}"])
    return table(["", ""], rows)


_QUESTIONS = {
    "spectrum_r2": "variance of the log-mel spectra that is rebuilt, %",
    "within_r2": "the same within each recording, about its own mean, %",
    "member_auroc": "was this recording heard? AUROC among others of its voices, %",
    "voice_auroc": "was this voice heard? AUROC among other voices, %",
}


def inversion(found: Found) -> list[str]:
    """What an attacker gets from what is kept, a column for each kind of it."""
    runs = {method: next(iter(cells.values())) for method, cells in found.by_method.items()}
    about = (
        "From bona fide recordings, by ridge regression on the attacker's own recordings of other voices, and by "
        "likeness to what is kept. For AUROC 50 is chance; 0 of a variance is nothing, below it worse than that.\n"
    )
    rows = [
        [text, *(f"{100 * figures[key]:.0f}" for figures in runs.values())]
        for key, text in _QUESTIONS.items()
    ]
    return [
        about,
        *table(
            ["", *(f"{name}, {figures['recordings']} recordings" for name, figures in runs.items())], rows
        ),
    ]


def old_changes(figures: Figures, voices: str) -> tuple[float, float]:
    """Mean and largest change of the old domains' EER in the demonstration, as fractions."""
    eer = figures["eer"][voices]
    changes = [
        after - before for name, (before, after) in eer.items() if name not in (figures["novel"], NULL)
    ]
    return mean(changes), max(changes)


def _arrow(pair: list[float] | None) -> str:
    return "–" if pair is None else f"{100 * pair[0]:.1f} → {100 * pair[1]:.1f}"
