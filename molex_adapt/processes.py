"""Several processes at one piece of work, as `accelerate launch` and `torchrun` start them.

All of them run the same program with the same data and seeds. Where work divides, each does a part and all get the
whole, so that whatever is decided afterwards is decided alike by each. The first of them alone writes and speaks. A
process that nobody started beside others is the first of one: nothing here does anything then.

A function that joins parts has to be called by every process, in the same order; `by_itself` is the way around that.
"""

from __future__ import annotations

import atexit
import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from molex_adapt.errors import MolexError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""How long one process waits for another: longer than any work. One that dies is noticed by its broken connection."""
_by_itself: ContextVar[bool] = ContextVar("_by_itself", default=False)


def place() -> tuple[int, int]:
    """Which of how many processes this one is; (0, 1) where it works by itself.

    Raises:
        MolexError: what the launcher says is no such place.
    """
    if _by_itself.get() or "WORLD_SIZE" not in os.environ:
        return 0, 1
    stated = os.environ.get("RANK", "0"), os.environ["WORLD_SIZE"]
    if not all(part.isdecimal() for part in stated) or not int(stated[0]) < int(stated[1]):
        raise MolexError(
            f"RANK={stated[0]} and WORLD_SIZE={stated[1]} name no process of several; start them by accelerate launch "
            "or torchrun, or unset both for one process"
        )
    return int(stated[0]), int(stated[1])


def is_first() -> bool:
    """Whether this process writes and speaks for all."""
    return place()[0] == 0


def are_several() -> bool:
    """Whether there is any other process."""
    return place()[1] > 1


def on_this_machine() -> tuple[int, int]:
    """Which of how many processes on this machine this one is; (0, 1) where it works by itself."""
    if not are_several():
        return 0, 1
    local = int(os.environ.get("LOCAL_RANK", place()[0]))
    return local, int(os.environ.get("LOCAL_WORLD_SIZE", place()[1]))


@contextmanager
def by_itself() -> Iterator[None]:
    """Inside the `with` block this process does all of its work alone, and waits for nobody."""
    former = _by_itself.set(True)
    try:
        yield
    finally:
        _by_itself.reset(former)


def own_part(sizes: Sequence[float]) -> list[int]:
    """Indices of what is this process's to do, in rising order: the largest go out first, to whoever has least so far.

    Those of all processes together are every index once. Equal sizes are dealt out one by one.
    """
    rank, count = place()
    if count == 1:
        return list(range(len(sizes)))
    loads = [(0.0, number) for number in range(count)]
    mine = []
    for index in sorted(range(len(sizes)), key=lambda at: -sizes[at]):
        load, number = heapq.heappop(loads)
        heapq.heappush(loads, (load + sizes[index], number))
        if number == rank:
            mine.append(index)
    return sorted(mine)


def gathered(item: T) -> list[T]:
    """What every process gives, in their order; all get the whole of it. For plain objects on the CPU."""
    count = place()[1]
    if count == 1:
        return [item]
    found: list[Any] = [None] * count
    with _joined() as distributed:
        distributed.all_gather_object(found, item)
    return found


def from_first(work: Callable[[], T]) -> T:
    """What `work` gives in the first process, which does it by itself; the others wait, and get it too.

    Raises:
        MolexError, OSError: what the first met, in every process.
    """
    rank, count = place()
    if count == 1:
        return work()
    said: list[Any] = [None, None]
    if rank == 0:
        try:
            with by_itself():
                said[0] = work()
        except (MolexError, OSError) as error:
            said[1] = error
    with _joined() as distributed:
        distributed.broadcast_object_list(said, src=0)
    if said[1] is not None:
        raise said[1]
    found: T = said[0]
    return found


def summed(values: Tensor) -> Tensor:
    """The sum of what every process gives, same shape and type everywhere; on the device of `values`."""
    if not are_several():
        return values
    with _joined() as distributed:
        direct = values.is_cuda and "nccl" in distributed.get_backend_config()
        total = (values if direct else values.cpu()).contiguous().clone()
        distributed.all_reduce(total)
    return total.to(values.device)


@contextmanager
def _joined() -> Iterator[Any]:
    """torch.distributed, with the processes connected.

    Raises:
        MolexError: another process has gone.
    """
    from torch import cuda, distributed

    try:
        if not distributed.is_initialized():
            # Two processes on one card cannot use NCCL: their sums go through the CPU.
            cards = cuda.is_available() and distributed.is_nccl_available()
            enough = cards and cuda.device_count() >= on_this_machine()[1]
            distributed.init_process_group("cpu:gloo,cuda:nccl" if enough else "gloo", timeout=_PATIENCE)
            atexit.register(_leave)
        yield distributed
    except (RuntimeError, ValueError) as error:
        rank, count = place()
        raise MolexError(
            f"process {rank} of {count} cannot reach the others ({str(error).splitlines()[0][:200]}): one of them has "
            "ended, or they cannot connect. What it said stands above; run the same command again, with --resume where "
            "the command has it"
        ) from error


def _leave() -> None:
    from torch import distributed

    with suppress(RuntimeError, ValueError, AssertionError):
        distributed.destroy_process_group()
