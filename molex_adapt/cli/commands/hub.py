"""Commands that exchange experts with the Hugging Face Hub: push, pull, outdated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from molex_adapt.cli.options import DEFAULT_REGISTRY, Device, Json, Quiet, RegistryFolder, running
from molex_adapt.cli.output import Answer, emit
from molex_adapt.cli.tables import comparison_table, pairs, plain_table

_HUB = "The Hub"

TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="Holds the token; without it HF_TOKEN, or what `hf auth login` left.",
        show_default=False,
        rich_help_panel=_HUB,
    ),
]


def push(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Of the expert; left out with --mixture.", show_default=False),
    ],
    repository: Annotated[
        str | None, typer.Argument(metavar="ORG/REPO", help="Made where it is missing.", show_default=False)
    ] = None,
    mixture: Annotated[
        bool, typer.Option("--mixture", help="The whole active generation, instead of one expert.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private.", rich_help_panel=_HUB)
    ] = False,
    revision: Annotated[
        str | None,
        typer.Option(
            metavar="BRANCH",
            help="Another branch than the default one; made where it is missing.",
            show_default=False,
            rich_help_panel=_HUB,
        ),
    ] = None,
    exemplars: Annotated[
        bool,
        typer.Option(
            "--exemplars/--no-exemplars",
            help="Whether features of recordings travel along, and fingerprints of those that were heard.",
        ),
    ] = True,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Put the expert in the place of another one, which stays in the history."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list files and sizes; the Hub is not asked.")
    ] = False,
    token_file: TokenFile = None,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Upload an expert as a repository that stock PEFT loads, or the mixture.

    One commit; repeated, it uploads only what has changed. HF_ENDPOINT names
    another Hub than the public one.

    [bold]Examples[/bold]

      molex-adapt push codec_x lab/codec_x --private
      molex-adapt push codec_x lab/codec_x --dry-run
      molex-adapt push --mixture lab/detector
    """
    if mixture and repository is not None:
        raise typer.BadParameter("--mixture takes ORG/REPO alone: the whole generation goes there")
    if not mixture and repository is None:
        raise typer.BadParameter("name the expert and ORG/REPO; or --mixture and ORG/REPO")
    if mixture and replace:
        raise typer.BadParameter("--replace is for one expert: a mixture takes the place of the former one")
    from molex_adapt.api import Registry, read_token

    token = read_token(token_file)
    with running(quiet) as run:
        report = Registry.open(registry).hub.push(
            None if mixture else name,
            repository or name,
            private=private,
            revision=revision,
            token=token,
            exemplars=exemplars,
            dry_run=dry_run,
            replace=replace,
            run=run,
        )
    rows = [(path, _bytes(size)) for path, size in sorted(report.files.items())]
    what = "would go to" if dry_run else "are in"
    title = f"{len(rows)} files, {_bytes(sum(report.files.values()))}, {what} {report.repository}"
    view: list[Any] = [plain_table(title, ("file", "size"), rows)]
    if report.commit is not None:
        view.append(f"{'Commit' if report.changed else 'Nothing had changed; commit'} {report.commit}")
    # Those of a push were told before anything left.
    told = report.remarks if dry_run else ()
    emit(Answer(report.as_dict(), view, told), as_json=as_json, quiet=quiet)


