"""A server that forks a process per operation: torch is imported once, and a kill is a real SIGKILL of real writing.

    python durable.py EVENTS-FD < requests

A request is a JSON line: {"operation", "registry", ...}, or {"kill": PID}. Answers are lines on stdout: `started PID`,
`ended PID STATUS`. With "watched", the process writes a byte to EVENTS-FD before every change it makes below its
registry; with "killed_at": [NAME, N], it is killed just before the Nth rename to something of that name.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import molex_adapt.train.checkpoints
from molex_adapt.api import Registry, Run
from molex_adapt.cli.own_process import spare_the_collector
from molex_adapt.errors import MolexError
from molex_adapt.progress import Silent
from molex_adapt.registry import GenerationDraft, NewExpert, Store

Request = dict[str, Any]
HOW = Run(workers=1, device="cpu")
REFUSED = 3
"""Exit status of an operation that ended with an error of ours."""


def draft_of(source: Store, parent: int, name: str = "new") -> GenerationDraft:
    """The newest generation of a registry that knows `name`, to be written to another one."""
    number = source.record().generations[-1]
    found = source.generation(number)
    new = NewExpert(
        source.expert(name, number),
        source.expert_weights(name, number),
        source.exemplar_tensors(name, number),
    )
    return GenerationDraft(
        parent=parent,
        experts=found.names,
        router=source.router_tensors(number),
        head=source.head_tensors(number),
        recipe=source.recipe(number) or "",
        calibration=(found.calibration.scale, found.calibration.offset),
        threshold=found.threshold,
        new_experts=[new],
    )


class Notes(Silent):
    """Writes what is worth a line to the log."""

    def note(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")


def _add(registry: Registry, request: Request) -> None:
    resume = request.get("resume", False)
    run = replace(HOW, seed=request.get("seed", 0), resume=resume, progress=Notes())
    registry.add_expert(request["data"], accept=True, domain=request.get("domain", "new"), run=run)


def _write(registry: Registry, request: Request) -> None:
    draft = draft_of(Store.open(request["source"]), registry.store.record().active or 0)
    if "name" in request:
        (item,) = draft.new_experts
        renamed = replace(item, record=item.record.model_copy(update={"name": request["name"]}))
        names = [request["name"] if name == item.record.name else name for name in draft.experts]
        draft = replace(draft, new_experts=[renamed], experts=names)
    registry.store.add_generation(draft, activate=True)


def _create(registry: Registry, request: Request) -> None:
    Store.copy(request["source"], registry.store.path)


def _at_random(registry: Registry, request: Request) -> None:
    """Many changes in random order; what was refused is no fault. How many were made goes to a file."""
    store, chance, made = registry.store, random.Random(request["seed"]), 0
    store.lock_seconds = 60.0
    changes: list[Callable[[], object]] = [
        lambda: _write(registry, {**request, "name": f"new-{request['seed']}-{made}"}),
        lambda: store.remove(chance.choice([*store.generation().names, "nobody"])),
        lambda: store.rollback(chance.choice(store.record().generations)),
        lambda: store.verify(repair=True),
    ]
    for tried in range(1000):
        if tried >= request["count"] and made >= request["fewest"]:
            break
        change = chance.choice(changes)
        try:
            before = change is changes[0] or change is changes[1]
            change()
            made += before
        except MolexError as error:
            expected = ("another writer was first", "already in registry", "has no expert", "no generation")
            if not any(part in str(error) for part in expected):
                raise
    Path(request["out"]).write_text(str(made))


def _read_on(registry: Registry, request: Request) -> None:
    """Load and score until a file appears: a reader never waits, and never sees half of a change."""
    seen = 0
    while not Path(request["until"]).exists() or not seen:
        try:
            scored = registry.score(request["audio"], run=HOW)
        except MolexError as error:
            # A purge takes away what a reader was about to read; nothing else may.
            raise AssertionError(f"a reader was refused: {error}") from error
        assert len(scored.scores) == len(request["audio"]) and not scored.failed
        seen += 1
    Path(request["out"]).write_text(str(seen))


REPOSITORY = "lab/new"
"""On the hub that the environment names."""


OPERATIONS: dict[str, Callable[[Registry, Request], object]] = {
    "add-expert": _add,
    "write": _write,
    "retrain-router": lambda registry, request: registry.retrain_router(
        # Another recipe, so that the states before and after differ even where four steps bring nothing.
        recipe=registry.recipe().model_copy(update={"refused": 0.1}),
        run=replace(HOW, resume=request.get("resume", False)),
    ),
    "remove": lambda registry, _: registry.store.remove("hum"),
    "purge": lambda registry, _: registry.store.remove("hum", purge=True),
    "rollback": lambda registry, _: registry.store.rollback(1),
    "push": lambda registry, _: registry.hub.push("new", REPOSITORY),
    "pull": lambda registry, _: registry.pull(REPOSITORY, run=Run(device="cpu")),
    "repair": lambda registry, _: registry.store.verify(repair=True),
    "create": _create,
    "at random": _at_random,
    "read on": _read_on,
}
"""What can be killed. Each works on a registry whose generations 1 (buzz) and 2 (buzz, hum) are there, 2 active."""


def serve(events: int) -> None:
    """Answer requests until the input ends."""
    spare_the_collector()  # what is put aside is not looked at, and so not copied, in every fork
    torch.set_num_threads(1)
    molex_adapt.train.checkpoints.CHECKPOINT_SECONDS = 0.0
    running: set[int] = set()
    pending, open_ = b"", True
    while open_ or running:
        if open_ and select.select([0], [], [], 0.002)[0]:
            read = os.read(0, 1 << 16)
            open_, pending = bool(read), pending + read
            *lines, pending = pending.split(b"\n")
            for request in map(json.loads, lines):
                if "kill" not in request:
                    running.add(_forked(request, events))
                elif request["kill"] in running:  # not waited for yet, so the number is still its own
                    os.kill(request["kill"], signal.SIGKILL)
        for pid in list(running):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                running.discard(pid)
                _answer(f"ended {pid} {os.waitstatus_to_exitcode(status)}")
        if not open_:
            time.sleep(0.002)


def _forked(request: Request, events: int) -> int:
    if request["operation"] == "warm":  # here: what it imports, every later process has
        _work({**request, "operation": "add-expert"})
        request = {**request, "operation": "repair"}
    pid = os.fork()
    if pid:
        _answer(f"started {pid}")
        return pid
    status = 1
    try:
        os.close(0)
        os.dup2(2, 1)
        if request.get("watched"):
            _watch(os.path.realpath(request["registry"]), events)
        if "killed_at" in request:
            _die_at(*request["killed_at"])
        _work(request)
        status = 0
    except MolexError as error:
        sys.stderr.write(f"{error}\n")
        status = REFUSED
    except BaseException:  # noqa: BLE001  the parent's stack is not this process's
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _answer(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _work(request: Request) -> None:
    registry = Registry(Store(Path(request["registry"])))
    OPERATIONS[request["operation"]](registry, request)


def _watch(root: str, events: int) -> None:
    """Report every change below `root` just before it is made."""
    changing = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink"}

    def heard(event: str, given: tuple[Any, ...]) -> None:
        if event != "open" and event not in changing:
            return
        path = given[0]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        written = event != "open" or bool(int(given[2] or 0) & (os.O_WRONLY | os.O_RDWR))
        if (
            written and isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(root)  # noqa: PTH100  links as they are
        ):
            os.write(events, b".")

    sys.addaudithook(heard)


def _die_at(name: str, count: int) -> None:
    left = count

    def heard(event: str, given: tuple[Any, ...]) -> None:
        nonlocal left
        if event == "os.rename" and Path(given[1]).name == name:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(heard)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
