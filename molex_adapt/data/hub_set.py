"""Data sets of the Hugging Face Hub, by address or as a downloaded folder, through the library `datasets`.

Their audio is unpacked once, as it is, and never decoded by `datasets`: every recording is read by the package's own
reader, as any other file. It lies below HF_DATASETS_CACHE, beside what `datasets` itself keeps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from molex_adapt.atomic import publishing
from molex_adapt.data.corpora.corpus import Fault, refuse
from molex_adapt.data.entries import RowError, read_entry
from molex_adapt.data.formats import cell
from molex_adapt.data.labels import label_of, split_of
from molex_adapt.data.manifest import choose_columns, read_manifest, write_manifest
from molex_adapt.data.table import Table, Utterance
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError
from molex_adapt.text import short, shown

_ADDRESS = re.compile(
    r"hf:/+datasets/(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<config>[\w.-]+))?/?(?:#(?P<parts>.*))?"
)
"""A `Path` makes one slash of two."""
_SHARD = re.compile(r".+-\d{5}-of-\d{5}(-[0-9a-f]+)?\.parquet")
_MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class HubReference:
    """What `hf://datasets/OWNER/NAME[@REVISION][/CONFIG][#PARTS]` names, or a downloaded folder in place of it."""

    name: str
    revision: str | None = None
    config: str | None = None
    parts: tuple[str, ...] = ()


def hub_reference(data: Path | str) -> HubReference | None:
    """The data set of the Hub that is named; None for what is no such address.

    Raises:
        DataError: it begins as one and is none.
    """
    text = os.fspath(data)
    if not text.startswith("hf:/"):
        return None
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise DataError(
            f"{short(text, 200)} is no data set of the Hub. Expected hf://datasets/OWNER/NAME, with @REVISION, /CONFIG "
            "and #SPLIT behind it where needed. Correct the address."
        )
    parts = tuple(word.strip() for word in (found["parts"] or "").split(",") if word.strip())
    return HubReference(found["name"], found["revision"], found["config"], parts)


def is_hub_folder(folder: Path) -> bool:
    """Whether Parquet files lie in a folder as the Hub names them, with the number of the shard."""
    try:
        return any(_SHARD.fullmatch(path.name) for path in _shards(folder))
    except OSError:
        return False


def read_hub(reference: HubReference) -> Table:
    """Unpack a data set, unless that was done before, and read it.

    The column of audio is the one of that feature; labels are words, or a ClassLabel whose names are words for the
    classes. Other columns are called as in manifests.

    Raises:
        DataError: `datasets` is not installed or cannot load it; there is no column of audio or of labels; labels are
            numbers without names; or rows that cannot be meant, of which the first five are named.
    """
    library = _library(reference)
    target = _target(library, reference)
    if not (target / _MANIFEST).is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with publishing(target) as folder:
                _unpack(library, reference, folder)
        except OSError:
            if not (target / _MANIFEST).is_file():  # else another process was faster
                raise
    return read_manifest(target / _MANIFEST)


def _library(reference: HubReference) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{reference.name} is a data set of the Hub and needs the library datasets, which is not installed. "
            "Install it: pip install 'molex-adapt[datasets]'"
        ) from error
    return datasets


def _target(library: Any, reference: HubReference) -> Path:
    """Where it is unpacked: another folder for every revision and content."""
    folder = Path(reference.name)
    if folder.is_dir():
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in _shards(folder)]
        which = repr((str(folder.resolve()), stats))
    else:
        which = f"{reference.name}@{_commit(reference)}"
    name = re.sub(r"[^\w.-]+", "-", reference.name).strip("-")[-60:]
    digest = sha256(which, reference.config or "")[:16]
    return Path(library.config.HF_DATASETS_CACHE) / "molex-adapt" / f"{name}-{digest}"


def _commit(reference: HubReference) -> str:
    """The commit that a revision means; a full one is not asked for."""
    if re.fullmatch(r"[0-9a-f]{40}", reference.revision or ""):
        return str(reference.revision)
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(reference.name, revision=reference.revision).sha)
    except (OSError, ValueError) as error:
        raise DataError(_not_loaded(reference, error)) from error


def _shards(folder: Path) -> list[Path]:
    places = (folder, *(sorted(item for item in folder.iterdir() if item.is_dir())[:50]))
    return sorted(path for place in places for path in place.glob("*.parquet"))


def _unpack(library: Any, reference: HubReference, folder: Path) -> None:
    try:
        found = library.load_dataset(
            reference.name, reference.config, revision=reference.revision, streaming=True
        )
        named = list(found.items())
        utterances: list[Utterance] = []
        faults: list[Fault] = []
        for split, rows in named:
            utterances += _unpack_split(library, reference, str(split), len(named) > 1, rows, folder, faults)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise DataError(_not_loaded(reference, error)) from error
    refuse(faults)
    if not utterances:
        raise DataError(
            f"{reference.name} has no rows. Choose another configuration, or look at it on the Hub."
        )
    write_manifest(Table(tuple(utterances), reference.name), folder / _MANIFEST)


def _unpack_split(
    library: Any,
    reference: HubReference,
    split: str,
    divided: bool,
    rows: Any,
    folder: Path,
    faults: list[Fault],
) -> Iterator[Utterance]:
    """The rows of a split as utterances, whose audio is written below the folder."""
    audio, chosen = _columns(library, reference, rows.features)
    rows = rows.cast_column(audio, library.Audio(decode=False))
    names = {
        column: rows.features[column].names for column in chosen.values() if _is_class(rows.features[column])
    }
    place = folder / re.sub(r"[^\w.-]", "_", split)
    place.mkdir()
    for number, row in enumerate(rows, 1):
        said = {ours: _word(row[column], names.get(column)) for ours, column in chosen.items()}
        try:
            path, original = _written(row[audio], place, number)
            said |= {
                "path": path.as_posix(),
                "split": said.get("split") or (split_of(split) and split if divided else None),
            }
            said["source"] = said.get("source") or f"{split}/{original or number}"
            yield read_entry(said, folder, number).utterance
        except RowError as fault:
            faults.append(Fault(f"{reference.name}, {split}", number, "line", str(fault)))


def _columns(
    library: Any, reference: HubReference, features: Mapping[str, Any] | None
) -> tuple[str, dict[str, str]]:
    """The column of audio, and the others by our names."""
    known = features or {}
    audio = [name for name, feature in known.items() if isinstance(feature, library.Audio)]
    if len(audio) != 1:
        raise DataError(
            f"{reference.name} has {len(audio)} columns of audio ({short(', '.join(known) or 'no columns', 200)})."
            " Expected one with the feature Audio. Export its recordings, and write a manifest."
        )
    flat = [name for name in known if name != audio[0]]
    chosen = choose_columns(reference.name, flat, ("label",))
    chosen.pop("path", None)
    label = known[chosen["label"]]
    if _is_class(label):
        strange = [name for name in label.names if label_of(name) is None]
        if strange:
            raise DataError(
                f"{reference.name}: the label {shown(strange[0])} of the column '{chosen['label']}' "
                f"({short(', '.join(label.names), 200)}) names no class. Expected words such as bonafide and spoof, "
                "real and fake. Write a manifest."
            )
    elif getattr(label, "dtype", None) not in ("string", "large_string"):
        raise DataError(
            f"{reference.name}: the labels of the column '{chosen['label']}' are {getattr(label, 'dtype', label)} "
            "without names. Which class a number means differs from corpus to corpus. Expected words, or a ClassLabel "
            "with names. Write a manifest that says the class in words."
        )
    return audio[0], chosen


def _is_class(feature: Any) -> bool:
    return type(feature).__name__ == "ClassLabel"


def _word(value: Any, names: list[str] | None) -> Any:
    if names is not None and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    return None if isinstance(value, list | dict) else value


def _written(audio: Mapping[str, Any] | None, folder: Path, number: int) -> tuple[Path, str | None]:
    """The file of a row's audio, and the stem that it had; what lies outside the data set stays where it is."""
    content, name = (audio or {}).get("bytes"), cell((audio or {}).get("path"))
    stem = None if name is None else PurePath(name).stem
    if content is None:
        if name is None or not Path(name).is_file():
            raise RowError(f"no audio; its path is {shown(name)}")
        return Path(name).absolute(), stem
    suffix = "" if name is None else PurePath(name).suffix
    path = folder / f"{number:07d}{suffix if re.fullmatch(r'[.][A-Za-z0-9]{1,5}', suffix) else ''}"
    path.write_bytes(content)
    return path, stem


def _not_loaded(reference: HubReference, error: Exception) -> str:
    return (
        f"{reference.name} cannot be loaded by the library datasets: {short(str(error), 400)}. Expected a data set of "
        "the Hub that it reads. Check the name, the configuration and the connection; for a gated one: hf auth login."
    )
