"""What is kept on disk to be faster, and can be made again: features of recordings, and packed experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from molex_adapt.cache import packed_files
from molex_adapt.prefix_cache import CacheInfo, PrefixCache


@dataclass(frozen=True)
class CacheReport:
    """What the cache holds: features, and files of packed experts with their bytes."""

    features: CacheInfo
    packed: int
    packed_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        folder = self.features.folder
        return {
            "folder": None if folder is None else str(folder),
            "recordings": self.features.recordings,
            "bytes": self.features.bytes,
            "limit": self.features.limit,
            "packed": self.packed,
            "packed_bytes": self.packed_bytes,
        }


def cache_report() -> CacheReport:
    """How much there is, and where.

    Raises:
        RecipeError: MOLEX_CACHE_GIB is not a size.
    """
    packed = [path.stat().st_size for path in packed_files()]
    return CacheReport(PrefixCache.standard().info(), len(packed), sum(packed))


def clear_cache() -> CacheReport:
    """Delete everything in it; returns what there was."""
    found = cache_report()
    PrefixCache.standard().clear()
    for path in packed_files():
        path.unlink(missing_ok=True)
    return found
