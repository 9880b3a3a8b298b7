"""What was recognised in a data set, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from molex_adapt.cli.tables import MOST_LISTED, empty_table, one_line, pairs, plain_table
from molex_adapt.conventions import BONA_FIDE, SPOOF
from molex_adapt.text import visible

if TYPE_CHECKING:
    from molex_adapt.data.check import DataCheck
    from molex_adapt.data.corpora import Fault, PublishedCorpus

_MOST_NAMES = 40


def check_view(found: DataCheck) -> list[RenderableType]:
    """What it is, how much of what it holds, what is wrong, and whether anything is."""
    told = found.as_dict()
    head: dict[str, RenderableType] = {"recognised": found.recognised}
    head |= {name: told[name] for name in ("home", "licence", "citation", "note") if told[name]}
    head["read"] = _few(found.files) or found.data
    head["recordings"] = f"{len(found.table):,} ({told['bonafide']:,} bona fide, {told['spoof']:,} spoof)"
    head["speakers"] = f"{told['speakers']:,}" if told["speakers"] else "not known"
    view: list[RenderableType] = [pairs(f"Data {visible(found.data)}", head)]
    view += _by_class("Parts", "part", found.parts or {})
    view += _by_class("Splits", "split", told["splits"])
    attacks = {name: (count,) for name, count in told["attacks"].items()}
    view += _counted("Attacks", ("attack", "recordings"), attacks)
    view += _by_class("Conditions", "condition", told["conditions"])
    view += _faults("Faults", found.faults, len(found.faults))
    view += _faults("Recordings that are not there", found.missing_named, found.missing)
    if found.ok:
        return [*view, Text("Nothing is wrong with it", style="bold green")]
    wrong = f"{len(found.faults):,} faults, {found.missing:,} recordings that are not there"
    return [*view, Text(f"Wrong: {wrong}", style="bold red")]


def corpora_view(corpora: Sequence[PublishedCorpus]) -> list[RenderableType]:
    """A block for each corpus."""
    return [
        pairs(item.name, {"home": item.home, "licence": item.licence, "citation": item.citation})
        for item in corpora
    ]


def _by_class(title: str, name: str, counts: Mapping[str, Mapping[str, int]]) -> list[RenderableType]:
    rows = {key: (of_class[BONA_FIDE], of_class[SPOOF]) for key, of_class in counts.items()}
    return _counted(title, (name, "bona fide", "spoof"), rows)


def _counted(title: str, columns: Sequence[str], counts: Mapping[str, Sequence[int]]) -> list[RenderableType]:
    if not counts:
        return []
    table = empty_table(title, *columns, whole=True)
    for key in [*counts][:_MOST_NAMES]:
        table.add_row(visible(key), *(f"{count:,}" for count in counts[key]))
    if len(counts) > _MOST_NAMES:
        table.add_row(f"... and {len(counts) - _MOST_NAMES} more: see --json")
    return [table]


def _faults(title: str, faults: Sequence[Fault], count: int) -> list[RenderableType]:
    if not count:
        return []
    rows = [(one_line(visible(item.place)), item.text) for item in faults[:MOST_LISTED]]
    if count > MOST_LISTED:
        rows.append((f"... and {count - MOST_LISTED:,} more", f"--json names {len(faults):,}"))
    return [plain_table(f"{title}: {count:,}", ("where", "what"), rows)]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(visible, names[:3])) + more
