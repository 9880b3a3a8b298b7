"""Where everything lies that can be made again: prefix features of recordings, and packed experts.

`MOLEX_CACHE` names another folder, or "off".
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from molex_adapt.atomic import PREFIX

FOLDER = "MOLEX_CACHE"


def cache_root(stated: Path | str | None = None) -> Path | None:
    """The folder that is stated, else what the environment says; None where it is switched off."""
    folder = os.environ.get(FOLDER) if stated is None else str(stated)
    if folder is not None and folder.lower() in ("", "off", "0"):
        return None
    return Path(folder) if folder else Path(platformdirs.user_cache_path("molex-adapt"))


def is_ours(path: Path) -> bool:
    """Whether a file may be deleted: a digest names it, or one and what else is kept of the same, or a write left it.

    What else is a number, or `states-` and a type. MOLEX_CACHE may name a folder that holds other things too.
    """
    return (
        path.name.startswith(PREFIX)
        or re.fullmatch(r"[0-9a-f]{64}(\.\d+|\.states-\w+)?", path.stem) is not None
    )


def packed_files() -> list[Path]:
    """Every file of packed experts, in no order."""
    root = cache_root()
    found = [] if root is None else (root / "experts").glob("*.safetensors")
    return [path for path in found if is_ours(path)]


def packed_path(digest: str) -> Path | None:
    """Where the packed experts of that digest lie; None without a cache."""
    root = cache_root()
    return None if root is None else root / "experts" / f"{digest}.safetensors"
