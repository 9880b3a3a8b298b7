"""Commands that look at data sets. None loads a model."""

from __future__ import annotations

import typer

from molex_adapt.cli.data_view import check_view, corpora_view
from molex_adapt.cli.options import Json, LabelledData, Quiet
from molex_adapt.cli.output import Answer, emit

data = typer.Typer(
    help="See what is recognised in a data set, and which published corpora are known.\n\n"
    "[bold]Example[/bold]\n\n  molex-adapt data check ASVspoof5/",
    no_args_is_help=True,
)


@data.command()
def check(
    path: LabelledData,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what was recognised: corpus, parts, attacks, conditions, speakers, faults.

    No audio is opened. Recordings that are not there, ids that are listed
    twice, labels that contradict or name no class, and a list of nothing are
    told with file and line; any of these makes the exit status 1.

    [bold]Examples[/bold]

      molex-adapt data check ASVspoof5/
      molex-adapt data check release_in_the_wild/ --json
      molex-adapt data check "ASVspoof2021/#eval"
    """
    from molex_adapt.data.check import check as look

    found = look(path)
    emit(Answer(found.as_dict(), check_view(found), found.remarks, ok=found.ok), as_json=as_json, quiet=quiet)


@data.command()
def corpora(as_json: Json = False) -> None:
    """List the published corpora that are known: where to get each, and its licence.

    [bold]Example[/bold]

      molex-adapt data corpora
    """
    from molex_adapt.data.corpora import CORPORA

    told = [
        {
            "name": item.name,
            "home": item.home,
            "licence": item.licence,
            "citation": item.citation,
            "note": item.note,
        }
        for item in CORPORA
    ]
    emit(Answer({"corpora": told}, corpora_view(CORPORA)), as_json=as_json)
