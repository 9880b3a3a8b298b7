"""Reading of data in any form: a folder, a manifest, a published corpus, a data set of the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molex_adapt.data import manifest
from molex_adapt.data.containers import AUDIO_SUFFIXES
from molex_adapt.data.corpora import CORPORA, is_protocol, list_names, recognise, recognise_file
from molex_adapt.data.folder import find_audio, read_folder
from molex_adapt.data.formats import FORMATS
from molex_adapt.data.hub_set import HubReference, hub_reference, is_hub_folder, read_hub
from molex_adapt.data.labels import label_of, nearest_label
from molex_adapt.data.manifest import exists, read_manifest
from molex_adapt.data.parts import only, parted
from molex_adapt.data.table import Table, Utterance
from molex_adapt.errors import DataError

MANIFEST_NAMES = tuple(f"manifest{suffix}" for suffix in FORMATS)


def read(data: Path | str, *, key: Path | str | None = None) -> Table:
    """Read labelled speech in any form that the package knows.

    Args:
        data: a folder with `bonafide/` and `spoof/<attack>/`; a folder with manifest.csv, .tsv, .jsonl or
            .parquet; such a manifest under any name; the root of a published corpus, see `corpora`; one of its
            protocol files; or a data set of the Hub, see `hub_set`. Behind any of them, `#` and parts: `DIR#train,dev`.
        key: a manifest or protocol file that lies elsewhere; `data` is then the folder its audio is in.

    Returns:
        The table. No audio is opened: files that cannot be used are found by `audit`. A table may have one
        class only; who needs both asks `Table.require_both_classes`.

    Raises:
        DataError: nothing of the kind is there, with what was looked for; or it has faults, with where.
    """
    if key is not None:
        return _read_key(Path(key).expanduser(), Path(data).expanduser())
    if (reference := hub_reference(data)) is not None:
        return only(read_hub(reference), reference.parts)
    path, parts = parted(data)
    if not exists(path):
        raise DataError(
            f"{data} does not exist. Expected a folder, a manifest or a protocol file. Check the path."
        )
    if not path.is_dir():
        return _read_file(path, None, parts)
    folders = _folder_names(path)
    manifests = [path / name for name in MANIFEST_NAMES if (path / name).is_file()]
    if len(manifests) > 1:
        names = ", ".join(item.name for item in manifests)
        raise DataError(f"{path} holds several manifests ({names}). Expected one. Name the one you mean.")
    if manifests:
        return only(read_manifest(manifests[0]), parts)
    if (found := recognise(path)) is not None:
        return found.table(parts)
    if is_hub_folder(path):
        return only(read_hub(HubReference(str(path))), parts)
    if any(label_of(name) or nearest_label(name, 0.75) for name in folders):
        return only(read_folder(path), parts)
    raise DataError(_nothing(path))


def read_listed(key: Path) -> list[Utterance]:
    """What a manifest or protocol file says of recordings that need not be there.

    Raises:
        DataError: it is neither, or has faults.
    """
    if key.suffix.lower() not in (".parquet", ".jsonl") and is_protocol(key):
        return list_names(key)
    if key.suffix.lower() in FORMATS:
        return manifest.read_listed(key)
    raise DataError(_neither(key))


def names_parts(data: Path | str) -> bool:
    """Whether it names parts of a data set, or one on the Hub: what is meant is then what that lists."""
    return hub_reference(data) is not None or bool(parted(data)[1])


def holds_list(folder: Path) -> bool:
    """Whether a folder has a manifest, or is that of a corpus or of a data set of the Hub."""
    if any((folder / name).exists() for name in MANIFEST_NAMES):
        return True
    return recognise(folder) is not None or is_hub_folder(folder)


def is_unlabelled(data: Path | str) -> bool:
    """Whether it is a folder of recordings that says nothing of their labels: no classes, no list of any kind."""
    folder = Path(data).expanduser()
    if not folder.is_dir() or any(
        label_of(name) or nearest_label(name, 0.75) for name in _folder_names(folder)
    ):
        return False
    return not holds_list(folder) and bool(find_audio(folder))


def _folder_names(folder: Path) -> list[str]:
    try:
        return [item.name for item in folder.iterdir() if item.is_dir()]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}). Check its permissions.") from error


def _read_key(key: Path, folder: Path) -> Table:
    if not key.is_file():
        raise DataError(
            f"The key {key} is not a file. Expected a manifest or a protocol file. Check the path."
        )
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder. With a key, expected the folder its audio is in. Check the path."
        )
    return _read_file(key, folder, ())


def _read_file(path: Path, audio_root: Path | None, parts: Sequence[str]) -> Table:
    suffix = path.suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        raise DataError(
            f"{path} is one recording. Expected a data set: a folder with bonafide/ and spoof/, or a manifest. To "
            "score a recording, use: molex-adapt score."
        )
    if suffix not in (".parquet", ".jsonl"):
        found = recognise_file(path, audio_root)
        if found is not None:
            return found.table(parts)
    if suffix in FORMATS:
        return only(read_manifest(path, audio_root=audio_root), parts)
    raise DataError(_neither(path))


def _neither(path: Path) -> str:
    return (
        f"{path} is neither a manifest ({', '.join(FORMATS)}) nor a protocol of ASVspoof (5 columns as in 2019 LA, 8 "
        "as in 2021 LA, 13 as in 2021 DF, 10 as in ASVspoof 5, with bonafide or spoof in the key column). Give it such "
        "a form, or name a folder; unpack archives."
    )


def _nothing(folder: Path) -> str:
    here = sorted(
        item.name + "/" * item.is_dir() for item in folder.iterdir() if not item.name.startswith(".")
    )
    audio = len(find_audio(folder))
    shown = ", ".join(here[:8]) + (", ..." if len(here) > 8 else "")
    return (
        f"{folder} holds no data set (found {shown or 'nothing'}; {audio} audio files in all). Looked for bonafide/ "
        f"and spoof/<attack>/ (also real, genuine, human; fake, deepfake, ai); {', '.join(MANIFEST_NAMES)}; "
        f"the files of {', '.join(corpus.name for corpus in CORPORA)}, such as ASVspoof5.*.tsv or meta.csv; Parquet "
        "files of the Hub. Move the recordings into class folders, or write a manifest with path and label."
    )
