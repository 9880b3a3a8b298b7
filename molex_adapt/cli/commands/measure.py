"""Commands that use the mixture: score, evaluate."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from molex_adapt.cli.commands.train import DATA_HELP
from molex_adapt.cli.evaluation_view import evaluation_tables
from molex_adapt.cli.options import (
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
from molex_adapt.cli.tables import failures, score_table
from molex_adapt.errors import MolexError

if TYPE_CHECKING:
    from molex_adapt.reports import ScoreReport

Split = Annotated[
    Literal["train", "dev", "test"] | None,
    typer.Option("--split", help="Only this part of the data; without it, all of it.", show_default=False),
]


def score(
    audio: Annotated[
        list[Path],
        typer.Argument(metavar="AUDIO", help="Recordings, or folders of them.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write an ASVspoof 5 score file instead of a table.",
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
    """Score recordings of any length and format.

    A score is a log-likelihood ratio in nats; higher is more bona fide.
    Remarks say where a recording lies outside what the detector learnt
    from: hardly any speech, a narrow band, digital silence, clipping, a
    very low level; --json has what was heard in each.

    If a recording cannot be scored, the exit status is 1 after all others
    are. Silence, a dead channel of two, and channels in anti-phase never
    are scored.

    [bold]Examples[/bold]

      molex-adapt score call.wav podcast.mp3
      molex-adapt score recordings/ --out scores.tsv
    """
    from molex_adapt.api import Registry
    from molex_adapt.outputs import check_file
    from molex_adapt.scorefile import SCORE_FILE

    if out is not None:
        check_file(out, SCORE_FILE, audio)
    with running(quiet, device=device, precision=precision, workers=workers) as run:
        report = Registry.open(registry).score(audio, run=run)
    view, failed = score_table(report), broken(report.failed)
    answer = Answer(report.as_dict(), view, report.remarks, ok=bool(report.scores), failed=failed)
    if out is not None and report.scores:
        answer = _written(answer, report, out)
    emit(answer, as_json=as_json, quiet=quiet, allow_failures=allow_failures)


def _written(answer: Answer, report: ScoreReport, out: Path) -> Answer:
    """The answer after the score file is written; where that fails, the table is not lost with it."""
    from molex_adapt.scorefile import line_name, write_scores

    names = [line_name(item.path) for item in report.scores]
    try:
        write_scores(out, names, [item.score for item in report.scores])
    except MolexError as error:
        return replace(answer, fault=error)
    changed = [name for name, item in zip(names, report.scores, strict=True) if name != item.path]
    remarks = [*answer.remarks]
    if changed:
        remarks.append(
            f"names with tabs, line breaks, outer spaces or bytes that are not UTF-8: {len(changed)}; {out} has them "
            f"in Python's notation, such as {changed[0]}"
        )
    view = [f"{len(report.scores)} scores written to {out}", *failures(report.failed)]
    return replace(answer, view=view, remarks=remarks)


def evaluate(
    data: Annotated[Path | None, typer.Argument(metavar="DATA", help=DATA_HELP, show_default=False)] = None,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", metavar="FILE", help="Evaluate a score file instead.", show_default=False),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="The truth to --scores.", show_default=False)
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
    apart.

    [bold]Examples[/bold]

      molex-adapt evaluate data/ --split test
      molex-adapt evaluate --scores scores.tsv --key key.tsv --json
    """
    if threshold is not None and not math.isfinite(threshold):
        raise typer.BadParameter("--threshold is a number that scores can reach")
    if data is not None and scores is None and key is None:
        if threshold is not None:
            raise typer.BadParameter("--threshold goes with --scores; DATA is measured at the registry's own")
        from molex_adapt.api import Registry

        with running(quiet, device=device, precision=precision, workers=workers) as run:
            report = Registry.open(registry).evaluate(data, split=split, ties=ties, run=run)
    elif data is None and scores is not None and key is not None:
        if split is not None:
            raise typer.BadParameter("--split divides DATA; a score file is evaluated whole")
        from molex_adapt.evaluation import evaluate_files

        report = evaluate_files(scores, key, ties=ties, threshold=threshold)
    else:
        raise typer.BadParameter("give either DATA, or both --scores and --key")
    answer = Answer(report.as_dict(), evaluation_tables(report), report.remarks, failed=broken(report.failed))
    emit(answer, as_json=as_json, quiet=quiet, allow_failures=allow_failures)
