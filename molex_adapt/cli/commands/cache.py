"""Commands that look after what is kept on disk and can be made again. None loads a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from molex_adapt.cli.options import Json
from molex_adapt.cli.output import Answer, emit
from molex_adapt.cli.tables import pairs

if TYPE_CHECKING:
    from molex_adapt.prefix_cache import CacheInfo

cache = typer.Typer(
    help="Look after what is kept on disk to be faster: features of recordings, and packed experts.\n\n"
    "MOLEX_CACHE names another folder, or off; MOLEX_CACHE_GIB another limit than 20.\n\n"
    "[bold]Example[/bold]\n\n  molex-adapt cache info",
    no_args_is_help=True,
)


@cache.command()
def info(as_json: Json = False) -> None:
    """Show where the cache is, and how much is in it.

    [bold]Example[/bold]

      molex-adapt cache info
    """
    emit(_answer("Cache", *_found()), as_json=as_json)


@cache.command()
def clear(as_json: Json = False) -> None:
    """Delete everything in the cache; it fills again when it is needed.

    [bold]Example[/bold]

      molex-adapt cache clear
    """
    from molex_adapt.cache import packed_files
    from molex_adapt.prefix_cache import PrefixCache

    found = _found()
    PrefixCache.standard().clear()
    for path in packed_files():
        path.unlink(missing_ok=True)
    emit(_answer("Deleted", *found), as_json=as_json)


def _found() -> tuple[CacheInfo, list[int]]:
    """What there is, and the sizes of the packed files."""
    from molex_adapt.cache import packed_files
    from molex_adapt.prefix_cache import PrefixCache

    return PrefixCache.standard().info(), [path.stat().st_size for path in packed_files()]


def _answer(title: str, info: CacheInfo, packed: list[int]) -> Answer:
    data: dict[str, Any] = {
        "folder": None if info.folder is None else str(info.folder),
        "recordings": info.recordings,
        "bytes": info.bytes,
        "limit": info.limit,
        "packed": len(packed),
        "packed_bytes": sum(packed),
    }
    rows = {
        "folder": data["folder"] or "switched off",
        "recordings": f"{info.recordings:,}",
        "size": f"{info.bytes / 2**20:,.1f} MiB of at most {info.limit / 2**30:,.1f} GiB",
        "packed experts": f"{len(packed):,} registries or generations, {sum(packed) / 2**20:,.1f} MiB",
    }
    return Answer(data, [pairs(title, rows)])
