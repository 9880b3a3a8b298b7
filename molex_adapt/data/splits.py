"""Division into train, dev and test. No source recording is in two splits, and where possible no speaker."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Literal

from molex_adapt.conventions import SPLITS, Label, Split
from molex_adapt.data.table import Table, Utterance
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError
from molex_adapt.text import short

By = Literal["auto", "speaker", "source"]

FEWEST_SPEAKERS = 12
"""With at least so many speakers, "auto" separates speakers. With fewer, hashing would miss the fractions by far."""


@dataclass
class _Unit:
    """Utterances that must stay together."""

    name: str
    place: float  # where the seeded hash puts it in [0, 1)
    labels: set[Label] = field(default_factory=set)
    split: Split | None = None
    fixed: bool = False


def assign_splits(
    table: Table, *, seed: int = 0, fractions: tuple[float, float, float] = (0.6, 0.15, 0.25), by: By = "auto"
) -> Table:
    """Give every utterance a split.

    A seeded hash of the source (or speaker) decides. So one recording is in the same split in every table and
    domain that is divided by the same, and stays there when others are added. Splits that the data states are kept,
    and utterances of the same source follow them. In a small table a split may lack a class: whole sources are then
    moved, the same ones each time, until every class of the table is in every split.

    Args:
        table: any; one of a single class is split likewise.
        seed: another seed, another division; all commands take the default, so that their test sets are the same.
        fractions: of train, dev and test; they sum to 1 and are met as nearly as hashing does.
        by: "source", "speaker" (all sources of a speaker stay together), or "auto": by speaker where all are
            known and there are at least twelve, else by source. So when a twelfth is added, recordings change their
            split: state splits where a table is to grow.

    Returns:
        The same utterances in the same order, each with its split.

    Raises:
        DataError: stated splits that divide a source (or speaker), speakers missing for by="speaker", wrong
            fractions, or fewer recordings of a class than splits.

    Source: own.
    """
    _check_fractions(fractions)
    key = _choose_key(table, by)
    units = _units(table, key, seed)
    if any(item.split is None for item in table):
        for unit in units.values():
            unit.split = unit.split or _hashed(unit.place, fractions)
        wanted = [split for split, fraction in zip(SPLITS, fractions, strict=True) if fraction > 0]
        _fill_gaps(table, list({id(unit): unit for unit in units.values()}.values()), wanted)
    return table.with_utterances(replace(item, split=units[key(item)].split) for item in table)


def describe_split(table: Table) -> str:
    """One line on the sizes of the splits and on what they separate, e.g. for a report's remarks."""
    sizes = [(split, sum(item.split == split for item in table)) for split in SPLITS]
    if not any(size for _, size in sizes):
        return "no splits assigned"
    shown = ", ".join(f"{split} {size}" for split, size in sizes if size)
    sources, shared_sources = _shared(table, lambda item: item.source)
    speakers, shared_speakers = _shared(table, lambda item: item.speaker)
    if shared_sources:
        return f"{shown}; NOT disjoint: {shared_sources} of {sources} recordings are shared between splits"
    if not speakers:
        return f"{shown}; disjoint by recording; speakers are not known"
    unknown = sum(item.speaker is None for item in table)
    rest = f"; {unknown} utterances have no known speaker" if unknown else ""
    if shared_speakers:
        shared = f"{shared_speakers} of {speakers} speakers are shared between splits"
        return f"{shown}; disjoint by recording; {shared}{rest}"
    return f"{shown}; disjoint by recording and by speaker ({speakers} speakers){rest}"


def _check_fractions(fractions: tuple[float, float, float]) -> None:
    fine = len(fractions) == len(SPLITS) and all(math.isfinite(part) and part >= 0 for part in fractions)
    if not fine or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(
            f"The fractions of train, dev and test are {fractions}. Expected three numbers of 0 or more that sum to 1, "
            "e.g. 0.6, 0.15, 0.25. Correct them."
        )


def _choose_key(table: Table, by: By) -> Callable[[Utterance], str]:
    if by == "source":
        return attrgetter("source")
    unknown = [item for item in table if item.speaker is None]
    if by == "speaker" and unknown:
        raise DataError(
            f"{table.root}: {len(unknown)} of {len(table)} utterances have no speaker, e.g. "
            f"{short(str(unknown[0].path), 300)}. Splitting by "
            "speaker needs all of them. Add the speaker column, or split by source."
        )
    if by == "auto" and (unknown or len({item.speaker for item in table}) < FEWEST_SPEAKERS):
        return attrgetter("source")
    groups = _joined_groups(table)
    if by == "auto" and not _separable(table, groups):
        return attrgetter("source")
    return lambda item: groups[item.source]


