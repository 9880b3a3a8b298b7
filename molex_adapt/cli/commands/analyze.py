"""The command that explains: analyze."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from molex_adapt.cli.analysis_view import analysis_view
from molex_adapt.cli.handover_view import handover_view
from molex_adapt.cli.novelty_view import novelty_view
from molex_adapt.cli.options import (
    DATA_HELP,
    DEFAULT_REGISTRY,
    AllowFailures,
    Device,
    Json,
    Precision,
    Quiet,
    RegistryFolder,
    Workers,
    running,
)
from molex_adapt.cli.output import Answer, broken, emit
from molex_adapt.cli.timeline_view import timeline_view
from molex_adapt.processes import by_itself, is_first

if TYPE_CHECKING:
    from molex_adapt.api import Registry
    from molex_adapt.run import Run


def analyze(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help=f"{DATA_HELP} Or one recording, or a folder without labels. Without it, what the registry keeps of "
            "its domains: exemplars, or routing statistics.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write report.html, and every figure and number as files.",
            show_default=False,
        ),
    ] = None,
    ablate: Annotated[
        bool | None,
        typer.Option(
            "--ablate/--no-ablate",
            help="Switch each expert off too, on up to 40 recordings an attack: what is it worth? On with DATA and "
            "--out.",
            show_default=False,
        ),
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(
            "--known",
            metavar="DATA",
            help="With recordings without labels: labelled ones of known domains, instead of the experts' exemplars.",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        int | None,
        typer.Option(
            "--compare",
            metavar="GENERATION",
            min=1,
            help="Set another generation beside the active one: what did its experts take over?",
            show_default=False,
        ),
    ] = None,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    device: Device = "auto",
    precision: Precision = None,
    workers: Workers = None,
    allow_failures: AllowFailures = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show which experts act for which attack, and what they are worth.

    [bold]Examples[/bold]

      molex-adapt analyze
      molex-adapt analyze data/ --ablate
      molex-adapt analyze data/ --out report/
      molex-adapt analyze call.wav
      molex-adapt analyze unknown/
      molex-adapt analyze data/ --compare 1
      molex-adapt analyze data/ --json > routing.json
    """
    from molex_adapt.api import Registry

    kind = _kind_of(data, compare, known)
    if kind != "labelled" and (out is not None or ablate):
        raise typer.BadParameter(
            "--out and --ablate go with labelled DATA, and neither --compare nor --known"
        )
    if data is None and ablate:
        raise typer.BadParameter("--ablate goes with labelled DATA; name it, or leave --ablate out")
    if compare is not None and known is not None:
        raise typer.BadParameter("--known goes with recordings without labels, not with --compare")
    divides = data is not None and kind != "recording"
    if not divides and not is_first():
        return
    if out is not None:
        from molex_adapt.api import check_report_folder  # loads torch; without data, nothing here needs it

        check_report_folder(out, [] if data is None else [data])
    opened = Registry.open(registry)
    with (
        nullcontext() if divides else by_itself(),
        running(quiet, device=device, precision=precision, workers=workers) as run,
    ):
        if compare is not None:
            answer = _compared(opened, compare, data, run)
        elif data is not None and kind == "unlabelled":
            answer = _new(opened, data, known, run)
        elif data is not None and kind == "recording":
            answer = _over_time(opened, data, run)
        else:
            answer = _analysed(opened, data, out, out is not None if ablate is None else ablate, run)
    emit(answer, as_json=as_json, quiet=quiet, allow_failures=allow_failures)


def _kind_of(
    data: Path | None, compare: int | None, known: Path | None
) -> Literal["compared", "labelled", "unlabelled", "recording"]:
    from molex_adapt.data.containers import AUDIO_SUFFIXES
    from molex_adapt.data.read import is_unlabelled
    from molex_adapt.data.sniff import holds_audio

    if compare is not None:
        return "compared"
    if data is None:
        return "labelled"
    if known is not None or is_unlabelled(data):
        return "unlabelled"
    heard = data.is_file() and (data.suffix.lower() in AUDIO_SUFFIXES or holds_audio(data))
    return "recording" if heard else "labelled"


def _analysed(registry: Registry, data: Path | None, out: Path | None, ablate: bool, run: Run) -> Answer:
    report = registry.analyze(data, ablate=ablate, run=run)
    view = analysis_view(report)
    if out is not None and is_first():
        run.progress.start("report", 1)
        registry.write_report(report, out)
        run.progress.stop()
        view.append(Text(f"Page: {out / 'report.html'}"))
    return Answer(report.as_dict(), view, report.remarks, failed=broken(report.failed))


def _compared(registry: Registry, other: int, data: Path | None, run: Run) -> Answer:
    report = registry.compare(other, data, run=run)
    return Answer(report.as_dict(), handover_view(report), report.remarks, failed=broken(report.failed))


def _new(registry: Registry, data: Path, known: Path | None, run: Run) -> Answer:
    report = registry.novelty(data, known=known, run=run)
    return Answer(report.as_dict(), novelty_view(report), failed=broken(report.failed))


def _over_time(registry: Registry, data: Path, run: Run) -> Answer:
    report = registry.timeline(data, run=run)
    return Answer(report.as_dict(), timeline_view(report))
