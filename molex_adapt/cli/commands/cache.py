"""Commands that look after the cache of prefix features. None loads a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from molex_adapt.cli.options import Json
from molex_adapt.cli.output import Answer, emit
from molex_adapt.cli.tables import pairs

if TYPE_CHECKING:
    from molex_adapt.prefix_cache import CacheInfo

cache = typer.Typer(
    help="Look after the features that training keeps on disk.\n\n"
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
    from molex_adapt.prefix_cache import PrefixCache

    found = PrefixCache.standard().info()
    emit(Answer(_data(found), [pairs("Cache of prefix features", _rows(found))]), as_json=as_json)


@cache.command()
def clear(as_json: Json = False) -> None:
    """Delete everything in the cache; it fills again when it is needed.

    [bold]Example[/bold]

      molex-adapt cache clear
    """
    from molex_adapt.prefix_cache import PrefixCache

    cleared = PrefixCache.standard().clear()
    emit(Answer(_data(cleared), [pairs("Deleted", _rows(cleared))]), as_json=as_json)


def _data(info: CacheInfo) -> dict[str, Any]:
    folder = None if info.folder is None else str(info.folder)
    return {"folder": folder, "recordings": info.recordings, "bytes": info.bytes, "limit": info.limit}


def _rows(info: CacheInfo) -> dict[str, str]:
    return {
        "folder": "switched off" if info.folder is None else str(info.folder),
        "recordings": f"{info.recordings:,}",
        "size": f"{info.bytes / 2**20:,.1f} MiB of at most {info.limit / 2**30:,.1f} GiB",
    }
