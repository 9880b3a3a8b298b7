"""The command that measures: evaluate."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from molex_adapt.cli.evaluation_view import evaluation_tables
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
from molex_adapt.errors import MolexError
from molex_adapt.processes import is_first

if TYPE_CHECKING:
    from molex_adapt.reports import EvaluationReport
    from molex_adapt.trialfile import Trials

Split = Annotated[
    Literal["train", "dev", "test"] | None,
    typer.Option("--split", help="Only this part of the data; without it, all of it.", show_default=False),
]


def evaluate(
    data: Annotated[Path | None, typer.Argument(metavar="DATA", help=DATA_HELP, show_default=False)] = None,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", metavar="FILE", help="Evaluate a score file instead.", show_default=False),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            metavar="FILE",
            help="The truth to --scores: key, protocol, manifest.",
            show_default=False,
        ),
    ] = None,
    split: Split = None,
    ties: Annotated[
        Literal["asvspoof5", "step"],
        typer.Option(
            "--ties",
            help="Equal scores count one by one, as in the ASVspoof 5 package, or together, as a threshold takes them.",
        ),
    ] = "asvspoof5",
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="SCORE",
            help="With --scores: count bona fide speech below it as refused. DATA has the registry's.",
            show_default=False,
        ),
    ] = None,
    negate: Annotated[
        bool,
        typer.Option(
            "--negate", help="With --scores: turn the sign of scores of which lower means bona fide."
        ),
    ] = False,
    asv: Annotated[
        Path | None,
        typer.Option(
            "--asv",
            metavar="FILE",
            help="Trials of speaker verification, for a-DCF, t-DCF and t-EER.",
            show_default=False,
        ),
    ] = None,
    asv_key: Annotated[
        Path | None,
        typer.Option(
            "--asv-key",
            metavar="FILE",
            help="Which trials are target, nontarget, spoof, where --asv does not say.",
            show_default=False,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            "--plots",
            metavar="DIR",
            help="Write DET and calibration plots as PNG, SVG and CSV (extra report).",
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
    """EER, minDCF, actDCF and Cllr with intervals, per attack and per condition.

    A condition is what a recording went through, such as a codec; the EER of each
    attack in each condition, and the bona fide speech that is refused there, stand
    apart. With --asv also a-DCF, t-DCF and t-EER, per attack and condition too.

    [bold]Examples[/bold]

      molex-adapt evaluate data/ --split test
      molex-adapt evaluate --scores scores.tsv --key key.tsv --json
      molex-adapt evaluate --scores s.tsv --key k.tsv --asv asv.txt --plots out/
    """
    if data is None and not is_first():  # nothing to divide
        return
    if threshold is not None and not math.isfinite(threshold):
        raise typer.BadParameter("--threshold is a number that scores can reach")
    if data is not None and scores is None and key is None:
        if threshold is not None:
            raise typer.BadParameter("--threshold goes with --scores; DATA is measured at the registry's own")
        if negate:
            raise typer.BadParameter(
                "--negate goes with --scores; the registry's own scores are never upside down"
            )
        from molex_adapt.api import Registry

        trials = _prepared(plots, asv, asv_key, [data])
        with running(quiet, device=device, precision=precision, workers=workers) as run:
            report = Registry.open(registry).evaluate(
                data, split=split, ties=ties, trials=trials, curves=plots is not None, run=run
            )
    elif data is None and scores is not None and key is not None:
        if split is not None:
            raise typer.BadParameter("--split divides DATA; a score file is evaluated whole")
        if device != "auto" or precision is not None or workers is not None:
            raise typer.BadParameter(
                "--device, --precision and --workers go with DATA; a score file needs no detector"
            )
        from molex_adapt.evaluation import evaluate_files

        trials = _prepared(plots, asv, asv_key, [scores, key])
        report = evaluate_files(
            scores,
            key,
            ties=ties,
            threshold=threshold,
            negate=negate,
            trials=trials,
            curves=plots is not None,
        )
    else:
        raise typer.BadParameter("give either DATA, or both --scores and --key")
    answer = Answer(report.as_dict(), evaluation_tables(report), report.remarks, failed=broken(report.failed))
    if plots is not None and is_first():
        answer = _drawn(answer, report, plots)
    emit(answer, as_json=as_json, quiet=quiet, allow_failures=allow_failures)


def _prepared(
    plots: Path | None, asv: Path | None, asv_key: Path | None, inputs: list[Path]
) -> Trials | None:
    """The trials, and the place of the plots looked at, before any work."""
    if asv is None and asv_key is not None:
        raise typer.BadParameter("--asv-key labels the trials of --asv")
    if plots is not None:
        from molex_adapt.plots import check_plots_folder

        check_plots_folder(plots, [item for item in (*inputs, asv, asv_key) if item is not None])
    if asv is None:
        return None
    from molex_adapt.trialfile import read_trials

    return read_trials(asv, asv_key)


def _drawn(answer: Answer, report: EvaluationReport, plots: Path) -> Answer:
    """The answer after the plots are written; where that fails, the figures are not lost with them."""
    from molex_adapt.plots import write_plots

    try:
        write_plots(report, plots)
    except MolexError as error:
        return replace(answer, fault=error)
    return replace(answer, view=[*answer.view, f"Plots written to {plots}"])
