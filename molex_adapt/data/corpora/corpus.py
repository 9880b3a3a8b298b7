"""What a published corpus is: how it is told from its files, what they list, where to get it, on what terms."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise, repeat
from pathlib import Path
from typing import Literal, TypeAlias

from molex_adapt.conventions import BONA_FIDE, Label
from molex_adapt.data.folder import UNNAMED_ATTACK
from molex_adapt.data.formats import cell
from molex_adapt.data.labels import label_fault, label_of, split_of
from molex_adapt.data.manifest import require_some_exist
from molex_adapt.data.table import Table, Utterance, with_columns
from molex_adapt.errors import DataError
from molex_adapt.text import short, shown

Kind: TypeAlias = Literal["folder", "line", "label", "duplicate", "missing", "empty"]
"""A folder of audio that is nowhere; a line that cannot be read; a label that contradicts or is none; an id twice; a
recording that is not there; a list of nothing."""

_SHOWN_FAULTS = 5
_MANY = 100_000


@contextmanager
def unwatched() -> Iterator[None]:
    """Leave the collector out: it would go again and again through half a million objects, none of them in a circle."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            # To count what is put aside takes as long as to go through it: not after a few objects.
            if gc.get_count()[0] > _MANY and not gc.get_freeze_count():
                # What was made is old at once, or the next object that anybody makes has it all gone through.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in one place."""

    file: str
    line: int | None
    kind: Kind
    text: str

    @property
    def place(self) -> str:
        """The file, and the line where there is one."""
        return self.file if self.line is None else f"{self.file}, line {self.line}"


@dataclass(slots=True)
class PartListing:
    """What one file of a corpus, or one folder, lists of one part: recordings in order, with the line of each."""

    file: Path
    part: str | None = None
    """What its publishers call the part, such as "eval"; None where the corpus is not divided."""
    utterances: list[Utterance] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    """The line of every recording by what names it in the whole corpus, in the order of `utterances`; 0 in a folder."""
    faults: list[Fault] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, name: str, line: int, utterance: Utterance) -> None:
        """List a recording; one that is listed already is a fault."""
        before = self.ids.setdefault(name, line)
        if before != line:
            self.repeated(name, line, before)
        else:
            self.utterances.append(utterance)

    def repeated(self, name: str, line: int, before: int) -> None:
        """Note a recording that an earlier line lists."""
        self.fault(line, "duplicate", f"'{short(name)}' is already in line {before}; keep one of the two")

    def fault(self, line: int | None, kind: Kind, text: str) -> None:
        """Note a fault of a line; None for one of the whole file."""
        self.faults.append(Fault(str(self.file), line, kind, text))


Wanted: TypeAlias = Callable[[str | None], bool]
"""Whether a part is to be read."""


@dataclass(frozen=True)
class PublishedCorpus:
    """A published corpus."""

    name: str
    home: str
    """Where to get it."""
    licence: str
    citation: str
    find: Callable[[Path], tuple[Path, ...]]
    """The files or folders below a root that tell that the corpus is there; none where it is not."""
    read: Callable[[Path, Sequence[Path], Wanted], Iterable[PartListing]]
    """What these list, from the root, in order; parts that are not wanted may be left out."""
    note: str = ""
    """What a user has to know beside it."""


