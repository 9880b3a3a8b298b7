"""Scores of an exported detector with ONNX Runtime: numpy and our own decoding, no torch."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from molex_adapt.data import Failed, Heard, Table, Utterance, listen
from molex_adapt.digest import sha256_of_file
from molex_adapt.errors import AudioError, RecipeError, RegistryError
from molex_adapt.exported.description import ONNX, Description
from molex_adapt.run import Run
from molex_adapt.text import short
from molex_adapt.windows import UtteranceScore, together, windows_of

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_READ_AHEAD = 4
"""Recordings for each decoding thread; hours of audio stay out of memory."""

_Prepared: TypeAlias = tuple[list[NDArray[np.float32]], Heard]


class Session:
    """A graph that is loaded: (T,) float32 in [-1, 1] at 16 kHz to its score and (E,) shares of the experts."""

    def __init__(self, path: Path, device: str = "auto", threads: int = 0) -> None:
        """Load a file.

        Args:
            path: detector.onnx.
            device: as in `Run`; a GPU needs an ONNX Runtime with CUDA.
            threads: of one computation; 0 for what OMP_NUM_THREADS says, or else one for each core.

        Raises:
            RecipeError: ONNX Runtime is not installed, or has no such device.
            RegistryError: it cannot read the file.
        """
        runtime = require_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or _threads()
        options.log_severity_level = 3  # below that it reports each step of its own optimisation
        providers = [_provider(runtime, device)]
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # its classes have no base of their own
            raise RegistryError(
                f"{path} cannot be loaded: {short(error, 300)}. Export it again: molex-adapt export"
            ) from error

    def __call__(self, wave: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        score, _, shares = self._session.run(None, {"wave": wave[None]})
        return float(score[0]), np.asarray(shares[0])


class ExportedDetector:
    """An exported detector, whole and loaded.

    Attributes:
        description: its detector.json.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        """Check and load it.

        Raises:
            RecipeError, RegistryError: as for `Session`; its file is missing, or is not what was exported.
        """
        self.description = Description.read(folder)
        for name, digest in self.description.files.items():
            _require_whole(folder / Path(name).name, digest)
        if ONNX not in self.description.files:
            raise RegistryError(
                f"{folder} has no {ONNX}, which scoring without torch needs. Export it again with --format both"
            )
        self._session = Session(folder / ONNX, device)

    def score_table(
        self, table: Table, run: Run = Run(), *, told: Callable[[UtteranceScore], None] | None = None
    ) -> tuple[list[UtteranceScore], tuple[Failed, ...]]:
        """As `features.score_table`: the same windows, the same failures."""
        run.progress.start("score", len(table))
        scored: list[UtteranceScore] = []
        failed: list[Failed] = []
        names = [expert.name for expert in self.description.experts]
        for item, future in _ahead(self._prepared, list(table), run.workers):
            try:
                windows, heard = future.result()
                parts = [(len(window), *self._session(window)) for window in windows]
                scored.append(together(item, parts, heard, names))
                if told is not None:
                    told(scored[-1])
            except AudioError as error:
                failed.append(Failed(str(item.path), str(error)))
            run.progress.advance(1)
        run.progress.stop()
        return scored, tuple(failed)

    def _prepared(self, item: Utterance) -> _Prepared:
        wave, heard = listen(item.path)
        windows = self.description.windows
        return windows_of(wave, windows.shortest_samples, windows.longest_samples), heard


def require_runtime() -> Any:
    """The module `onnxruntime`; RecipeError where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise RecipeError(
            f"an exported detector is scored with ONNX Runtime, which cannot be imported ({error}). Install it: "
            "pip install onnxruntime"
        ) from error
    return onnxruntime


def _provider(runtime: Any, device: str) -> str:
    known = runtime.get_available_providers()
    if device == "auto":
        return _PROVIDERS["cuda" if _PROVIDERS["cuda"] in known else "cpu"]
    wanted = _PROVIDERS.get(device.partition(":")[0], "")
    if wanted not in known:
        raise RecipeError(f"ONNX Runtime has no device {device!r} here; use --device auto, or cpu")
    return wanted


def _threads() -> int:
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() else 0


def _require_whole(path: Path, digest: str) -> None:
    try:
        whole = sha256_of_file(path) == digest
    except OSError as error:
        raise RegistryError(
            f"{path} cannot be read ({error.strerror}). Restore it from a copy, or export it again: molex-adapt export"
        ) from None
    if not whole:
        raise RegistryError(
            f"{path} is not the file that was exported: its sha256 is another. Restore it from a copy, or export it "
            "again: molex-adapt export"
        )


def _ahead(
    prepare: Callable[[Utterance], _Prepared], items: Sequence[Utterance], workers: int
) -> Iterator[tuple[Utterance, Future[_Prepared]]]:
    """Recordings in their order while threads decode the next few."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        pending: deque[tuple[Utterance, Future[_Prepared]]] = deque()
        left = iter(items)
        try:
            while True:
                while len(pending) < _READ_AHEAD * max(1, workers) and (item := next(left, None)) is not None:
                    pending.append((item, pool.submit(prepare, item)))
                if not pending:
                    return
                yield pending.popleft()
        finally:
            for _, future in pending:
                future.cancel()
