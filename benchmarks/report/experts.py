"""What experts do for their own attacks at the end of a sequence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import mean
from typing import Any

from benchmarks.report.tables import table

Figures = dict[str, Any]


def experts(runs: Iterable[Figures], attacks: Iterable[str]) -> list[str]:
    """A table by attack, of all runs that say something of experts; nothing where none does."""
    known = [run["experts"] for run in runs if run.get("experts")]
    rows = []
    for attack in attacks:
        own = [found[attack] for found in known if found[attack] is not None]
        row = [attack, f"{len(own)} of {len(known)}", *["–"] * 4]
        if own:
            row[2:5] = [
                f"{mean(100 * each[key] for each in own):{form}}"
                for key, form in (("own", ".1f"), ("bona_fide", ".1f"), ("without", "+.1f"))
            ]
            row[5] = f"{sum(map(is_needed, own))} of {len(own)}"
        rows.append(row)
    about = (
        "After the last step: in how many orders the expert of an attack is at work (it is withdrawn where its "
        "training brought nothing certain), its share of the gates on its own attack and on bona fide speech, per "
        "cent, and by how many points its attack's EER rises without it, when its gates go to the others. It is "
        "needed where the paired interval of that lies above 0.\n"
    )
    header = ["attack", "at work", "share, its attack", "bona fide", "without it, points", "needed"]
    return ["### Experts of ours\n", about, *table(header, rows)] if known else []


def at_work(runs: Iterable[Figures]) -> list[Figures]:
    """The figures of all experts that are at work at the end of a run, of the runs that say it."""
    return [each for run in runs for each in run.get("experts", {}).values() if each is not None]


def is_needed(expert: Mapping[str, Any]) -> bool:
    """Whether its attack's EER certainly rises without it."""
    return bool(expert["ci"][0] > 0)
