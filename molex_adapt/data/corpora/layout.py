"""What the protocols of a corpus look like, and where they and the audio lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from molex_adapt.conventions import BONA_FIDE, SPOOF, Split
from molex_adapt.data.corpora.corpus import PartListing


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a corpus's protocols, and the folders of its audio."""

    name: str
    files: Mapping[str, Split]
    """Protocol files by name, with the split that each lists."""
    folders: tuple[str, ...]
    """Where, below the tree's root, the protocol files may be."""
    audio: Mapping[Split, tuple[str, ...]]
    """Where, below the tree's root, the audio of a split may be; with `*`, all folders that match hold a part of it."""
    columns: tuple[str, ...]
    suffix: str = ".flac"
    none: tuple[str, ...] = ()
    """How the codec of a recording that went through none is written, beside an absent cell."""
    above: int = 2
    """How many folders above a protocol file the tree's root may be."""
    parts: Mapping[Split, str] = field(
        default_factory=lambda: {"train": "train", "dev": "dev", "test": "eval"}
    )
    complete: Callable[[PartListing, Sequence[Path]], None] | None = None
    """Adds to a listing what else is said of its recordings below the folders that may be the tree's root."""

    def find(self, root: Path) -> tuple[Path, ...]:
        """The protocol files below a root, in the order train, dev, eval: all of one folder."""
        for folder in self.folders:
            for place in sorted(root.glob(folder)) if "*" in folder else [root / folder]:
                found = [place / name for name in self.files if (place / name).is_file()]
                if found := [path for path in found if self.fits(path)]:
                    return tuple(found)
        return ()

    def fits(self, path: Path) -> bool:
        """Whether a file of one of the names is such a protocol; other corpora may use the same name."""
        return len(self.files) > 1 or self.has_columns(first_fields(path))

    def has_columns(self, fields: Sequence[str]) -> bool:
        """Whether these may be the fields of a line."""
        return len(fields) == len(self.columns) and fields[self.columns.index("key")] in (BONA_FIDE, SPOOF)


def first_fields(path: Path) -> list[str]:
    """The fields of a text file's first line; none where it is no text."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
        line = head.decode("utf-16", "ignore") if wide else head.partition(b"\n")[0].decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    return line.partition("\n")[0].split()
