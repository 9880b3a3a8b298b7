"""Registries that are killed, starved and fought over; `durable.py` beside this file does the work in processes."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from molex_adapt import Registry, Run
from molex_adapt.registry import Store
from tests.hub.loopback import LoopbackHub

HOW = Run(workers=1, device="cpu")
KILLS = int(os.environ.get("MOLEX_KILLS", "12"))
"""Over all operations; the full run is MOLEX_KILLS=200."""

REFUSED = 3


class Server:
    """Starts operations in processes of their own and can kill them."""

    def __init__(self, log: Path, environment: dict[str, str]) -> None:
        self.log = log
        self.events, written = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("durable.py")), str(written)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            text=True,
            pass_fds=[written],
            env=os.environ | environment,
        )
        os.close(written)
        self._ended: dict[int, int] = {}

    def start(self, operation: str, registry: Path, **more: Any) -> int:
        """Begin; returns the process's number."""
        self._ask({"operation": operation, "registry": str(registry), **more})
        while (answer := self._answer())[0] != "started":
            pass
        return int(answer[1])

    def wait(self, pid: int) -> int:
        """Exit status; negative for a signal."""
        while pid not in self._ended:
            self._answer()
        return self._ended.pop(pid)

    def run(self, operation: str, registry: Path, **more: Any) -> int:
        """Begin and wait."""
        return self.wait(self.start(operation, registry, **more))

    def said(self) -> str:
        """The last lines that processes wrote."""
        return self.log.read_text(errors="replace")[-3000:]

    def events_of(self, operation: str, registry: Path, **more: Any) -> list[float]:
        """Run to the end; seconds between each change and the one before."""
        pid, last, gaps = self.start(operation, registry, watched=True, **more), time.monotonic(), []
        while True:
            if self._heard(0.05):
                gaps.append(time.monotonic() - last)
                last = time.monotonic()
            elif self._alive(pid) is False:
                break
        assert self.wait(pid) == 0, self.said()
        return gaps

    def kill_at(self, event: int, delay: float, operation: str, registry: Path, **more: Any) -> bool:
        """SIGKILL `delay` seconds after the `event`th change began; False where the operation was faster."""
        pid = self.start(operation, registry, watched=True, **more)
        for _ in range(event):
            while not self._heard(0.05):
                if self._alive(pid) is False:
                    break
        time.sleep(delay)
        self._ask({"kill": pid})
        killed = self.wait(pid) == -signal.SIGKILL
        while self._heard(0):
            pass
        return killed

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self.events)

    def _ask(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def _alive(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def _heard(self, seconds: float) -> bool:
        return bool(select.select([self.events], [], [], seconds)[0]) and bool(os.read(self.events, 1))

    def _answer(self) -> list[str]:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().split()
        assert answer, self.said()
        if answer[0] == "ended":
            self._ended[int(answer[1])] = int(answer[2])
        return answer


@dataclass(frozen=True)
class Made:
    """A registry with generations 1 (buzz) and 2 (buzz, hum), and what it takes to change and to check it.

    Attributes:
        path: the registry; not to be changed.
        after: by operation, the registry as it is when the operation was not disturbed.
        data: of another domain.
        audio: two recordings to score.
        kinds: scores of `audio` by what the mixture is made of.
    """

    path: Path
    after: dict[str, Path]
    data: Path
    audio: list[str]
    scores: dict[tuple[str, ...], list[float]] = field(default_factory=dict)

    def copy(self, to: Path) -> Path:
        return Path(shutil.copytree(self.path, to))

    def request(self, operation: str) -> dict[str, Any]:
        return {"data": str(self.data), "source": str(self.after["add-expert"])} if operation else {}


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("durable")
    with LoopbackHub() as hub:
        environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_writer", "HF_HOME": str(folder / "hf")}
        environment |= {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}
        server = Server(folder / "server.log", environment)
        yield server
        server.stop()


@pytest.fixture(scope="session")
def made(tmp_path_factory, server, tiny_folder_of, tiny_recipe, recorded) -> Made:
    folder = tmp_path_factory.mktemp("durability")
    stage = {"steps": 4, "evaluate_every": 2}
    recipe = tiny_recipe(joint=stage, expert=stage, router_stage=stage, gate={"tolerance": 1.0})
    registry = Registry.create(folder / "registry", str(tiny_folder_of()))
    buzz = recorded(folder / "buzz", bona_fide=8, buzz=8)
    registry.add_expert(buzz, accept=True, domain="buzz", recipe=recipe, run=HOW)
    registry.add_expert(
        recorded(folder / "hum", bona_fide=8, first=200, hum=8), accept=True, domain="hum", run=HOW
    )
    data = recorded(folder / "new", bona_fide=8, first=400, new=8)
    audio = [str(path) for path in sorted((buzz / "bonafide").iterdir())[:2]]
    made = Made(folder / "registry", {}, data, audio)
    assert server.run("warm", made.copy(folder / "warm"), data=str(data)) == 0, server.said()
    made.after["add-expert"] = made.copy(folder / "after add-expert")
    assert server.run("add-expert", made.after["add-expert"], data=str(data)) == 0, server.said()
    for operation in ("retrain-router", "remove", "purge", "rollback"):
        made.after[operation] = made.copy(folder / f"after {operation}")
        assert server.run(operation, made.after[operation], **made.request(operation)) == 0, server.said()
        assert weights(made.after[operation]) != weights(made.path), operation
    assert server.run("push", made.after["add-expert"]) == 0, server.said()
    made.after["pull"] = made.copy(folder / "after pull")
    assert server.run("pull", made.after["pull"]) == 0, server.said()
    made.after["write"] = made.after["add-expert"]
    for path in (made.path, *made.after.values()):
        made.scores[weights(path)] = scores(path, made.audio)
    return made


def weights(path: Path) -> tuple[str, ...]:
    """What the active mixture is made of: hashes of its experts, router, head and recipe, and its calibration."""
    found = Store.open(path).generation()
    return (
        *(entry.sha256 for entry in found.experts),
        found.files["router.safetensors"],
        found.files["head.safetensors"],
        found.files["recipe.yaml"],
        str(found.calibration),
    )


def scores(path: Path, audio: list[str]) -> list[float]:
    return [item.score for item in Registry.open(path).score(audio, run=HOW).scores]


@pytest.fixture
def whole(made) -> Callable[..., bool]:
    """Check that a registry is as before or as after an operation; True for after."""

    def check(path: Path, operation: str, tidy: bool = False) -> bool:
        store = Store.open(path)
        problems = store.verify()
        assert [problem for problem in problems if tidy or "interrupted write" not in problem] == []
        found = weights(path)
        before, after = weights(made.path), weights(made.after[operation])
        assert found in (before, after)
        assert scores(path, made.audio) == made.scores[found], (
            "another mixture scores than the one that is active"
        )
        left = store.verify(repair=True)  # a whole generation, which the next write replaces
        assert [problem for problem in left if "which is whole" not in problem] == []
        whole = {Path(problem.partition(" belongs to ")[0]) for problem in left}
        known = {"registry.yaml", "base", "experts", "generations", ".lock"}
        assert {item.name for item in path.iterdir()} <= known, "an orphan that repair does not clear"
        named = {name for generation in store.history() for name in generation.names}
        assert {item.name for item in set((path / "experts").iterdir()) - whole} == named
        numbers = {str(number) for number in store.record().generations}
        assert {item.name for item in set((path / "generations").iterdir()) - whole} == numbers
        return found == after

    return check


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs of that kind; skips where this process may not mount."""
    folder.mkdir()
    done = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
            check=False,
            capture_output=True,
            text=True,
        )
        if shutil.which("mount")
        else None
    )
    if done is None or done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip() if done else 'no mount command'}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def tmpfs(tmp_path) -> Iterator[Callable[[str], Path]]:
    """Mount a tmpfs with these options for the time of the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda options: stack.enter_context(mounted(tmp_path / "disk", options))


@pytest.fixture
def chance(request) -> random.Random:
    """Random numbers that the test's name decides, and MOLEX_KILL_SEED."""
    return random.Random(f"{request.node.name} {os.environ.get('MOLEX_KILL_SEED', '0')}")
