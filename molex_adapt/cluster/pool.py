"""Workers on a cluster of Ray: started, given pieces of work, started again when they die."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from molex_adapt.errors import MolexError, RecipeError
from molex_adapt.progress import Silent
from molex_adapt.run import Run

_ERROR = re.compile(r"[\w.]+(Error|Exception)\b.*: ")
"""How a traceback names what was raised."""
_MOST_AT_ONCE = 256
"""Recordings of a piece: as many as one machine decodes ahead and sorts by length."""
_PIECES_EACH = 4
"""At least so many pieces for a worker, or the last one would be waited for."""
_MOST_BLOCKS = 10_000
"""What Ray Data keeps account of at once; with more pieces, several of them are lost with a worker and not one."""


@dataclass(frozen=True)
class Cluster:
    """Where the workers run.

    Attributes:
        workers: how many, each with a detector of its own.
        cpus: cores of each; torch computes and recordings are decoded in so many threads.
        address: None starts a cluster on this machine for the time of the work, else as `ray.init` takes it: "auto", or
            ray://HOST:10001.
    """

    workers: int = 2
    cpus: int = 1
    address: str | None = None

    def run_of_worker(self, run: Run) -> Run:
        """How one worker works, as it can be sent there."""
        return replace(run, workers=self.cpus, progress=Silent())


def pieces_of(paths: Sequence[str], cluster: Cluster) -> list[dict[str, Any]]:
    """Recordings divided into pieces; paths as bytes: a name that is not UTF-8 has no text that Arrow could hold."""
    size = max(1, min(_MOST_AT_ONCE, math.ceil(len(paths) / (_PIECES_EACH * cluster.workers))))
    return [
        {"paths": [os.fsencode(path) for path in paths[start : start + size]]}
        for start in range(0, len(paths), size)
    ]


def this_worker() -> str:
    """Machine and process of a worker."""
    return f"{socket.gethostname()}:{os.getpid()}"


def answers(
    worker: type, given: object, pieces: Sequence[dict[str, Any]], cluster: Cluster, run: Run
) -> Iterator[Any]:
    """What the workers make of every piece, in any order, each once. A worker that dies is replaced, without end.

    Args:
        worker: a class; made with `given`, and called with a piece, it gives its answer.
        given, pieces: what can be pickled.
        cluster: where.
        run: with the device "cuda", every worker has a card of its own.

    Raises:
        RecipeError: Ray is not installed.
        MolexError, OSError: what a worker met; no cluster there, or it is gone.
    """
    data = _load_ray(cluster)
    with _connected(cluster):
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        pool = data.ActorPoolStrategy(size=cluster.workers)
        rows = [{"piece": piece} for piece in pieces]
        work = data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).map_batches(
            _Batched,
            batch_size=1,
            compute=pool,
            fn_constructor_args=(worker, given),
            num_cpus=cluster.cpus,
            num_gpus=1 if run.device.startswith("cuda") else None,
        )
        with _explained():
            for row in work.iter_rows():
                if isinstance(row["answer"], Exception):
                    raise row["answer"]
                yield row["answer"]


class _Batched:
    """A worker as Ray Data calls it, with a column of one piece.

    Errors that a user can mend are answers: Ray would wrap them in its own, and start a worker again that cannot start.
    """

    def __init__(self, worker: type, given: object) -> None:
        self._worker: Callable[[Any], object]
        try:
            self._worker = worker(given)
        except (MolexError, OSError) as error:
            fault = error
            self._worker = lambda _: fault

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        found = np.empty(len(batch["piece"]), dtype=object)
        for at, piece in enumerate(batch["piece"]):
            try:
                found[at] = self._worker(piece)
            except (MolexError, OSError) as error:
                found[at] = error
        return {"answer": found}


def _load_ray(cluster: Cluster) -> Any:
    """Ray Data, which sends nothing about its use to anybody.

    Raises:
        RecipeError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Its library doubts on stderr at every start that workers can be started again; they can.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if cluster.address is None:
        # Else its workers have a niceness of 15, and get next to nothing where the cores have other work.
        os.environ.setdefault("RAY_worker_niceness", "0")
        # Ports on the loopback address alone: whoever reaches them may run code.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray.data
    except ImportError as error:
        raise RecipeError(
            f"work on a cluster needs Ray, which cannot be imported ({error}). Install it: pip install "
            "'molex-adapt[ray]', or use molex-adapt score and analyze on one machine"
        ) from error
    return ray.data


@contextmanager
def _connected(cluster: Cluster) -> Iterator[None]:
    """The cluster, for as long as the work lasts; a caller that is connected already stays so.

    Raises:
        MolexError: it cannot be reached.
    """
    import ray

    connected = ray.is_initialized()
    where: dict[str, Any] = {"num_cpus": cluster.workers * cluster.cpus, "include_dashboard": False}
    if cluster.address is not None:
        where = {"address": cluster.address}
    try:
        if not connected:
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).splitlines()[0][:200].rstrip(".")
        raise MolexError(
            f"no cluster of Ray at {cluster.address or 'this machine'}: {said}. Start one "
            "(ray start --head) and name it by --address, or leave --address out for workers on this machine"
        ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        # A thread of Ray prints what it notices to stdout, where only results belong.
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if not connected:
            ray.shutdown()


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what Ray says of a broken cluster, or of a fault in a worker, into one line."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        own = [line for line in lines if _ERROR.match(line) and not line.startswith("ray.")]
        told = own or lines or [type(error).__name__]
        raise MolexError(
            f"the workers cannot go on: {told[-1][:300]}. Expected a cluster that lasts as long as the work. What "
            "is written is kept: run the same command again; MOLEX_DEBUG=1 shows all that Ray says"
        ) from error
