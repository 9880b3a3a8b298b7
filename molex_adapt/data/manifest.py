"""Manifests: files that name each recording and its class, and optionally attack, speaker, split and more."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from molex_adapt.atomic import replacing
from molex_adapt.conventions import BONA_FIDE, Label, Split
from molex_adapt.data.entries import Entry, RowError, path_of, plain, read_entry
from molex_adapt.data.formats import cell, read_rows, write_rows
from molex_adapt.data.places import settled
from molex_adapt.data.table import Table, Utterance
from molex_adapt.errors import DataError
from molex_adapt.outputs import Kind, check_file
from molex_adapt.text import short, shown, storable

CONDITION_COLUMNS = ("condition", "codec", "codec_q")
"""What a recording went through, best first; the latter two are what ASVspoof calls it."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "audio", "audio_path", "wav"),
    "label": ("label", "class", "target", "key", "cm_label"),
    "attack": ("attack", "attack_id", "attack_label", "system", "system_id"),
    "source": ("source", "source_id", "recording", "recording_id"),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id"),
    "split": ("split", "subset", "partition"),
    "condition": CONDITION_COLUMNS,
    "text": ("text", "transcript", "transcription", "sentence"),
    "seconds": ("seconds", "duration"),
    "forged": ("forged", "forged_seconds"),
    "domain": ("domain",),
}
"""Our columns, each with the headings accepted for it, best first; other columns are passed over."""

REQUIRED = ("path", "label")
_SHOWN_FAULTS = 5
_PROBED = 50


def read_manifest(path: Path | str, *, audio_root: Path | str | None = None) -> Table:
    """Read a CSV, TSV, JSON Lines or Parquet manifest.

    `path` and `label` are required (`file`, `filename`, `class`, `key`, ... are accepted for them); attack,
    speaker, split, condition, source, text, seconds, forged and domain are optional. Relative paths start at the
    manifest's folder or at `audio_root`. Without a source the path tells it, below its class and attack folder
    where it has them, else the file's stem.

    Raises:
        DataError: unreadable, a missing column, rows that cannot be meant (the first five are named,
            each with its line), a path twice, or none of the files there.

    Source: own.
    """
    path = Path(path)
    base = Path(audio_root) if audio_root is not None else path.parent
    utterances, remarks = settled(_untangle_stems(_entries(path, base), base))
    require_some_exist(path, base, [item.path for item in utterances[:_PROBED]])
    return Table(tuple(utterances), str(path), remarks=tuple(remarks))


def read_listed(path: Path) -> list[Utterance]:
    """What a manifest says of its recordings, whether or not they are there; paths as they are written.

    Raises:
        DataError: as `read_manifest`, except for audio that is missing.
    """
    return [item.utterance for item in _entries(path, Path())]


def read_unlabelled(path: Path) -> Table:
    """The recordings that a manifest names, each once, and their speakers, as real speech; labels are not asked for.

    Raises:
        DataError: unreadable, no column of paths, rows without one, or none of the files there.
    """
    columns, rows = read_rows(path)
    chosen = choose_columns(path, columns, ("path",))
    found: dict[Path, Utterance] = {}
    faults: list[str] = []
    again = 0
    for number, row in rows:
        try:
            written = path_of(row.get(chosen["path"]))
        except RowError as fault:
            faults.append(f"row {number}: {fault}")
            continue
        speaker = cell(row.get(chosen["speaker"])) if "speaker" in chosen else None
        place = Path(os.path.normpath(path.parent / written))
        again += place in found
        found.setdefault(place, Utterance(place, BONA_FIDE, source=written, speaker=speaker))
    _refuse_faults(path, faults, len(found))
    utterances, remarks = settled(list(found.values()))
    if again:
        remarks = [*remarks, f"{again} rows name a recording that another row names; each counts once"]
    require_some_exist(path, path.parent, [item.path for item in utterances[:_PROBED]])
    return Table(tuple(utterances), str(path), remarks=tuple(remarks))


def has_labels(path: Path) -> bool:
    """Whether a manifest has a column of labels; DataError where it has none of paths either."""
    return "label" in choose_columns(path, read_rows(path)[0], ("path",))


def list_manifest(path: Path) -> tuple[list[Entry], list[tuple[int, RowError]]]:
    """The rows of a manifest, those with a fault apart, and whether or not any recording is there.

    Raises:
        DataError: unreadable, or a missing column.
    """
    read, faults = _rows(path, path.parent)
    settled_paths, _ = settled([item.utterance for item in read])
    return [replace(item, utterance=found) for item, found in zip(read, settled_paths, strict=True)], faults


def _entries(path: Path, base: Path) -> list[Entry]:
    read, faults = _rows(path, base)
    _refuse_faults(path, [f"row {number}: {fault}" for number, fault in faults], len(read))
    return read


def _rows(path: Path, base: Path) -> tuple[list[Entry], list[tuple[int, RowError]]]:
    columns, rows = read_rows(path)
    chosen = choose_columns(path, columns)
    read: list[Entry] = []
    faults: list[tuple[int, RowError]] = []
    lines: dict[Path, int] = {}
    for number, row in rows:
        try:
            item = read_entry({name: row.get(column) for name, column in chosen.items()}, base, number)
            _refuse_repeated(item, lines)
            read.append(item)
        except RowError as fault:
            faults.append((number, fault))
    return read, faults


