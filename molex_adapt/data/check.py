"""What was recognised in a data set, and what is wrong with it, before anything is trained or decoded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molex_adapt.conventions import BONA_FIDE, SPLITS, SPOOF
from molex_adapt.data.corpora import (
    Fault,
    PublishedCorpus,
    Recognised,
    recognise,
    recognise_file,
)
from molex_adapt.data.formats import FORMATS
from molex_adapt.data.hub_set import hub_reference, is_hub_folder
from molex_adapt.data.manifest import list_manifest
from molex_adapt.data.parts import parted
from molex_adapt.data.places import names_in
from molex_adapt.data.read import MANIFEST_NAMES, read
from molex_adapt.data.remarks import on_table
from molex_adapt.data.splits import describe_split
from molex_adapt.data.table import Table, Utterance

_MOST_MISSING = 100
"""Missing recordings that are named; all are counted."""


@dataclass(frozen=True)
class DataCheck:
    """What a data set is, what it holds, and its faults."""

    data: str
    recognised: str
    table: Table
    corpus: PublishedCorpus | None = None
    files: tuple[str, ...] = ()
    """The protocols or folders that were read."""
    parts: dict[str, dict[str, int]] | None = None
    """Recordings of each class in each part, as its publishers call it; None where it is not divided by them."""
    faults: tuple[Fault, ...] = ()
    missing: int = 0
    missing_named: tuple[Fault, ...] = ()
    """The first hundred of them."""
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong: every line can be read, is there once, does not contradict, and has its audio."""
        return not self.faults and not self.missing

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        corpus = self.corpus
        return {
            "data": self.data,
            "recognised": self.recognised,
            "home": None if corpus is None else corpus.home,
            "licence": None if corpus is None else corpus.licence,
            "citation": None if corpus is None else corpus.citation,
            "note": corpus.note if corpus is not None and corpus.note else None,
            "files": list(self.files),
            "recordings": len(self.table),
            **self.table.counts(),
            "parts": self.parts,
            "splits": {
                split: self.table.select(split=split).counts()
                for split in SPLITS
                if any(item.split == split for item in self.table)
            },
            "attacks": attacks(self.table),
            "conditions": self.table.conditions(),
            "speakers": len({item.speaker for item in self.table} - {None}),
            "sources": len({item.source for item in self.table}),
            "faults": [_as_dict(item) for item in self.faults],
            "missing": self.missing,
            "missing_named": [_as_dict(item) for item in self.missing_named],
            "remarks": list(self.remarks),
            "ok": self.ok,
        }


def check(data: Path | str) -> DataCheck:
    """Look at a data set in any form that `read` knows, without opening any audio.

    Faults are collected, each with its file and line, where `read` refuses the data.

    Raises:
        DataError: nothing of the kind is there, or a file of it cannot be read at all.
    """
    path, parts = parted(data)
    if hub_reference(data) is None and (path.is_file() or path.is_dir()):
        manifest = _manifest_in(path)
        if manifest is not None:
            return _check_manifest(data, manifest, parts)
        found = recognise(path) if path.is_dir() else recognise_file(path)
        if found is not None:
            return _check_corpus(data, found, parts)
    kind = (
        "class folders"
        if hub_reference(data) is None and not is_hub_folder(path)
        else "a data set of the Hub"
    )
    table = read(data)
    missing = list(_missing(path, list(table), [0] * len(table)))
    return _checked(data, kind, table, (), missing, remarks=on_table(table))


def attacks(table: Table) -> dict[str, int]:
    """Recordings of each attack, by name."""
    counts = Counter(item.attack for item in table if item.attack is not None)
    return {name: counts[name] for name in sorted(counts)}


def _manifest_in(path: Path) -> Path | None:
    if path.is_file():
        listed = path.suffix.lower() in FORMATS and recognise_file(path) is None
        return path if listed else None
    return next((path / name for name in MANIFEST_NAMES if (path / name).is_file()), None)


def _check_manifest(data: Path | str, manifest: Path, parts: Sequence[str]) -> DataCheck:
    entries, faults = list_manifest(manifest)
    found = [Fault(str(manifest), number, fault.kind, str(fault)) for number, fault in faults]
    utterances = [item.utterance for item in entries]
    missing = list(_missing(manifest, utterances, [item.number for item in entries]))
    table = Table(tuple(utterances), str(manifest))
    checked = _checked(data, "a manifest", table, found, missing, files=[manifest])
    if parts and checked.ok:
        return _checked(data, "a manifest", read(data), (), [], files=[manifest])
    return checked


def _check_corpus(data: Path | str, found: Recognised, parts: Sequence[str]) -> DataCheck:
    listings = found.listings(parts)
    utterances = tuple(utterance for item in listings for utterance in item.utterances)
    counted: dict[str, Counter[str]] = {}
    for item in listings:
        if item.part is not None:
            counted.setdefault(item.part, Counter()).update(utterance.label for utterance in item.utterances)
    return _checked(
        data,
        found.corpus.name,
        Table(utterances, str(found.root)),
        [fault for item in listings for fault in item.faults],
        [fault for item in listings for fault in _missing(item.file, item.utterances, [*item.ids.values()])],
        corpus=found.corpus,
        files=[*dict.fromkeys(item.file for item in listings)],
        parts={
            part: {label: counts[label] for label in (BONA_FIDE, SPOOF)} for part, counts in counted.items()
        }
        or None,
        remarks=dict.fromkeys(remark for item in listings for remark in item.remarks),
    )


def _checked(
    data: Path | str,
    recognised: str,
    table: Table,
    faults: Sequence[Fault],
    missing: Sequence[Fault],
    *,
    corpus: PublishedCorpus | None = None,
    files: Sequence[Path] = (),
    parts: dict[str, dict[str, int]] | None = None,
    remarks: Iterable[str] = (),
) -> DataCheck:
    if not len(table) and not faults:
        listed = str(files[0]) if files else os.fspath(data)
        faults = [
            Fault(listed, None, "empty", "it lists no recordings; add a line for each, or name another list")
        ]
    said = [*remarks]
    for label, count in table.counts().items():
        if not count:
            said.append(f"no {label} recordings: both classes are needed to train and to measure")
    if any(item.split is not None for item in table):
        said.append(f"splits: {describe_split(table)}")
    return DataCheck(
        data=os.fspath(data),
        recognised=recognised,
        table=table,
        corpus=corpus,
        files=tuple(map(str, files)),
        parts=parts,
        faults=tuple(faults),
        missing=len(missing),
        missing_named=tuple(missing[:_MOST_MISSING]),
        remarks=tuple(said),
    )


def _missing(file: Path, utterances: Sequence[Utterance], lines: Sequence[int]) -> Iterator[Fault]:
    """Recordings that are listed and not there. Each folder is listed once: half a million files are not asked for."""
    here: dict[str, set[str]] = {}
    for item, line in zip(utterances, lines, strict=True):
        folder, name = os.path.split(item.path)
        if folder not in here:
            here[folder] = set(names_in(folder or ".") or ())
        if name not in here[folder]:
            yield Fault(str(file), line or None, "missing", str(item.path))


def _as_dict(fault: Fault) -> dict[str, Any]:
    return {"file": fault.file, "line": fault.line, "kind": fault.kind, "text": fault.text}
