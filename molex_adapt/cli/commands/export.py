"""The command that writes a detector as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType
from rich.text import Text

from molex_adapt.cli.options import DEFAULT_REGISTRY, Json, Quiet, RegistryFolder, running
from molex_adapt.cli.output import Answer, emit
from molex_adapt.cli.tables import empty_table

if TYPE_CHECKING:
    from molex_adapt.reports import ExportReport

_MB = 1e6


def export(
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT_DIR", help="A new folder, or an earlier export.", show_default=False),
    ],
    written: Annotated[
        Literal["onnx", "torch", "both"],
        typer.Option("--format", help="ONNX, a program by torch.export, or both."),
    ] = "onnx",
    generation: Annotated[
        int | None,
        typer.Option("--generation", metavar="N", help="Another than the active one.", show_default=False),
    ] = None,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a detector as one file: a waveform in, its score out.

    OUT_DIR gets detector.onnx (or detector.pt2), detector.json with all that
    is needed to use it, and a card. They are written only if they score drawn
    signals of several lengths as the registry does, to 1e-4 nats.

    [bold]Examples[/bold]

      molex-adapt export exported/
      molex-adapt score call.wav --registry exported/
    """
    from molex_adapt.api import Registry

    formats: tuple[Literal["onnx", "torch"], ...] = ("onnx", "torch") if written == "both" else (written,)
    with running(quiet, device="cpu") as run:
        report = Registry.open(registry).export(out, generation=generation, formats=formats, run=run)
    emit(Answer(report.as_dict(), _view(report), report.remarks), as_json=as_json, quiet=quiet)


def _view(report: ExportReport) -> list[RenderableType]:
    table = empty_table(
        f"Generation {report.generation} exported to {report.folder}", "file", "size", "seconds"
    )
    table.add_column("difference", justify="right")
    table.add_row("source", _size(report.source_bytes), f"{report.seconds['source']:.3f}", "")
    for name, size in report.files.items():
        seconds, difference = report.seconds.get(name), report.difference.get(name)
        table.add_row(
            name,
            _size(size),
            "" if seconds is None else f"{seconds:.3f}",
            "" if difference is None else f"{difference:.1e}",
        )
    lengths = ", ".join(f"{length:g}" for length in report.checked)
    told = (
        f"{_experts(report)}. Difference: the largest in nats, on drawn signals of {lengths} s. "
        f"Seconds: of {report.audio:g} s of audio, median of {report.runs} runs on this machine."
    )
    return [table, Text(told), Text()]


def _experts(report: ExportReport) -> str:
    if report.merged:
        return "Its expert merged into the base"
    count, closed = len(report.experts), len(report.withdrawn)
    inside = f"{count} experts, with routers in the graph"
    return f"{inside}; {'all' if closed == count else closed} of them withdrawn" if closed else inside


def _size(count: int) -> str:
    return f"{count / _MB:.1f} MB"