def write_manifest(table: Table, path: Path | str) -> None:
    """Write `table` so that `read_manifest` reads the same; the format goes by the suffix.

    Paths below the manifest's folder are written relative to it, so that the folder can be moved. The file
    is replaced whole or not at all.

    Raises:
        DataError: the suffix is no manifest format, anything but a manifest stands there, or the file cannot be
            written.
    """
    path = Path(path)
    check_file(path, MANIFEST)
    base = plain(path.parent)
    columns = [
        name
        for name in COLUMNS
        if name not in ("seconds", "forged", "domain")
        or any(getattr(item, name) is not None for item in table)
    ]
    rows = [[_field(item, name, base) for name in columns] for item in table]
    try:
        with replacing(path) as staged:
            write_rows(staged, columns, rows)
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path} cannot be written: {shown(error.object)} is no valid text. Expected names that UTF-8 can hold. "
            "Rename that recording."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}). Check the folder and its free space."
        ) from error


def _is_manifest(path: Path) -> bool:
    try:
        columns, _ = read_rows(path)
        return {"path", "label"} <= choose_columns(path, columns).keys()
    except DataError:
        return False


MANIFEST = Kind("a manifest", _is_manifest)
"""What `write_manifest` may replace."""


def require_some_exist(what: Path, base: Path, paths: list[Path]) -> None:
    """Refuse a manifest of which no file exists: then its folder is wrong and not the files.

    Raises:
        DataError: none of `paths` exists.
    """
    if paths and not any(exists(path) for path in paths):
        raise DataError(
            f"{what}: none of its first {len(paths)} recordings exists, e.g. {short(str(paths[0]), 300)}. Relative "
            f"paths start at {base}. Put the audio there, or mend the paths."
        )


def exists(path: Path) -> bool:
    """Whether there is something; False too for what can be no path, such as one with a zero byte."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def choose_columns(
    path: Path | str, columns: Sequence[str], required: Sequence[str] = REQUIRED
) -> dict[str, str]:
    """Our names of columns, each with the heading that stands for it.

    Raises:
        DataError: a required one is missing, or a heading stands there twice.
    """
    plain = {re.sub(r"[\s-]+", "_", str(name).strip().casefold()): name for name in reversed(columns)}
    chosen = {
        ours: next((plain[word] for word in words if word in plain), None) for ours, words in COLUMNS.items()
    }
    missing = [name for name in required if chosen[name] is None]
    if missing:
        accepted = "; ".join(f"{name} (or {', '.join(COLUMNS[name][1:])})" for name in missing)
        raise DataError(
            f"{path} has no column {' and no column '.join(missing)}; its columns are "
            f"{short(', '.join(map(str, columns)), 400) if columns else 'none'}. "
            f"Expected {accepted}. Name the columns so in the first line (for JSON Lines: in every object)."
        )
    used = {ours: column for ours, column in chosen.items() if column is not None}
    for ours, column in used.items():
        if columns.count(column) > 1:
            raise DataError(
                f"{path} has the column {shown(column)} {columns.count(column)} times; nothing tells which of them "
                f"says the {ours}. Expected it once. Delete or rename the others."
            )
    return used


def _refuse_repeated(item: Entry, lines: dict[Path, int]) -> None:
    before = lines.setdefault(item.utterance.path, item.number)
    if before != item.number:
        raise RowError(f"{item.utterance.path} is already in row {before}; keep one of the two", "duplicate")


def _refuse_faults(path: Path, faults: list[str], good: int) -> None:
    if faults:
        more = f" (and {len(faults) - _SHOWN_FAULTS} more)" if len(faults) > _SHOWN_FAULTS else ""
        said = ";\n  ".join(short(fault, 400) for fault in faults[:_SHOWN_FAULTS])
        raise DataError(f"{path}, {said}" + more + ". Mend the manifest.")
    if not good:
        raise DataError(
            f"{path} names no recordings. Expected a row for each, with path and label. Add them."
        )


def _untangle_stems(read: list[Entry], base: Path) -> list[Utterance]:
    """Use stems as sources, unless they name different recordings (a/1.wav for train, b/1.wav for test)."""
    splits: dict[tuple[str, Label, str | None], set[Split | None]] = {}
    for item in read:
        if item.guessed:
            said = item.utterance
            splits.setdefault((said.source, said.label, said.attack), set()).add(said.split)
    tangled = {source for (source, _, _), found in splits.items() if len(found - {None}) > 1}
    return [
        replace(item.utterance, source=_whole(item.utterance.path, base))
        if item.guessed and item.utterance.source in tangled
        else item.utterance
        for item in read
    ]


def _whole(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path, base)).with_suffix("").as_posix()


def _field(item: Utterance, name: str, base: Path) -> Any:
    if name != "path":
        value = getattr(item, name)
        if isinstance(value, tuple):
            return " ".join(f"{start:.3f}-{end:.3f}" for start, end in value)
        # A source or speaker may be named after a file. The name only has to differ from others.
        return storable(value) if isinstance(value, str) else value
    path = plain(item.path)
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()
