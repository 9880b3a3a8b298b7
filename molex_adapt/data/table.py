"""The table that every data source is read into: utterances with their class, attack and origin."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import repeat
from pathlib import Path
from typing import Any, TypeAlias

from molex_adapt.conventions import BONA_FIDE, SPOOF, Label, Seconds, Split
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError

AUDIO_DIGITS = 16
"""Of the sha256 of decoded samples: as many as `Utterance.audio` keeps."""
Stretch: TypeAlias = tuple[Seconds, Seconds]
"""From when to when."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording, for training or for scoring.

    `source` names the recording it comes from; all copies of one recording share it, and splits never
    separate it. `attack` is None for bona fide speech. `condition` is what the recording went through (a codec,
    noise, a room), whatever its class; None: not known. `seconds` is None until an audit decoded the file. `forged`
    are the stretches of a partly forged recording that are forged, in order; None: all of a spoofed one, as far as is
    known. `domain` is the one that an attack belongs to; None: one of its own. `audio` is what tells its decoded
    samples from all others, 16 hexadecimal digits; None until an audit decoded the file. `draw` is the number of the
    chain of conditions that it is to be heard through; 0: as it is.
    """

    path: Path
    label: Label
    attack: str | None = None
    source: str = ""
    speaker: str | None = None
    split: Split | None = None
    condition: str | None = None
    text: str | None = None
    seconds: Seconds | None = None
    forged: tuple[Stretch, ...] | None = None
    domain: str | None = None
    audio: str | None = None
    draw: int = 0


_SLOTS = {field.name: getattr(Utterance, field.name) for field in fields(Utterance)}
_AT_ONCE = 4096
"""Utterances that are filled together: as many as a processor's cache holds."""


def utterances_of(count: int, **columns: Iterable[Any]) -> list[Utterance]:
    """Many utterances from columns of their fields, in half the time that it takes one by one.

    Args:
        count: how many.
        columns: by name of the field, at least so many values each. `path` and `label` are needed.
    """
    left = {
        _SLOTS[field.name]: iter(columns.get(field.name, repeat(field.default)))
        for field in fields(Utterance)
    }
    found: list[Utterance] = []
    while len(found) < count:
        some = list(map(object.__new__, repeat(Utterance, min(_AT_ONCE, count - len(found)))))
        for slot, values in left.items():
            deque(map(slot.__set__, some, values), maxlen=0)
        found += some
    return found


def with_columns(utterances: Sequence[Utterance], **columns: Iterable[Any]) -> list[Utterance]:
    """The same utterances with other values of some fields."""
    own = {name: map(slot.__get__, utterances) for name, slot in _SLOTS.items()}
    return utterances_of(len(utterances), **own | columns)


@dataclass(frozen=True, slots=True)
class Failed:
    """One recording that was left out, and why."""

    path: str
    reason: str
    by_rule: bool = False
    """It can be read, but nothing can be learnt from it (too short, silent, a repeat): nothing failed."""

    def as_dict(self) -> dict[str, str]:
        """As every report has it, in JSON values."""
        return {"path": self.path, "reason": self.reason}


@dataclass(frozen=True)
class Table:
    """An immutable sequence of utterances; `root` is the folder or file they were read from."""

    utterances: tuple[Utterance, ...]
    root: str
    passed_over: tuple[str, ...] = ()
    """Paths below `root` that were looked at and not read: files without audio, folders of no class."""
    remarks: tuple[str, ...] = ()
    """What else a user should know of how it was read."""
    left_out: tuple[Failed, ...] = ()
    """Recordings below `root` that were opened as it was read, and are not in it."""

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)

    def __getitem__(self, index: int) -> Utterance:
        return self.utterances[index]

    @property
    def attacks(self) -> list[str]:
        """Names of the attacks present, sorted."""
        return sorted({item.attack for item in self if item.attack is not None})

    @property
    def domains(self) -> dict[str, list[str]]:
        """The attacks of each domain, sorted; an attack without one is a domain by itself."""
        found: dict[str, set[str]] = {}
        for item in self:
            if item.attack is not None:
                found.setdefault(item.domain or item.attack, set()).add(item.attack)
        return {name: sorted(found[name]) for name in sorted(found)}

    def select(
        self, *, label: Label | None = None, attack: str | None = None, split: Split | None = None
    ) -> Table:
        """Only the utterances that agree with every condition given; order is kept."""
        return self.with_utterances(
            item
            for item in self
            if label in (None, item.label) and attack in (None, item.attack) and split in (None, item.split)
        )

    def with_utterances(self, utterances: Iterator[Utterance] | tuple[Utterance, ...]) -> Table:
        """The same origin with other utterances."""
        return replace(self, utterances=tuple(utterances))

    def counts(self) -> dict[str, int]:
        """Utterances of each class: always both keys, `bonafide` and `spoof`."""
        found = Counter(item.label for item in self)
        return {BONA_FIDE: found[BONA_FIDE], SPOOF: found[SPOOF]}

    def conditions(self) -> dict[str, dict[str, int]]:
        """The same of each condition, sorted by name; utterances of which none is known are left out."""
        found = Counter((item.condition, item.label) for item in self if item.condition is not None)
        names = sorted({name for name, _ in found})
        return {name: {label: found[name, label] for label in (BONA_FIDE, SPOOF)} for name in names}

    def require_both_classes(self, what: str) -> None:
        """Refuse a table of one class, which the message calls `what`, e.g. "the development split of data/".

        Raises:
            DataError: `what` has no bona fide or no spoofed utterance, or none at all.
        """
        missing = [label for label, count in self.counts().items() if not count]
        if not missing:
            return
        have = ", ".join(f"{count} {label}" for label, count in self.counts().items())
        raise DataError(
            f"{what} has no {' and no '.join(missing)} utterances (it has {have}). Both classes are needed to train "
            f"and to measure. Add {' and '.join(missing)} recordings to {self.root}, or see which were left out and "
            "why."
        )

    def require_usable(self, what: str, whole: Table, failed: Sequence[Failed]) -> None:
        """Refuse a table that lost a class because its recordings cannot be used.

        Args:
            what: as for `require_both_classes`.
            whole: the table that this one is the usable part of; `failed` was left out of it.

        Raises:
            DataError: a class is missing; names one of its recordings and why it was left out.
        """
        counts = self.counts()
        lost = {str(item.path) for item in whole if not counts[item.label]}
        for item in failed:
            if item.path in lost:
                have = ", ".join(f"{count} {label}" for label, count in counts.items())
                raise DataError(
                    f"{what} is left with {have} utterances: {len(failed)} of {len(whole)} recordings of {self.root} "
                    f"cannot be used, such as {item.path}: {item.reason}. Both classes are needed. Export these "
                    "recordings again, or add others."
                )
        self.require_both_classes(what)

    def digest(self) -> str:
        """SHA-256 (hex) over path, size, class, attack, source, speaker and split of every file.

        Paths count relative to the root and order does not count, so that a moved folder keeps its digest.
        """
        base = Path(self.root) if Path(self.root).is_dir() else Path(self.root).parent
        rows = sorted(self._row(item, base) for item in self)
        return sha256("\n".join(rows))

    @staticmethod
    def _row(item: Utterance, base: Path) -> str:
        try:
            size = item.path.stat().st_size
        except (OSError, ValueError):
            size = -1
        path = Path(os.path.relpath(item.path, base)).as_posix()
        parts = (path, item.label, item.attack, item.source, item.speaker, item.split, size)
        return "\t".join("" if part is None else str(part) for part in parts)
