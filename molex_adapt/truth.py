"""The truth beside a score file: a key of the ASVspoof 5 evaluation, a protocol of ASVspoof, or a manifest."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from molex_adapt.conventions import BONA_FIDE
from molex_adapt.data.corpora import is_protocol
from molex_adapt.data.formats import FORMATS, read_text
from molex_adapt.data.manifest import COLUMNS
from molex_adapt.data.read import read_listed
from molex_adapt.scorefile import FILENAME, LABEL, Key, read_key


def read_truth(path: Path | str) -> Key:
    """Read a key in any form that labelled data may have; no recording needs to be there.

    Raises:
        DataError: it is none of these, or has faults; see `read_key` and `data.read`.
    """
    path = Path(path)
    return _listed(path) if _is_listing(path) else read_key(path)


def _is_listing(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in FORMATS and suffix != ".tsv":
        return True
    first = read_text(path).partition("\n")[0]
    names = {re.sub(r"[\s-]+", "_", name.strip().casefold()) for name in first.split("\t")}
    if {FILENAME, LABEL.replace("-", "_")} <= names:
        return False
    manifest = all(names & set(COLUMNS[name]) for name in ("path", "label"))
    return is_protocol(path) or (suffix == ".tsv" and manifest)


def _listed(path: Path) -> Key:
    items = read_listed(path)
    bare = is_protocol(path) if path.suffix.lower() not in (".parquet", ".jsonl") else False
    return Key(
        tuple(item.path.stem if bare else item.path.as_posix() for item in items),
        np.array([item.label == BONA_FIDE for item in items], dtype=bool),
        {
            "attack": tuple(item.attack or "" for item in items),
            "condition": tuple(item.condition or "" for item in items),
        },
        str(path),
    )