@dataclass(frozen=True)
class Recognised:
    """A corpus, and where it was found."""

    corpus: PublishedCorpus
    root: Path
    files: tuple[Path, ...]

    def listings(self, parts: Sequence[str] = ()) -> list[PartListing]:
        """What its files list of some parts; of all by default. Ids that two of them list are faults.

        Raises:
            DataError: a file cannot be read, or there is no such part.
        """
        with unwatched():
            read = list(
                self.corpus.read(self.root, self.files, lambda part: not parts or _is_meant(part, parts))
            )
        kept = [item for item in read if not parts or _is_meant(item.part, parts)]
        missing = [word for word in parts if not any(_is_meant(item.part, [word]) for item in kept)]
        if missing:
            there = self.corpus.read(self.root, self.files, lambda _: True)
            names = ", ".join(dict.fromkeys(item.part for item in there if item.part is not None))
            raise DataError(
                f"{self.root} has no part '{short(missing[0])}' of {self.corpus.name}. Its parts are "
                f"{names or 'none: it is not divided'}. Name one of them behind the '#', or leave the '#' out."
            )
        for item in read:  # where one file lists several parts, its faults stand with the first of them
            if not any(item is other for other in kept):
                beside = next((other for other in kept if other.file == item.file), None)
                if beside is not None:
                    beside.faults += item.faults
        _compare_ids(kept)
        return kept

    @unwatched()
    def table(self, parts: Sequence[str] = ()) -> Table:
        """Its recordings as a table.

        Splits are those that its publishers made; one part alone is not divided, so that it can be divided anew.

        Raises:
            DataError: as `listings`, or its files have faults: the first five are named, each with its line.
        """
        listings = self.listings(parts)
        refuse([fault for item in listings for fault in item.faults])
        for item in listings:
            some = item.utterances[:: max(1, len(item.utterances) // 50)]
            if some:
                require_some_exist(item.file, some[0].path.parent, [utterance.path for utterance in some])
        utterances = [utterance for item in listings for utterance in item.utterances]
        if len(parts) == 1:
            utterances = with_columns(utterances, split=repeat(None))
        if not utterances:
            raise DataError(
                f"{self.root} looks like {self.corpus.name}, but lists no recordings. Unpack it again."
            )
        remarks = dict.fromkeys(remark for item in listings for remark in item.remarks)
        return Table(tuple(utterances), str(self.root), remarks=tuple(remarks))


def judged(word: str, attack: str | None, why: str = "") -> tuple[Label, str | None] | str:
    """The class that a label and an attack mean together, with the attack's name; or what is wrong with them.

    Args:
        word: the label as it is written.
        attack: the attack as it is written, if the corpus writes it; a word for the other class contradicts.
        why: what else to say where they contradict.
    """
    label = label_of(word) if cell(word) is not None else None
    named = None if attack is None else cell(attack)
    says = None if named is None else label_of(named)
    if label is None:
        return "the label is empty" if cell(word) is None else label_fault(word)
    if label == BONA_FIDE:
        if named is not None and says != BONA_FIDE:
            return f"labelled {shown(word)}, with the attack '{short(named)}'; it is one or the other{why}"
        return label, None
    if says == BONA_FIDE:
        return f"labelled {shown(word)}, with the attack '{short(str(named))}'; it is one or the other{why}"
    return label, named or UNNAMED_ATTACK


def leads_elsewhere(name: str) -> bool:
    """Whether a path in a list leaves the folder that it is relative to, or can be no path."""
    return "\0" in name or "\\" in name or name.startswith("/") or ".." in name.split("/")


def refuse(faults: Sequence[Fault]) -> None:
    """Refuse a corpus with faults.

    Raises:
        DataError: there are some; the first five are named.
    """
    if not faults:
        return
    told = [f"{faults[0].place}: {faults[0].text}"]
    for before, fault in pairwise(faults[:_SHOWN_FAULTS]):
        same = before.file == fault.file and fault.line is not None
        told.append(f"{f'line {fault.line}' if same else fault.place}: {fault.text}")
    more = f" (and {len(faults) - _SHOWN_FAULTS} more)" if len(faults) > _SHOWN_FAULTS else ""
    end = "" if faults[0].kind == "folder" else ". Unpack it again, or mend what is named"
    raise DataError(";\n  ".join(told) + more + end + ".")


def sub_folders(root: Path) -> list[Path]:
    """The folders in a folder, sorted; none where it cannot be listed."""
    try:
        return sorted(item for item in root.iterdir() if item.is_dir())
    except OSError:
        return []


def _is_meant(part: str | None, words: Sequence[str]) -> bool:
    """Whether one of the words names the part: as its publishers call it, or as any split is called."""
    if part is None:
        return False
    means = split_of(part)
    return any(
        word.casefold() == part.casefold() or (means is not None and split_of(word) == means)
        for word in words
    )


def _compare_ids(listings: Sequence[PartListing]) -> None:
    seen: dict[str, PartListing] = {}
    for item in listings:
        for name in sorted(item.ids.keys() & seen.keys()):
            where = f"{seen[name].file}, line {seen[name].ids[name]}"
            item.fault(
                item.ids[name], "duplicate", f"'{short(name)}' is also in {where}; keep one of the two"
            )
        if item is not listings[-1]:
            seen.update(dict.fromkeys(item.ids, item))
