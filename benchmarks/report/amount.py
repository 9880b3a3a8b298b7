"""How many recordings an expert needs, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report.found import Found
from benchmarks.report.tables import spread, table
from benchmarks.results import Figures


def amount(found: Found) -> list[str]:
    """What an expert adds to the readout alone, by the recordings that it learnt from."""
    runs = [figures for cells in found.by_method.values() for figures in cells.values()]
    real, forged = (spread((figures["test"][at] for figures in runs), "{:.0f}") for at in (0, 1))
    about = (
        "Attacks that the shipped detector has not met, added by `add-expert` to a copy of it; EER on "
        f"{forged} forged and {real} real recordings of test voices, and of these the real ones refused at its "
        "threshold, each before → by the readout alone → with the trained expert, whether it stands or not. It stands "
        "where what it gains on the development voices is certain. The new generation is refused where more real "
        "speech is, of all voices or of one. Intervals (95 %) are over recordings.\n"
    )
    rows = [
        [
            f"{attack}, {figures['train']} and as many real ones",
            _stages(figures["eer"]),
            _change(figures),
            _stages(figures["refused"]),
            str(figures["steps"]),
            "withdrawn" if figures["withdrawn"] else "at work",
            _verdict(figures["refused_for"]),
        ]
        for attack, cells in found.by_method.items()
        for figures in cells.values()
    ]
    header = [
        "learnt from",
        "its EER, %",
        "of it the expert",
        "refused, %",
        "steps",
        "the expert",
        "the new generation",
    ]
    return [about, *table(header, rows)]


def _stages(rates: dict[str, float]) -> str:
    return " → ".join(f"{100 * rates[stage]:.1f}" for stage in ("before", "readout", "expert"))


def _verdict(reasons: Sequence[str]) -> str:
    """Accepted or refused; of each reason what it is about, such as a voice."""
    about = ", ".join(reason.partition(":")[0] for reason in reasons)
    return f"refused for {about}" if about else "accepted"


def _change(figures: Figures) -> str:
    change, low, high = (100 * value for value in figures["change"])
    return f"{change:+.1f} [{low:+.1f}, {high:+.1f}]"
