"""Hostile and broken input goes through the real command line, on a real (tiny) mixture."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from molex_adapt import Registry, Run
from molex_adapt.cli.app import main
from molex_adapt.registry import layout, lock

KEY = "filename\tcm-label\na\tbonafide\nb\tspoof\n"


@dataclass(frozen=True)
class World:
    """A place to make trouble in: a copy of a registry that knows `buzz`, good data of `hum`, an empty folder."""

    registry: Path
    hum: Path
    base: Path
    at: Path
    sound: Callable[..., Any]

    def data(self, name: str = "data", count: int = 6, spoof: Callable[[int], Any] | None = None) -> Path:
        """A data set whose spoofed recordings are made by `spoof`; None writes none of them."""
        folder = self.at / name
        (folder / "bonafide").mkdir(parents=True)
        (folder / "spoof" / "hum").mkdir(parents=True)
        for at in range(count):
            soundfile.write(folder / "bonafide" / f"real{at}.wav", self.sound(at + 1), 16_000)
            wave = None if spoof is None else spoof(at)
            path = folder / "spoof" / "hum" / f"fake{at}.wav"
            if isinstance(wave, bytes):
                path.write_bytes(wave)
            elif wave is not None:
                kind = "PCM_16" if np.isfinite(wave).all() else "FLOAT"
                soundfile.write(path, wave, 16_000, subtype=kind)
        return folder

    def text(self, name: str, content: str | bytes) -> Path:
        """A file."""
        path = self.at / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def manifest(self, name: str, label: str = "spoof", **changes: str) -> Path:
        """A manifest of the good data in which row 5 has another label, path or split."""
        rows = ["path,label,attack,split"]
        for number, path in enumerate(sorted(self.hum.rglob("*.wav")), start=2):
            given = "spoof" if "spoof" in str(path) else "bonafide"
            attack = "hum" if given == "spoof" else ""
            if number == 5:
                row = {"path": str(path), "label": label, "attack": attack, "split": ""} | changes
                rows.append(",".join(row.values()))
            else:
                rows.append(f"{path},{given},{attack},")
        return self.text(name, "\n".join(rows) + "\n")

    def damaged(self, name: str, change: Callable[[bytes], bytes] | None) -> Path:
        """The registry with one file changed, or gone."""
        path = self.registry / name
        if change is None:
            path.unlink()
        else:
            path.write_bytes(change(path.read_bytes()))
        return self.registry

    def add(self, data: Path | str, *more: str) -> list[Any]:
        """The command that adds an expert for `hum`."""
        return ["add-expert", "--domain", "hum", data, *more]

    def scores(self, text: str, key: str = KEY) -> list[Any]:
        """The command that evaluates a score file."""
        return ["evaluate", "--scores", self.text("scores.tsv", text), "--key", self.text("key.tsv", key)]


@pytest.fixture(scope="session")
def made(tiny_folder_of, tiny_recipe, recorded, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("hostile")
    registry = Registry.create(folder / "registry", str(tiny_folder_of()))
    data = recorded(folder / "buzz", bona_fide=10, buzz=10)
    registry.add_expert(
        data, accept=True, domain="buzz", recipe=tiny_recipe(), run=Run(workers=1, device="cpu")
    )
    registry.retrain_router(run=Run(workers=1, device="cpu"))
    return registry.store.path, recorded(folder / "hum", bona_fide=10, first=300, hum=10)


@pytest.fixture
def world(made, tiny_folder_of, sound, tmp_path, monkeypatch) -> World:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(lock, "LOCK_SECONDS", 0.2)
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    shutil.copytree(made[0], tmp_path / "registry")
    return World(tmp_path / "registry", made[1], tiny_folder_of(), place, sound)


@pytest.fixture
def attempt(world, capsys) -> Callable[[list[Any]], tuple[int, str, str]]:
    """Run a command; HUM stands for the good data. Status, what it printed, what it said on stderr."""
    return lambda arguments: _attempt(world, arguments, capsys)


def _attempt(world: World, arguments: list[Any], capsys) -> tuple[int, str, str]:
    plain = [
        str(world.hum / "bonafide") if item == "HUM" and "score" in arguments else item for item in arguments
    ]
    plain = [str(world.hum) if item == "HUM" else str(item) for item in plain]
    if plain[0] not in ("simulate", "demo") and "--registry" not in plain and "--scores" not in plain:
        plain += ["--registry", str(world.registry)]
    with pytest.raises(SystemExit) as leaving:
        main(plain)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return int(leaving.value.code or 0), out, err


@pytest.fixture
def refuses(world, attempt, monkeypatch) -> Callable[[list[Any], int, str, str], None]:
    """Run a command that must fail: with this status, naming what is wrong and the remedy, changing nothing."""

    def check(arguments: list[Any], status: int, named: str, remedy: str) -> None:
        monkeypatch.setenv("COLUMNS", "400")
        before, place = _tree(world.registry), _tree(world.at)
        found, out, err = attempt(arguments)
        message = " ".join((err + out).split())
        assert found == status, message
        assert re.search(named, message), message
        assert re.search(remedy, message), message
        assert _tree(world.registry) == before
        assert {key: value for key, value in _tree(world.at).items() if key in place} == place

    return check


@pytest.fixture
def tree() -> Callable[[Path], dict[str, str]]:
    """What a folder holds: sha256 by path, without the lock and what training that failed may go on from."""
    return _tree


def _tree(folder: Path) -> dict[str, str]:
    names = {lock.LOCK_NAME, lock.HOLDER_NAME, layout.CHECKPOINTS}
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
        if not names & set(path.relative_to(folder).parts)
    }
