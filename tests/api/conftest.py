"""A tiny registry that has learnt one attack, made once; every test works on a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from molex_adapt import Registry, Run
from molex_adapt.reports import StageReport


@dataclass(frozen=True)
class Made:
    """A registry, what its first add-expert reported, and data of three attacks."""

    path: Path
    report: StageReport
    buzz: Path
    hum: Path
    both: Path


@pytest.fixture(scope="session")
def _made(tmp_path_factory, tiny_folder_of, tiny_recipe, recorded) -> Made:
    folder = tmp_path_factory.mktemp("api")
    buzz = recorded(folder / "buzz", bona_fide=12, buzz=12)
    hum = recorded(folder / "hum", bona_fide=12, first=200, a=1, hum=12)
    shutil.rmtree(hum / "spoof" / "a")  # only there to give hum another pitch
    both = recorded(folder / "both", bona_fide=12, first=400, A07=12, b=12)
    registry = Registry.create(folder / "registry", str(tiny_folder_of()))
    report = registry.add_expert(buzz, domain="buzz", recipe=tiny_recipe(), run=Run(workers=1, device="cpu"))
    return Made(folder / "registry", report, buzz, hum, both)


@pytest.fixture
def made(_made, tmp_path) -> Made:
    copy = tmp_path / "registry"
    shutil.copytree(_made.path, copy)
    return Made(copy, _made.report, _made.buzz, _made.hum, _made.both)


@pytest.fixture
def registry(made) -> Registry:
    return Registry.open(made.path)


@pytest.fixture
def empty(tmp_path, tiny_folder_of) -> Registry:
    return Registry.create(tmp_path / "empty", str(tiny_folder_of()))


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, but for the lock."""

    def read(folder: Path) -> dict[str, bytes]:
        found = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".lock" not in path.name)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    return read
