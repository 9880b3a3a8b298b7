"""Two processes see together what one sees."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from molex_adapt.analysis.shards import place

_WORK = """
import sys, json
from molex_adapt.analysis import analyse_table
from molex_adapt.data import read
from molex_adapt.registry import Store
from molex_adapt.registry.assemble import build_detector
from molex_adapt.run import Run
table = read(sys.argv[1])
report = analyse_table(build_detector(Store.open(sys.argv[2])), table, Run(device="cpu", workers=1, cache="off"))
print(json.dumps([report.usage, report.utterances, len(report.failed)]))
"""


def told(data: Path, registry: Path, rank: int = 0, world: int = 1, port: int = 0) -> subprocess.Popen[str]:
    several = {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    command = [sys.executable, "-c", _WORK, str(data), str(registry)]
    return subprocess.Popen(command, env=os.environ | several, stdout=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@pytest.mark.slow
def test_two_processes_conclude_what_one_does(recorded, tmp_path):
    import json

    data = recorded(tmp_path / "data", bona_fide=3, buzz=4)
    (data / "spoof" / "buzz" / "buzz001.wav").write_bytes(b"no audio")
    registry = Path(__file__).parents[2] / "registry"
    alone = told(data, registry)
    port = free_port()
    both = [told(data, registry, rank, 2, port) for rank in range(2)]
    whole, *parts = [json.loads(item.communicate(timeout=240)[0]) for item in (alone, *both)]
    assert parts[0] == parts[1]
    assert parts[0][1:] == whole[1:] == [{"buzz": 3, "bonafide": 3}, 1]
    for name, shares in whole[0].items():
        assert parts[0][0][name] == pytest.approx(shares, abs=1e-4)


def test_one_process_is_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert place() == (0, 1)
