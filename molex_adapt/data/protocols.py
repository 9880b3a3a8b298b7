"""The ASVspoof 2019 LA and ASVspoof 5 corpora, in the form in which they are distributed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from molex_adapt.conventions import BONA_FIDE, NO_CONDITION, SPOOF, Split
from molex_adapt.data.folder import UNNAMED_ATTACK
from molex_adapt.data.formats import cell, read_text
from molex_adapt.data.labels import label_fault, label_of, split_of
from molex_adapt.data.manifest import require_some_exist
from molex_adapt.data.places import settled
from molex_adapt.data.table import Table, Utterance
from molex_adapt.errors import DataError
from molex_adapt.text import shown


@dataclass(frozen=True, slots=True)
class Layout:
    """The protocol columns of one corpus, counted from 0, and the folders of its audio."""

    name: str
    files: dict[str, Split]
    folders: tuple[str, ...]  # where, below the tree's root, the protocol files may be
    audio: dict[Split, tuple[str, ...]]  # where, below the tree's root, the audio of a split may be
    columns: tuple[str, ...]

    def column(self, name: str) -> int:
        return self.columns.index(name)


ASVSPOOF_2019_LA = Layout(
    name="ASVspoof 2019 LA",
    files={
        "ASVspoof2019.LA.cm.train.trn.txt": "train",
        "ASVspoof2019.LA.cm.dev.trl.txt": "dev",
        "ASVspoof2019.LA.cm.eval.trl.txt": "test",
    },
    folders=("", "ASVspoof2019_LA_cm_protocols", "LA", "LA/ASVspoof2019_LA_cm_protocols", "protocols"),
    audio={
        "train": ("ASVspoof2019_LA_train/flac", "LA/ASVspoof2019_LA_train/flac", "flac", ""),
        "dev": ("ASVspoof2019_LA_dev/flac", "LA/ASVspoof2019_LA_dev/flac", "flac", ""),
        "test": ("ASVspoof2019_LA_eval/flac", "LA/ASVspoof2019_LA_eval/flac", "flac", ""),
    },
    columns=("speaker", "file", "-", "attack", "key"),
)
"""Columns as its README.LA.txt gives them."""

ASVSPOOF_5 = Layout(
    name="ASVspoof 5",
    files={
        "ASVspoof5.train.tsv": "train",
        "ASVspoof5.dev.track_1.tsv": "dev",
        "ASVspoof5.eval.track_1.tsv": "test",
    },
    folders=("", "ASVspoof5_protocols", "protocols"),
    audio={
        "train": ("flac_T", "*/flac_T", ""),
        "dev": ("flac_D", "*/flac_D", ""),
        "test": ("flac_E_eval", "*/flac_E_eval", ""),
    },
    columns=(
        *("speaker", "file", "gender", "codec", "codec_q", "codec_seed"),
        *("attack_tag", "attack", "key", "tmp"),
    ),
)
"""Columns as its README.txt gives them; fields are separated by blanks, whatever the suffix says."""

LAYOUTS = (ASVSPOOF_2019_LA, ASVSPOOF_5)


def find_protocols(root: Path) -> list[Path]:
    """The protocol files of one known data base below `root`, in the order train, dev, test."""
    for layout in LAYOUTS:
        for folder in layout.folders:
            found = [root / folder / name for name in layout.files if (root / folder / name).is_file()]
            if found:
                return found
    return []


def is_protocol(path: Path) -> bool:
    """Whether a text file is a protocol: by its name, or by the columns of its first line."""
    return _layout(path) is not None


def read_protocols(paths: list[Path], *, root: Path, audio_root: Path | None = None) -> Table:
    """Read protocol files of one data base to one table; the eval part is the split "test".

    A source is the file's name or, for a recording that ASVspoof 5 passed through a codec, the name of the
    original; the codec, or "none", is its condition. Recordings that are listed but not there are left for
    the audit to find.

    Args:
        paths: the protocol files.
        root: what the user named, for messages and provenance.
        audio_root: the folder of the audio, or the tree's root, where the protocol does not lie beside it.

    Raises:
        DataError: a line of another shape or with an unknown key (with its number), an empty file, no audio.
    """
    utterances: list[Utterance] = []
    remarks: list[str] = []
    for path in paths:
        layout = _layout(path)
        if layout is None:
            raise DataError(
                f"{path} is no protocol of {' or '.join(item.name for item in LAYOUTS)}. Check the file."
            )
        found, said = _read_protocol(path, layout, audio_root)
        utterances += found
        remarks += said
    return Table(tuple(utterances), str(root), remarks=tuple(remarks))


def read_listed(path: Path) -> list[Utterance]:
    """What one protocol file says of its recordings, whether or not they are there; their paths are bare names.

    Raises:
        DataError: as `read_protocols`, except for audio that is missing.
    """
    layout = _layout(path)
    if layout is None:
        raise DataError(
            f"{path} is no protocol of {' or '.join(item.name for item in LAYOUTS)}. Check the file."
        )
    rows = _rows(path, layout)
    split = _split(path, layout, rows[0][1])
    return [_utterance(path, layout, split, Path(), number, fields) for number, fields in rows]


def _layout(path: Path) -> Layout | None:
    for layout in LAYOUTS:
        if path.name in layout.files:
            return layout
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
        line = head.decode("utf-16", "ignore") if wide else head.partition(b"\n")[0].decode("utf-8-sig")
        fields = line.partition("\n")[0].split()
    except (OSError, UnicodeDecodeError):
        return None
    for layout in LAYOUTS:
        if len(fields) == len(layout.columns) and fields[layout.column("key")] in (BONA_FIDE, SPOOF):
            return layout
    return None


def _read_protocol(path: Path, layout: Layout, audio_root: Path | None) -> tuple[list[Utterance], list[str]]:
    rows = _rows(path, layout)
    split = _split(path, layout, rows[0][1])
    audio = _audio_folder(path, layout, split, audio_root)
    listed = [_utterance(path, layout, split, audio, number, fields) for number, fields in rows]
    utterances, remarks = settled(listed)
    some = utterances[:: max(1, len(utterances) // 50)]
    require_some_exist(path, audio, [item.path for item in some])
    return utterances, remarks


def _rows(path: Path, layout: Layout) -> list[tuple[int, list[str]]]:
    """The fields of every line that is not blank, and its number."""
    rows = [
        (number, line.split()) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()
    ]
    if not rows:
        raise DataError(f"{path} is empty. Expected lines of {' '.join(layout.columns)}. Unpack it again.")
    return rows


def _split(path: Path, layout: Layout, fields: list[str]) -> Split | None:
    """By the organisers' name of the file, else by a word in its name, else by the first recording's name."""
    if path.name in layout.files:
        return layout.files[path.name]
    words = [split_of(word) for word in path.name.split(".")]
    name = fields[min(layout.column("file"), len(fields) - 1)]
    marks: dict[str, Split] = {"T": "train", "D": "dev", "E": "test"}
    return next((word for word in words if word), None) or next(
        (marks[part] for part in name.split("_") if part in marks), None
    )


def _audio_folder(path: Path, layout: Layout, split: Split | None, audio_root: Path | None) -> Path:
    roots = [audio_root] if audio_root is not None else [path.parent, path.parent.parent]
    places = layout.audio[split] if split is not None else ("",)
    for place in places:
        for root in roots:
            found = sorted(root.glob(place)) if "*" in place else [root / place]
            if place and found and found[0].is_dir():
                return found[0]
    if audio_root is not None:
        return audio_root
    raise DataError(
        f"{path} lists recordings of {layout.name}, but their folder is not there. Looked for {places[0]} in "
        f"{' and '.join(map(str, roots))}. Unpack the audio there, or name its folder (data) and this file (key)."
    )


def _utterance(
    path: Path, layout: Layout, split: Split | None, audio: Path, number: int, fields: list[str]
) -> Utterance:
    if len(fields) != len(layout.columns):
        raise DataError(
            f"{path}, line {number}: {len(fields)} columns. {layout.name} has {len(layout.columns)}: "
            f"{' '.join(layout.columns)}. Unpack the protocol again, or mend that line."
        )
    row = {name: cell(value) for name, value in zip(layout.columns, fields, strict=True)}
    key, name = row["key"] or "", row["file"] or ""
    label = label_of(key)
    if label is None:
        raise DataError(f"{path}, line {number}: {label_fault(key)}. Mend that line.")
    if not name:
        raise DataError(f"{path}, line {number}: no file name. Unpack the protocol again, or mend that line.")
    if any(sign in name for sign in "/\\\0"):
        raise DataError(
            f"{path}, line {number}: the file name {shown(name)} leads elsewhere. {layout.name} names files, not "
            "paths. Unpack the protocol again, or mend that line."
        )
    return Utterance(
        path=audio / f"{name}.flac",
        label=label,
        attack=(row["attack"] or UNNAMED_ATTACK) if label == SPOOF else None,
        source=row.get("codec_seed") or name,
        speaker=row["speaker"],
        split=split,
        condition=(row["codec"] or NO_CONDITION) if "codec" in row else None,
    )
