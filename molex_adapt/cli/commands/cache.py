"""Commands that look after what is kept on disk and can be made again. None loads a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from molex_adapt.cli.options import Json
from molex_adapt.cli.output import Answer, emit
from molex_adapt.cli.tables import pairs

if TYPE_CHECKING:
    from molex_adapt.api import CacheReport

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
    from molex_adapt.api import cache_report

    emit(_answer("Cache", cache_report()), as_json=as_json)


@cache.command()
def clear(as_json: Json = False) -> None:
    """Delete everything in the cache; it fills again when it is needed.

    [bold]Example[/bold]

      molex-adapt cache clear
    """
    from molex_adapt.api import clear_cache

    emit(_answer("Deleted", clear_cache()), as_json=as_json)


def _answer(title: str, found: CacheReport) -> Answer:
    data, features = found.as_dict(), found.features
    rows = {
        "folder": data["folder"] or "switched off",
        "recordings": f"{features.recordings:,}",
        "size": f"{features.bytes / 2**20:,.1f} MiB of at most {features.limit / 2**30:,.1f} GiB",
        "packed experts": f"{found.packed:,} registries or generations, {found.packed_bytes / 2**20:,.1f} MiB",
    }
    return Answer(data, [pairs(title, rows)])
