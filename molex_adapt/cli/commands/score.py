"""The command that scores recordings."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from molex_adapt.cli.options import (
    DEFAULT_REGISTRY,
    AllowFailures,
    Device,
    Json,
    Precision,
    Quiet,
    RegistryFolder,
    Workers,
    check_rates,
    running,
)
from molex_adapt.cli.output import Answer, broken, emit, remark
from molex_adapt.cli.score_view import score_table
from molex_adapt.cli.tables import failures
from molex_adapt.decision import EVEN_PRIOR, MOST_ERROR
from molex_adapt.errors import MolexError
from molex_adapt.processes import is_first
from molex_adapt.text import command_line

if TYPE_CHECKING:
    from molex_adapt.reports import ScoreReport
    from molex_adapt.scorefile import Form, Key


def score(
    audio: Annotated[
        list[Path],
        typer.Argument(
            metavar="AUDIO",
            readable=False,  # one that may not be read fails beside the others
            help="Recordings, folders of them, manifests (their paths alone), or parts of a data set: DIR#eval.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write scores instead of a table: .csv, .jsonl or .parquet with all columns, else a score file as in "
            "ASVspoof 5.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            metavar="FILE",
            help="Name recordings in --out as this key, protocol or manifest does.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        Literal["asvspoof5", "arena"],
        typer.Option(
            "--format",
            help="Of a score file: as the ASVspoof 5 package takes it, or lines of name and score as the Speech "
            "Anti-Spoofing Arena does.",
        ),
    ] = "asvspoof5",
    resume: Annotated[
        bool, typer.Option("--resume", help="With --out: go on where this command was interrupted.")
    ] = False,
    prior: Annotated[
        float,
        typer.Option(
            "--prior", metavar="P", help="Probability of bona fide speech before listening; for the column p."
        ),
    ] = EVEN_PRIOR,
    error: Annotated[
        float,
        typer.Option(
            "--error",
            metavar="RATE",
            help="Where a decision would be wrong more often than this, none is made.",
        ),
    ] = MOST_ERROR,
    decide: Annotated[bool, typer.Option("--decide", help="Decide in every case.")] = False,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    device: Device = "auto",
    precision: Precision = None,
    workers: Workers = None,
    allow_failures: AllowFailures = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score recordings of up to two hours and any format.

    A score is a log-likelihood ratio in nats; higher is more bona fide. It is
    read at the generation's threshold as bona fide, spoof, or cannot tell:
    near the threshold, or where hardly any speech, a narrow band, digital
    silence or a very low level lie outside what the detector learnt from;
    --json has what was heard in each recording, and which experts spoke.

    If a recording cannot be scored, the exit status is 1 after all others
    are. Silence, a dead channel of two, and channels in anti-phase never
    are scored.

    --registry takes a folder that export made as well; torch is not needed
    then.

    [bold]Examples[/bold]

      molex-adapt score call.wav podcast.mp3 --prior 0.9
      molex-adapt score recordings/ --out scores.csv --resume
      molex-adapt score manifest.csv --out scores.parquet
      molex-adapt score recordings/ --registry exported/
    """
    _check_options(out, key, resume, prior, error)
    _check_form(out, form)
    truth = _checked(audio, out, key, form)
    journal = None if out is None or (out.exists() and not out.is_file()) else _journal(out)
    from molex_adapt.api import discard_journal, open_to_score

    try:
        with running(quiet, device=device, precision=precision, workers=workers, resume=resume) as run:
            rate = None if decide else error
            report = open_to_score(registry).score(audio, prior=prior, error=rate, journal=journal, run=run)
    except KeyboardInterrupt:
        if journal is not None and journal.exists():
            remark([f"what was scored is kept; to go on: {_again()}"])
        raise
    view, failed = score_table(report), broken(report.failed)
    answer = Answer(report.as_dict(), view, report.remarks, ok=bool(report.scores), failed=failed)
    if not is_first():
        return
    if out is not None and report.scores:
        answer = _written(answer, report, out, truth, form)
    if journal is not None and answer.fault is None:
        discard_journal(journal)
    emit(answer, as_json=as_json, quiet=quiet, allow_failures=allow_failures)


def _check_options(out: Path | None, key: Path | None, resume: bool, prior: float, error: float) -> None:
    if out is None and (key is not None or resume):
        raise typer.BadParameter("--key and --resume go with --out")
    check_rates(prior, error)


def _check_form(out: Path | None, form: Form) -> None:
    if form == "asvspoof5":
        return
    from molex_adapt.scoretable import is_table

    if out is None or is_table(out):
        raise typer.BadParameter("--format is of a score file: it goes with --out FILE, such as scores.txt")


def _checked(audio: list[Path], out: Path | None, key: Path | None, form: Form) -> Key | None:
    """The key, and the place of the output looked at, before any work."""
    if out is None:
        return None
    from molex_adapt.outputs import check_file
    from molex_adapt.scoretable import kind_for
    from molex_adapt.truth import read_truth

    check_file(out, kind_for(out, form), audio)
    return None if key is None else read_truth(key)


def _journal(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def _again() -> str:
    words = ["molex-adapt", *sys.argv[1:]]
    return command_line(words if "--resume" in words else [*words, "--resume"])


def _written(answer: Answer, report: ScoreReport, out: Path, truth: Key | None, form: Form) -> Answer:
    """The answer after the scores are written; where that fails, the table is not lost with it."""
    from molex_adapt.scorefile import line_name, write_scores
    from molex_adapt.scoretable import is_table, write_table
    from molex_adapt.text import whole

    names = [line_name(item.path) for item in report.scores]
    changed = [name for name, item in zip(names, report.scores, strict=True) if name != whole(item.path)]
    remarks = [*answer.remarks]
    if truth is not None:
        names, strangers = _named(names, truth)
        if strangers:
            remarks.append(f"not in {truth.origin}, and named as they are: {len(strangers)} ({strangers[0]})")
    try:
        if is_table(out):
            write_table(out, report, names)
        else:
            write_scores(out, names, [item.score for item in report.scores], form)
    except MolexError as error:
        return replace(answer, fault=error)
    if changed:
        remarks.append(
            f"names with tabs, line breaks, outer spaces or bytes that are not UTF-8: {len(changed)}; {out} has them "
            f"in Python's notation, such as {changed[0]}"
        )
    view = [f"{len(report.scores)} scores written to {out}", *failures(report.failed)]
    return replace(answer, view=view, remarks=remarks)


def _named(names: list[str], truth: Key) -> tuple[list[str], list[str]]:
    """Names as the key has them, and those that it has not."""
    from molex_adapt.data.naming import meet

    places = meet(names, truth.filenames)
    found = [name if at is None else truth.filenames[at] for name, at in zip(names, places, strict=True)]
    return found, [name for name, at in zip(names, places, strict=True) if at is None]
