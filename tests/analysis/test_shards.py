"""Two processes see together what one sees."""

from __future__ import annotations

import os
import socket
from multiprocessing import Queue, get_context
from pathlib import Path
from typing import Any

import pytest

from molex_adapt.analysis import analyse_table
from molex_adapt.analysis.shards import place
from molex_adapt.api import PER_ATTACK, Registry
from molex_adapt.data import read
from molex_adapt.registry import Store
from molex_adapt.registry.assemble import build_detector
from molex_adapt.run import Run


def concluded(data: str, registry: str) -> tuple[dict[str, dict[str, float]], dict[str, int], int]:
    """Shares of the experts by attack, utterances and recordings left out, as one process or a group finds them."""
    how = Run(device="cpu", workers=1, cache="off")
    report = analyse_table(build_detector(Store.open(Path(registry))), read(Path(data)), how)
    return report.usage, report.utterances, len(report.failed)


def as_rank(rank: int, port: int, data: str, registry: str, said: Queue[Any]) -> None:
    """What a fork does that `accelerate launch` had started as one of two."""
    several = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in several.items()})
    said.put(concluded(data, registry))


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def test_two_processes_conclude_what_one_does(recorded, tiny_folder_of, tiny_recipe, tmp_path):
    data = recorded(tmp_path / "data", bona_fide=12, buzz=12, hum=12)
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of()))
    registry.train(data, experts=PER_ATTACK, recipe=tiny_recipe(), run=Run(workers=1, device="cpu"))
    (data / "spoof" / "buzz" / "buzz001.wav").write_bytes(b"no audio")
    port, what = free_port(), (str(data), str(registry.store.path))
    usage, *counts = concluded(*what)
    forks = get_context("fork")
    said: Queue[Any] = forks.Queue()
    both = [forks.Process(target=as_rank, args=(rank, port, *what, said)) for rank in range(2)]
    for process in both:
        process.start()
    parts = [said.get(timeout=120) for _ in both]
    for process in both:
        process.join()
    assert parts[0] == parts[1]
    assert list(parts[0][1:]) == counts == [{"buzz": 11, "hum": 12, "bonafide": 12}, 1]
    assert set(usage) == {"buzz", "hum", "bonafide"}
    for name, shares in usage.items():
        assert parts[0][0][name] == pytest.approx(shares, abs=1e-4)


def test_one_process_is_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert place() == (0, 1)
