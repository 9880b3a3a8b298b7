"""Prefix features on disk: what no expert changes is computed once per recording and base.

A file per recording, named by the hash of the recording's bytes, the base and the preparation, and files beside it of
what a readout reads (`features.extract`, `features.states`); written aside and renamed, so that processes may share the
folder and a kill leaves nothing half-written. The oldest files go when the folder outgrows its limit. `MOLEX_CACHE`
names another folder, or "off"; `MOLEX_CACHE_GIB` another limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from molex_adapt.atomic import replacing
from molex_adapt.cache import cache_root, is_ours, packed_files
from molex_adapt.conventions import Seconds
from molex_adapt.digest import sha256_of_file
from molex_adapt.errors import DataError, RecipeError

if TYPE_CHECKING:
    from molex_adapt.base import Base

LIMIT = "MOLEX_CACHE_GIB"
DEFAULT_GIB = 20.0
_FORMAT = "3"


@dataclass(frozen=True)
class CacheInfo:
    """What a cache holds; `folder` is None where it is switched off."""

    folder: Path | None
    recordings: int
    bytes: int
    limit: int


@dataclass(frozen=True)
class CacheReport:
    """What is kept on disk to be faster: features, and files of packed experts with their bytes."""

    features: CacheInfo
    packed: int
    packed_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        folder = self.features.folder
        held = asdict(self.features) | {"folder": None if folder is None else str(folder)}
        return held | {"packed": self.packed, "packed_bytes": self.packed_bytes}


class PrefixCache:
    """Features by key; every method is safe beside other processes, and a missing or damaged file is a miss."""

    def __init__(self, folder: Path | None, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    @classmethod
    def standard(cls, folder: Path | str | None = None) -> PrefixCache:
        """In that folder, else where the environment says, else in the user's cache folder.

        Raises:
            RecipeError: the limit is not a number of GiB.
        """
        stated = os.environ.get(LIMIT, str(DEFAULT_GIB))
        try:
            limit = int(float(stated) * 2**30)
        except (ValueError, OverflowError):
            limit = -1
        if limit < 0:
            raise RecipeError(f"{LIMIT}={stated!r} is not a size; give a number of GiB, e.g. {LIMIT}=20")
        root = cache_root(folder)
        return cls(None if root is None else root / "prefix", limit)

    def key(self, recording: Path, base: Base, window: Seconds) -> str | None:
        """The name of a recording's features; None without a cache, and for what cannot be read."""
        if self.folder is None:
            return None
        try:
            return sha256_of_file(recording, f"{_FORMAT} {base.identity.sha256} {window:g} ")
        except OSError:
            return None

    def load(self, key: str, width: int, mapped: bool = False) -> NDArray[np.float16] | None:
        """(F, width) float16, memory-mapped if so wanted; None where there is nothing usable."""
        path = self._path(key)
        try:
            values: NDArray[np.float16] = np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)
            if values.ndim != 2 or values.shape[1] != width or values.dtype != np.float16:
                raise ValueError
        except OSError:
            return None
        except (ValueError, EOFError):
            _delete(path)
            return None
        with suppress(OSError):  # a cache that may only be read serves as well
            os.utime(path)
        return values

    def store(self, key: str, features: NDArray[np.float16]) -> None:
        """Keep (F, C) float16; a full disk or a folder that cannot be written only means that nothing is kept."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, durable=False) as staged:
                np.save(staged, features)
        except OSError:
            return

    def takes(self, size: int) -> bool:
        """Whether a set of `size` bytes can stay here as long as it is worked on."""
        return self.folder is not None and size <= self.limit

    def holds(self, key: str) -> bool:
        """Whether there is a file of that key."""
        return self._path(key).exists()

    def trim(self) -> None:
        """Delete what was used least recently, until the limit holds; what may not be deleted stays."""
        found = sorted(self._files(), key=lambda item: item[1].st_mtime)
        excess = sum(stat.st_size for _, stat in found) - self.limit
        for path, stat in found:
            if excess <= 0:
                break
            if _delete(path):
                excess -= stat.st_size

    def info(self) -> CacheInfo:
        """How much there is."""
        found = list(self._files())
        recordings = sum(
            "." not in path.stem for path, _ in found
        )  # what else is kept of one is named after it
        return CacheInfo(self.folder, recordings, sum(stat.st_size for _, stat in found), self.limit)

    def clear(self) -> list[Path]:
        """Delete everything; returns what may not be deleted."""
        return [path for path, _ in self._files() if not _delete(path)]

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.npy"

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        found = self.folder.glob("??/*.npy") if self.folder is not None else ()
        return _standing(path for path in found if is_ours(path))


def _standing(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Those that are still there."""
    for path in paths:
        with suppress(OSError):  # another process was faster
            yield path, path.stat()


def cache_report() -> CacheReport:
    """How much there is, and where.

    Raises:
        RecipeError: MOLEX_CACHE_GIB is not a size.
    """
    packed = [about.st_size for _, about in _standing(packed_files())]
    return CacheReport(PrefixCache.standard().info(), len(packed), sum(packed))


def clear_cache() -> CacheReport:
    """Delete everything in it; returns what there was.

    Raises:
        DataError: a file may not be deleted; the others are gone.
        RecipeError: MOLEX_CACHE_GIB is not a size.
    """
    found = cache_report()
    left = [*PrefixCache.standard().clear(), *(path for path in packed_files() if not _delete(path))]
    if left:
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        raise DataError(
            f"{left[0]} cannot be deleted{more}. Expected a cache that you may write to. Change the rights of its "
            "folders, or name another cache by MOLEX_CACHE."
        )
    return found


def _delete(path: Path) -> bool:
    """Delete a file where that is allowed; whether it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