def _joined_groups(table: Table) -> dict[str, str]:
    """The group of each source. Sources with a common speaker, and speakers with a common source, form one group."""
    # Union-find over sources and speakers; a group gets the name of its first speaker in alphabetical order.
    above: dict[tuple[str, str | None], tuple[str, str | None]] = {}

    def top(node: tuple[str, str | None]) -> tuple[str, str | None]:
        while above.setdefault(node, node) != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    for item in table:
        above[top(("source", item.source))] = top(("speaker", item.speaker))
    names: dict[tuple[str, str | None], str] = {}
    for item in table:
        node, speaker = top(("source", item.source)), str(item.speaker)
        names[node] = min(names.get(node, speaker), speaker)
    return {item.source: names[top(("source", item.source))] for item in table}


def _separable(table: Table, groups: dict[str, str]) -> bool:
    """Whether speakers can be separated: enough groups, also of each class, and no stated split divides one."""
    stated: dict[str, set[Split]] = defaultdict(set)
    of_class: dict[Label, set[str]] = defaultdict(set)
    for item in table:
        group = groups[item.source]
        of_class[item.label].add(group)
        if item.split is not None:
            stated[group].add(item.split)
    if len(set(groups.values())) < FEWEST_SPEAKERS or any(len(found) > 1 for found in stated.values()):
        return False
    return all(len(found) >= len(SPLITS) for found in of_class.values())


def _units(table: Table, key: Callable[[Utterance], str], seed: int) -> dict[str, _Unit]:
    units: dict[str, _Unit] = {}
    first: dict[str, Utterance] = {}
    for item in table:
        name = key(item)
        if not name:
            raise DataError(
                f"{short(str(item.path), 300)} has no source. Splits need one for each recording. Read the table again."
            )
        unit = units.setdefault(name, _Unit(name, _place(seed, name)))
        unit.labels.add(item.label)
        if item.split is None:
            continue
        if unit.split not in (None, item.split):
            raise DataError(_divided(first[name], item))
        unit.split, unit.fixed = item.split, True
        first.setdefault(name, item)
    return units


def _divided(one: Utterance, other: Utterance) -> str:
    if one.source == other.source:
        what = f"source '{short(one.source)}' is"
    elif one.speaker == other.speaker:
        what = f"speaker '{short(one.speaker or '')}' is"
    else:
        names = f"'{short(one.speaker or '')}' and '{short(other.speaker or '')}'"
        what = f"speakers {names}, who share a source recording, are"
    return (
        f"The {what} in two splits: {short(str(one.path), 300)} in {one.split}, {short(str(other.path), 300)} in "
        f"{other.split}. What a detector is tested on must not have been trained on. Put both into one split, or, if "
        "they are different recordings, give them different names in the source column."
    )


def _place(seed: int, name: str) -> float:
    return int(sha256(f"{seed}\0{name}")[:16], 16) / 2**64


def _hashed(place: float, fractions: tuple[float, float, float]) -> Split:
    edge = 0.0
    for split, fraction in zip(SPLITS, fractions, strict=True):
        edge += fraction
        if place < edge:
            return split
    # The fractions sum to 1 up to rounding only, and a place just below 1 may lie beyond the last edge.
    return [split for split, fraction in zip(SPLITS, fractions, strict=True) if fraction > 0][-1]


def _fill_gaps(table: Table, units: list[_Unit], wanted: list[Split]) -> None:
    """Move whole units until each class of the table is in each wanted split."""
    held = Counter((unit.split, label) for unit in units for label in unit.labels)
    for label in sorted({label for unit in units for label in unit.labels}):
        having = [unit for unit in units if label in unit.labels]
        for split in wanted:
            if held[split, label]:
                continue
            unit = _spare(having, held)
            if unit is None:
                raise DataError(
                    f"{table.root} has {len(having)} {label} recording{'s' * (len(having) != 1)} to divide into "
                    f"{', '.join(wanted)}, and none for {split}. Expected at least {len(wanted)} different source "
                    f"recordings of each class, better 20 or more. Add {label} recordings, or state the splits in a "
                    "manifest."
                )
            held.subtract((unit.split, name) for name in unit.labels)
            held.update((split, name) for name in unit.labels)
            unit.split = split


def _spare(having: list[_Unit], held: Counter[tuple[Split | None, Label]]) -> _Unit | None:
    """The unit to move: of those whose move takes no class from their split, the lowest hash in the fullest split."""
    free = [
        unit
        for unit in having
        if not unit.fixed and all(held[unit.split, label] > 1 for label in unit.labels)
    ]
    full = Counter(unit.split for unit in having)
    # Hash and not order of the table: the same unit moves wherever the recordings are listed.
    return min(free, key=lambda unit: (-full[unit.split], unit.place), default=None)


def _shared(table: Table, key: Callable[[Utterance], str | None]) -> tuple[int, int]:
    """The number of different keys, and of those that are in more than one split."""
    splits: dict[str, set[Split | None]] = defaultdict(set)
    for item in table:
        name = key(item)
        if name is not None:
            splits[name].add(item.split)
    return len(splits), sum(len(found) > 1 for found in splits.values())
