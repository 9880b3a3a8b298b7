"""Reading of data in any form: a folder, a manifest, an ASVspoof tree or one of its protocol files."""

from __future__ import annotations

from pathlib import Path

from molex_adapt.data import manifest, protocols
from molex_adapt.data.containers import AUDIO_SUFFIXES
from molex_adapt.data.folder import find_audio, read_folder
from molex_adapt.data.formats import FORMATS
from molex_adapt.data.labels import label_of, nearest_label
from molex_adapt.data.manifest import exists, read_manifest
from molex_adapt.data.protocols import find_protocols, is_protocol, read_protocols
from molex_adapt.data.table import Table, Utterance
from molex_adapt.errors import DataError

MANIFEST_NAMES = tuple(f"manifest{suffix}" for suffix in FORMATS)


def read(data: Path | str, *, key: Path | str | None = None) -> Table:
    """Read labelled speech in any form that the package knows.

    Args:
        data: a folder with `bonafide/` and `spoof/<attack>/`; a folder with manifest.csv, .tsv, .jsonl or
            .parquet; such a manifest under any name; the root of an ASVspoof 2019 LA or ASVspoof 5 tree; or
            one of their protocol files.
        key: a manifest or protocol file that lies elsewhere; `data` is then the folder its audio is in.

    Returns:
        The table. No audio is opened: files that cannot be used are found by `audit`. A table may have one
        class only; who needs both asks `Table.require_both_classes`.

    Raises:
        DataError: nothing of the kind is there, with what was looked for; or it has faults, with where.
    """
    folder = Path(data).expanduser()
    if key is not None:
        return _read_key(Path(key).expanduser(), folder)
    if not exists(folder):
        raise DataError(
            f"{data} does not exist. Expected a folder, a manifest or a protocol file. Check the path."
        )
    if not folder.is_dir():
        return _read_file(folder, None)
    try:
        folders = [item.name for item in folder.iterdir() if item.is_dir()]
    except OSError as error:
        raise DataError(f"{data} cannot be listed ({error.strerror}). Check its permissions.") from error
    manifests = [folder / name for name in MANIFEST_NAMES if (folder / name).is_file()]
    if len(manifests) > 1:
        names = ", ".join(path.name for path in manifests)
        raise DataError(f"{folder} holds several manifests ({names}). Expected one. Name the one you mean.")
    if manifests:
        return read_manifest(manifests[0])
    protocols = find_protocols(folder)
    if protocols:
        return read_protocols(protocols, root=folder)
    if any(label_of(name) or nearest_label(name, 0.75) for name in folders):
        return read_folder(folder)
    raise DataError(_nothing(folder))


def read_listed(key: Path) -> list[Utterance]:
    """What a manifest or protocol file says of recordings that need not be there.

    Raises:
        DataError: it is neither, or has faults.
    """
    if key.suffix.lower() not in (".parquet", ".jsonl") and is_protocol(key):
        return protocols.read_listed(key)
    if key.suffix.lower() in FORMATS:
        return manifest.read_listed(key)
    raise DataError(_neither(key))


def is_unlabelled(data: Path | str) -> bool:
    """Whether it is a folder of recordings that says nothing of their labels: no classes, manifest or protocol."""
    folder = Path(data).expanduser()
    if not folder.is_dir():
        return False
    names = [item.name for item in folder.iterdir() if item.is_dir()]
    labelled = any(label_of(name) or nearest_label(name, 0.75) for name in names)
    if labelled or any((folder / name).exists() for name in MANIFEST_NAMES) or find_protocols(folder):
        return False
    return bool(find_audio(folder))


def _read_key(key: Path, folder: Path) -> Table:
    if not key.is_file():
        raise DataError(
            f"The key {key} is not a file. Expected a manifest or a protocol file. Check the path."
        )
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder. With a key, expected the folder its audio is in. Check the path."
        )
    return _read_file(key, folder)


def _read_file(path: Path, audio_root: Path | None) -> Table:
    suffix = path.suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        raise DataError(
            f"{path} is one recording. Expected a data set: a folder with bonafide/ and spoof/, or a manifest. To "
            "score a recording, use: molex-adapt score."
        )
    if suffix not in (".parquet", ".jsonl") and is_protocol(path):
        return read_protocols([path], root=path, audio_root=audio_root)
    if suffix in FORMATS:
        return read_manifest(path, audio_root=audio_root)
    raise DataError(_neither(path))


def _neither(path: Path) -> str:
    return (
        f"{path} is neither a manifest ({', '.join(FORMATS)}) nor an ASVspoof protocol (5 columns as in 2019 LA, 10 as "
        "in ASVspoof 5, with bonafide or spoof in the key column). Give it such a form, or name a folder; unpack "
        "archives."
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
        "ASVspoof2019.LA.cm.*.txt and ASVspoof5.*.tsv, here, in LA/ and in their protocol folders. Move the "
        "recordings into class folders, or write a manifest with path and label."
    )
