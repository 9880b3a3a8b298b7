"""Two processes, as `accelerate launch` starts them, but forked: torch is not imported once more."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from multiprocessing import Queue, get_context
from queue import Empty
from typing import Any

from molex_adapt.errors import MolexError


def as_rank(rank: int, port: int, work: Callable[..., Any], given: tuple[Any, ...], said: Queue[Any]) -> None:
    """What a fork does that is one of two."""
    several = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in several.items()})
    try:
        said.put((rank, work(*given)))
    except MolexError as error:
        said.put((rank, error))


def in_two(work: Callable[..., Any], *given: Any, answers: int = 2) -> list[Any]:
    """What two processes come to, the first one's first."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = int(asked.getsockname()[1])
    forks = get_context("fork")
    said: Queue[Any] = forks.Queue()
    both = [forks.Process(target=as_rank, args=(rank, port, work, given, said)) for rank in range(2)]
    for process in both:
        process.start()
    found: dict[int, Any] = {}
    while len(found) < answers:
        gone = not any(
            process.is_alive() for process in both
        )  # asked first: what they said is in the queue then
        try:
            rank, answer = said.get(timeout=1)
        except Empty:
            assert not gone, "both processes ended without an answer"
        else:
            found[rank] = answer
    for process in both:
        process.join()
    return [found[rank] for rank in sorted(found)]