def pull(
    reference: Annotated[
        str,
        typer.Argument(metavar="ORG/REPO[@REV]", help="REV: a branch, tag or commit.", show_default=False),
    ],
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="What to call the expert here.", show_default=False),
    ] = None,
    mixture: Annotated[
        bool, typer.Option("--mixture", help="A whole generation, into a new registry.")
    ] = False,
    assume_base: Annotated[
        bool,
        typer.Option("--assume-base", help="Take a stock adapter for one of this base, whatever it says."),
    ] = False,
    skip_pickled: Annotated[
        bool,
        typer.Option(
            "--skip-pickled", help="Leave .bin, .pt and .pkl files there, instead of refusing it all."
        ),
    ] = False,
    token_file: TokenFile = None,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add an expert from the Hub, working at once, or restore a whole mixture.

    Everything is checked first: base, shapes, hashes, values. Domains of which
    check exemplars are kept are measured before and after; if an old one suffers
    beyond the recipe's tolerance, the new generation is kept but not activated,
    and the exit status is 1. A stock PEFT LoRA can be pulled too, if it fits the base.

    [bold]Examples[/bold]

      molex-adapt pull lab/codec_x
      molex-adapt pull lab/codec_x@v2 --as codec_x2
      molex-adapt pull --mixture lab/detector --registry new/
    """
    if mixture and (name is not None or assume_base):
        raise typer.BadParameter(
            "--mixture brings its own experts: --as and --assume-base are for one expert"
        )
    from molex_adapt.api import Registry, read_token

    token = read_token(token_file)
    if mixture:
        with running(quiet, device=device) as run:
            made = Registry.pull_mixture(reference, registry, token=token, skip_pickled=skip_pickled, run=run)
        record = made.store.generation()
        origin = record.origin
        data = {
            "registry": str(registry),
            "repository": origin.repository if origin is not None else None,
            "commit": origin.commit if origin is not None else None,
            "generation": record.number,
            "experts": record.names,
        }
        view = pairs(
            f"Registry {registry}",
            {"from": f"{data['repository']} at {data['commit']}", "experts": ", ".join(record.names)},
        )
        emit(Answer(data, [view]), as_json=as_json, quiet=quiet)
        return
    with running(quiet, device=device) as run:
        report = Registry.open(registry).pull(
            reference, name=name, token=token, skip_pickled=skip_pickled, assume_base=assume_base, run=run
        )
    kept = f"generation {report.generation} is active" if report.activated else None
    answer = Answer(report.as_dict(), _pull_view(report), report.remarks, ok=report.activated, kept=kept)
    emit(answer, as_json=as_json, quiet=quiet)


def outdated(
    token_file: TokenFile = None, registry: RegistryFolder = DEFAULT_REGISTRY, as_json: Json = False
) -> None:
    """Show which pulled experts have newer revisions on the Hub.

    [bold]Example[/bold]

      molex-adapt outdated
    """
    from molex_adapt.api import Registry, read_token

    found = Registry.open(registry).hub.outdated(token=read_token(token_file))
    newer = [item for item in found if item.outdated]
    data = {"outdated": len(newer), "pulled": [item.as_dict() for item in found]}
    rows = [
        (
            item.what,
            item.repository + (f"@{item.revision}" if item.revision else ""),
            item.commit[:7],
            "?" if item.newest is None else item.newest[:7] if item.outdated else "the same",
            (item.modified or "-")[:10],
        )
        for item in found
    ]
    view: list[Any] = ["Nothing in the active generation was pulled from the Hub"]
    if rows:
        view = [plain_table("Pulled from the Hub", ("what", "repository", "here", "there", "changed"), rows)]
    remarks = [item.problem for item in found if item.problem is not None]
    remarks += [
        f"{item.what}: molex-adapt pull {item.repository} --as NEW_NAME takes the newer one beside this one"
        for item in newer
        if item.what != "mixture" and item.another_expert is not False
    ]
    remarks += [
        f"{item.what}: the same expert is there, beside what else was changed; there is nothing to pull"
        for item in newer
        if item.another_expert is False
    ]
    emit(Answer(data, view, remarks, ok=not any(item.problem for item in found)), as_json=as_json)


def _pull_view(report: Any) -> list[Any]:
    lines = [
        f"Expert {report.expert} from {report.repository} at {report.commit}: "
        + (
            f"generation {report.generation} is active"
            if report.activated
            else f"refused; generation {report.generation} is kept but not active. molex-adapt rollback "
            f"{report.generation} activates it all the same"
        )
    ]
    lines += report.refused
    if report.not_measured:
        lines.append(
            f"Not measured, no recordings kept: {', '.join(report.not_measured)}. The threshold was not checked there "
            "either: molex-adapt evaluate does both, on recordings of yours"
        )
    if not report.after:
        return lines
    return [*comparison_table(report, report.refused, report.not_measured), *lines]


def _bytes(size: int) -> str:
    return f"{size} B" if size < 10_000 else f"{size / 1e3:.0f} kB" if size < 1e7 else f"{size / 1e6:.1f} MB"
