"""Writing a detector as files that need no torch, or none of our code: whole and compared with the source, or not."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from molex_adapt.atomic import publishing, put
from molex_adapt.base import Base
from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.detector import Detector
from molex_adapt.digest import sha256_of_file
from molex_adapt.errors import DataError, RecipeError
from molex_adapt.exported import description as names
from molex_adapt.exported.description import Description, ExportedExpert, Windows, only_exported
from molex_adapt.exported.graph import INPUT, OUTPUTS, Graph, to_onnx, to_program
from molex_adapt.exported.parity import (
    RUNS,
    TIMED,
    Scorer,
    drawn_signal,
    drawn_signals,
    of_source,
    require_parity,
    seconds_of,
)
from molex_adapt.exported.scoring import Session
from molex_adapt.outputs import Kind, check_folder
from molex_adapt.pages import render
from molex_adapt.progress import Progress
from molex_adapt.reports import ExportReport

Format = Literal["onnx", "torch"]

_MOST_IN_ONE_FILE = int(1.9 * 2**30)
"""An ONNX file holds 2 GiB at most."""
_EXPORTED = Kind("a folder that export made", only_exported)


@dataclass(frozen=True)
class Origin:
    """What a registry knows of the detector beside its weights; see `Description`."""

    generation: int
    digest: str
    base: str
    experts: list[ExportedExpert]
    threshold: float | None
    unheard: dict[str, Any] | None
    versions: dict[str, str]
    source_bytes: int | None
    """None: the base is not in the registry."""


def check_export(out: Path, formats: Sequence[Format], inputs: Sequence[Path]) -> None:
    """Refuse, before the work begins, what could not be written after it.

    Raises:
        DataError: the folder holds something else, or lies in the registry.
        RecipeError: a library is missing.
    """
    check_folder(out, _EXPORTED, inputs)
    needed = {
        "onnx": find_spec("onnx"),
        "onnxscript": find_spec("onnxscript"),
        "onnxruntime": find_spec("onnxruntime"),
    }
    missing = [name for name, found in needed.items() if found is None]
    if "onnx" in formats and missing:
        raise RecipeError(
            f"ONNX needs {' and '.join(missing)}, which are not installed: pip install 'molex-adapt[export]', or write "
            "--format torch alone"
        )


def write_export(
    detector: Detector, origin: Origin, out: Path, formats: Sequence[Format], progress: Progress
) -> ExportReport:
    """Write a detector into a folder, in place of an earlier export, once it agrees with its source.

    Args:
        detector: in float32 on the CPU; it is taken over.
        origin: where it comes from.
        out: a folder that `check_export` has passed.
        formats: what to write.
        progress: who listens.

    Raises:
        MolexError: an export disagrees with its source; the folder is as it was.
        DataError: it cannot be written.
        ExpertError: nothing in it speaks.
    """
    detector.require_voice()
    try:
        out = out.resolve()
        out.parent.mkdir(parents=True, exist_ok=True)
        with publishing(out, replace=True) as staged:
            report = _write(staged, detector, origin, formats, progress)
    except OSError as error:
        raise DataError(
            f"{out} cannot be written ({error.strerror}). Free some space, or choose another folder."
        ) from error
    return ExportReport(folder=str(out), **report)


def _saved(program: ExportedProgram) -> bytes:
    """As a file: torch ends the process where it writes one itself and the disk is full."""
    into = io.BytesIO()
    torch.export.save(program, into)
    return into.getvalue()


def _write(
    folder: Path, detector: Detector, origin: Origin, formats: Sequence[Format], progress: Progress
) -> dict[str, Any]:
    """Fill an empty folder; what the report says of it."""
    weights = sum(item.nbytes for item in [*detector.parameters(), *detector.buffers()])
    longest = detector.longest_samples
    shortest = Graph.shortest_of(detector)
    trial = _Trial(of_source(detector), shortest, longest)
    graph = Graph(detector)
    with _quiet():
        progress.note("tracing the detector; a minute for the embedded base")
        program = to_program(graph)
        opset = lower = None
        if "torch" in formats:
            lower = _least(program, detector.base)
            put(folder, names.PROGRAM, _saved(program))
            trial.add(names.PROGRAM, _of_program(folder / names.PROGRAM), lower)
        if "onnx" in formats:
            progress.note("translating it to ONNX")
            made = to_onnx(program)
            opset = made.model.opset_imports[""]
            made.save(folder / names.ONNX, external_data=_bytes_of(graph) > _MOST_IN_ONE_FILE)
            session = Session(folder / names.ONNX, "cpu", torch.get_num_threads())
            trial.add(names.ONNX, lambda wave: session(wave)[0])
    licences = {expert.licence for expert in origin.experts}
    files = {path.name: path for path in sorted(folder.iterdir())}
    told = Description(
        input=INPUT,
        outputs=list(OUTPUTS),
        windows=Windows(shortest_samples=shortest, longest_samples=longest),
        threshold=origin.threshold,
        calibration={"scale": detector.calibration.scale, "offset": detector.calibration.offset},
        generation=origin.generation,
        digest=origin.digest,
        base=origin.base,
        experts=origin.experts,
        merged=graph.merged,
        licence=licences.pop() if len(licences) == 1 else None,
        opset=opset,
        program_shortest_samples=lower,
        files={name: sha256_of_file(path) for name, path in files.items()},
        versions=origin.versions,
        unheard=origin.unheard,
    )
    put(folder, names.DESCRIPTION, (json.dumps(told.model_dump(mode="json"), indent=1) + "\n").encode())
    put(folder, names.CARD, render("exported/card.md.j2", told=told, difference=trial.difference).encode())
    return {
        "generation": origin.generation,
        "experts": [expert.name for expert in origin.experts],
        "withdrawn": [name for name in detector.mixture.names if detector.mixture.has_withdrawn(name)],
        "merged": graph.merged,
        "files": {name: path.stat().st_size for name, path in files.items()},
        "source_bytes": weights if origin.source_bytes is None else origin.source_bytes,
        "checked": [len(wave) / SAMPLE_RATE for wave in trial.signals],
        "difference": trial.difference,
        "audio": len(trial.timed) / SAMPLE_RATE,
        "runs": RUNS,
        "seconds": trial.seconds,
        "remarks": [],
    }


class _Trial:
    """What the source gives for drawn signals, and how long it takes; exports are held against it."""

    def __init__(self, source: Scorer, shortest: int, longest: int) -> None:
        self.signals = drawn_signals(shortest, longest)
        self.timed = drawn_signal(min(int(TIMED * SAMPLE_RATE), longest), 0)
        self.scores = [source(wave) for wave in self.signals]
        self.seconds = {"source": seconds_of(source, self.timed)}
        self.difference: dict[str, float] = {}

    def add(self, name: str, scorer: Scorer, shortest: int = 0) -> None:
        """Compare a file of ours, on signals of at least so many samples, and time it."""
        pairs = [pair for pair in zip(self.signals, self.scores, strict=True) if len(pair[0]) >= shortest]
        self.difference[name] = require_parity(
            name, scorer, [wave for wave, _ in pairs], [score for _, score in pairs]
        )
        self.seconds[name] = seconds_of(scorer, self.timed)


def _of_program(path: Path) -> Scorer:
    """A saved program as somebody else would load it."""
    module = torch.export.load(path).module()

    @torch.no_grad()
    def score(wave: NDArray[np.float32]) -> float:
        return float(module(torch.from_numpy(wave)[None])[0])

    return score


def _least(program: torch.export.ExportedProgram, base: Base) -> int:
    """The fewest samples that a program's guards let pass."""
    # Torch takes a size of 1 for a fixed one, so a guard asks for two frames. Its ranges miss that behind some strides.
    frames = (int(base.frames(torch.tensor([samples]))) for samples in count(base.receptive_samples))
    two = next(base.receptive_samples + more for more, found in enumerate(frames) if found > 1)
    return max(two, *(int(bounds.lower) for bounds in program.range_constraints.values()))


def _bytes_of(graph: Graph) -> int:
    return sum(item.nbytes for item in [*graph.parameters(), *graph.buffers()])


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn of their own steps, and print; what matters is compared afterwards."""
    known = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir")]
    before = [item.level for item in known]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for item in known:
            item.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for item, level in zip(known, before, strict=True):
                item.setLevel(level)
