"""Hostile and broken input, through the real command line on a real (tiny) mixture.

Each must end with status 1 or 2 and one message that names what is wrong and says what to do, without a traceback and
with the registry as it was, to the byte.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from molex_adapt import Registry
from molex_adapt.cli.app import main
from molex_adapt.registry import lock, store


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


def tree(folder: Path) -> dict[str, str]:
    names = (lock.LOCK_NAME, lock.HOLDER_NAME)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
        if path.name not in names
    }


@pytest.fixture(scope="module")
def made(tiny_folder_of, tiny_recipe, recorded, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("hostile")
    registry = Registry.create(folder / "registry", str(tiny_folder_of()))
    data = recorded(folder / "buzz", bona_fide=10, buzz=10)
    registry.add_expert(data, domain="buzz", recipe=tiny_recipe(), workers=1, device="cpu")
    registry.retrain_router(workers=1, device="cpu")
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


ADD = ("add-expert", "--domain", "hum")


def add(world: World, data: Path | str, *more: str) -> list[Any]:
    return [*ADD, data, *more]


def flip(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 0x41]) + content[-2:]


def scores(world: World, text: str, key: str = "filename\tcm-label\na\tbonafide\nb\tspoof\n") -> list[Any]:
    return ["evaluate", "--scores", world.text("scores.tsv", text), "--key", world.text("key.tsv", key)]


GOOD_SCORES = "filename\tcm-score\na\t1.5\nb\t-2\n"
SAME = np.sin(np.arange(12_000) / 9).astype(np.float32) / 2

CASES: dict[str, tuple[Callable[[World], list[Any]], int, str, str]] = {
    # data
    "no data": (lambda w: add(w, "nowhere"), 1, "nowhere does not exist", "Check the path"),
    "data is a recording": (
        lambda w: add(w, next((w.hum / "bonafide").iterdir())),
        1,
        "is one recording",
        "molex-adapt score",
    ),
    "data is text": (
        lambda w: add(w, w.text("notes.txt", "hello")),
        1,
        "notes.txt is neither",
        "name a folder",
    ),
    "empty folder": (lambda w: add(w, w.at), 1, "place holds no data set", "Move the recordings"),
    "one class": (lambda w: add(w, w.data()), 1, "data.*no spoof|no spoof.*data", "Add spoof recordings"),
    "label typo": (lambda w: add(w, w.manifest("m.csv", "spof")), 1, "m.csv.*5.*spof", "spoof"),
    "split typo": (lambda w: add(w, w.manifest("m.csv", split="trian")), 1, "m.csv.*5.*trian", "train"),
    "no label column": (lambda w: add(w, w.text("m.csv", "path,attack\na.wav,x\n")), 1, "m.csv", "label"),
    "broken jsonl": (lambda w: add(w, w.text("m.jsonl", '{"path": 1\n')), 1, "m.jsonl", "line 1|row 1"),
    "broken parquet": (
        lambda w: add(w, w.text("m.parquet", "PAR1")),
        1,
        "m.parquet",
        "[Ww]rite|[Ee]xport|[Cc]heck",
    ),
    "unreadable audio": (
        lambda w: add(w, w.data(spoof=lambda at: b"RIFF" * at)),
        1,
        r"fake0.wav: ",
        "Export these",
    ),
    "NaN audio": (
        lambda w: add(w, w.data(spoof=lambda at: np.full(12_000, np.nan, np.float32))),
        1,
        r"fake0.wav: .*(NaN|finite)",
        "Export these",
    ),
    "too short": (
        lambda w: add(w, w.data(spoof=lambda at: w.sound(90 + at, 0.1))),
        1,
        "fake0.wav: too short",
        "Export these",
    ),
    "silent": (
        lambda w: add(w, w.data(spoof=lambda at: np.zeros(12_000))),
        1,
        "fake0.wav: silent",
        "add others",
    ),
    "same audio in both classes": (
        lambda w: add(w, w.data(spoof=lambda at: w.sound(at + 1))),
        1,
        r"real0.wav.*\n?.*fake0.wav",
        "Remove the wrong",
    ),
    "all the same audio": (lambda w: add(w, w.data(spoof=lambda at: SAME)), 1, "1 spoof", "Add spoof"),
    "too few": (
        lambda w: add(w, w.data(count=2, spoof=lambda at: w.sound(90 + at))),
        1,
        "data has 2",
        "Add ",
    ),
    # options
    "unknown recipe key": (
        lambda w: add(w, w.hum, "--recipe", str(w.text("r.yaml", "expert: {stebs: 3}"))),
        1,
        "r.yaml",
        "'steps'",
    ),
    "wrong recipe value": (
        lambda w: add(w, w.hum, "--recipe", str(w.text("r.yaml", "expert: {steps: many}"))),
        1,
        "r.yaml",
        "expert.steps = 'many': .* integer",
    ),
    "broken recipe": (
        lambda w: add(w, w.hum, "--recipe", str(w.text("r.yaml", "expert: [\n"))),
        1,
        "r.yaml is not valid YAML",
        "Mend it",
    ),
    "recipe is a list": (
        lambda w: add(w, w.hum, "--recipe", str(w.text("r.yaml", "[1]"))),
        1,
        "r.yaml: expected a mapping",
        "Mend it",
    ),
    "no recipe": (lambda w: add(w, w.hum, "--recipe", "r.yaml"), 1, "r.yaml does not exist", "give the path"),
    "unknown shipped recipe": (
        lambda w: add(w, w.hum, "--recipe", "dem"),
        1,
        "no shipped recipe 'dem'",
        "demo",
    ),
    "wrong set": (
        lambda w: add(w, w.hum, "--set", "expert.stebs=3"),
        1,
        "expert.stebs",
        "did you mean 'steps'",
    ),
    "set without value": (
        lambda w: add(w, w.hum, "--set", "expert.steps"),
        1,
        "expert.steps",
        "key.path=value",
    ),
    "other structure": (
        lambda w: add(w, w.hum, "--set", "head.width=64"),
        1,
        "head.width = 64",
        "Leave these",
    ),
    "device not here": (
        lambda w: add(w, w.hum, "--device", "cuda"),
        1,
        "'cuda' is not available",
        "--device auto",
    ),
    "no device": (lambda w: add(w, w.hum, "--device", "tpu"), 2, "tpu", "auto"),
    "seed": (lambda w: add(w, w.hum, "--seed", "-1"), 2, "--seed", "range|for help"),
    "no domain": (lambda w: ["add-expert", w.hum], 2, "--domain", "add-expert -h"),
    # names
    "name taken": (lambda w: add(w, w.hum, "--name", "buzz"), 1, "'buzz' is already", "--name"),
    "name as a path": (lambda w: add(w, w.hum, "--name", "../../x"), 1, r"'../../x' cannot be used", "a-z"),
    "domain as a path": (
        lambda w: ["add-expert", w.hum, "--domain", "/etc"],
        1,
        "domain name '/etc' cannot",
        "a-z",
    ),
    # the registry
    "train twice": (lambda w: ["train", w.hum, "--domain", "hum"], 1, "has a mixture already", "add-expert"),
    "init on a registry": (
        lambda w: ["init", w.base, "--registry", w.registry],
        1,
        "already holds a registry",
        "--registry",
    ),
    "init in a full folder": (
        lambda w: ["init", w.base, "--registry", w.text("x", "").parent],
        1,
        "place is not empty",
        "--registry",
    ),
    "init on a file": (
        lambda w: ["init", w.base, "--registry", w.text("x", "")],
        2,
        "x' is a file",
        "molex-adapt init -h",
    ),
    "init without base": (
        lambda w: ["init", "nobody/nothing", "--registry", "new"],
        1,
        "nobody/nothing",
        "Hub model id",
    ),
    "init on an empty folder": (
        lambda w: ["init", w.at, "--registry", "new"],
        1,
        "no config.json",
        "save_pretrained",
    ),
    "rollback beyond": (
        lambda w: ["rollback", 99],
        1,
        "no generation 99; it has 1, 2",
        "molex-adapt history",
    ),
    "remove nobody": (lambda w: ["remove", "nobody"], 1, "'nobody'", "molex-adapt list"),
    "purge nobody": (lambda w: ["remove", "nobody", "--purge"], 1, "'nobody'", "molex-adapt list"),
    "remove a path": (lambda w: ["remove", "../base", "--purge"], 1, "'../base'", "molex-adapt list"),
    "show nobody": (lambda w: ["show", "nobody"], 1, "'nobody'", "molex-adapt list"),
    "show beyond": (
        lambda w: ["show", "--generation", 7],
        1,
        "no generation 7; it has 1, 2",
        "molex-adapt history",
    ),
    "routers on one attack twice": (
        lambda w: ["retrain-router", w.hum, w.hum],
        1,
        "'hum' comes in two",
        "one manifest",
    ),
    # use
    "score nothing there": (lambda w: ["score", "missing.wav"], 1, "missing.wav", "[Cc]heck the path"),
    "score text": (lambda w: ["score", w.text("text.wav", "hello")], 1, "text.wav", "[Ee]xport|[Cc]onvert"),
    "score NaN": (
        lambda w: ["score", w.data(count=1, spoof=lambda at: np.full(12_000, np.nan)) / "spoof"],
        1,
        "fake0.wav",
        "Write the file again",
    ),
    "score an empty folder": (lambda w: ["score", w.at], 1, "no recordings to score", "name audio files"),
    "score into nowhere": (
        lambda w: ["score", w.hum / "bonafide", "--out", "no/such/scores.tsv"],
        1,
        "no/such/scores.tsv",
        "Choose",
    ),
    "evaluate one class": (lambda w: ["evaluate", w.data()], 1, "no spoof", "Add spoof recordings to .*data"),
    "analyze nothing": (lambda w: ["analyze", "nowhere"], 1, "nowhere does not exist", "Check the path"),
    "scores NaN": (
        lambda w: scores(w, GOOD_SCORES.replace("-2", "nan")),
        1,
        "scores.tsv, line 3",
        "score it again",
    ),
    "scores twice": (
        lambda w: scores(w, GOOD_SCORES + "a\t2\n"),
        1,
        "scores.tsv, line 4.*'a' again",
        "Remove one",
    ),
    "scores without key": (
        lambda w: scores(w, GOOD_SCORES + "c\t2\n"),
        1,
        "1 .'c'. scored but not in the key",
        "Check",
    ),
    "key typo": (
        lambda w: scores(w, GOOD_SCORES, "filename\tcm-label\na\tbonafid\nb\tspoof\n"),
        1,
        "key.tsv, line 2",
        "bonafide",
    ),
    "commas": (
        lambda w: scores(w, GOOD_SCORES.replace("\t", ",")),
        1,
        "scores.tsv is separated by ','",
        "Convert",
    ),
    "one class of scores": (
        lambda w: scores(w, GOOD_SCORES, "filename\tcm-label\na\tspoof\nb\tspoof\n"),
        1,
        "key.tsv: every file is spoofed",
        "add the other class",
    ),
    "scores alone": (
        lambda w: ["evaluate", "--scores", w.text("s.tsv", GOOD_SCORES)],
        2,
        "--key",
        "either DATA",
    ),
    # make
    "unknown attack": (lambda w: ["simulate", "griffin", w.hum, "out"], 1, "griffin", "griffin_lim"),
    "attack parameter": (
        lambda w: ["simulate", "mp3", w.hum, "out", "--set", "bit_rat=7"],
        1,
        "bit_rat",
        "bit_rate",
    ),
    "attack value": (
        lambda w: ["simulate", "gsm", w.hum, "out", "--set", "x=1"],
        1,
        "x = 1: unknown parameter",
        "Expected parameters: passes",
    ),
    "last stage": (
        lambda w: ["simulate", "gsm", w.hum, "out", "--stage", "codec=mp9"],
        1,
        "codec = 'mp9'",
        "g722",
    ),
    "simulate into something": (
        lambda w: ["simulate", "gsm", w.hum, w.text("mine.txt", "").parent],
        1,
        "place",
        "[Cc]hoose|[Nn]ame|empty",
    ),
    "simulate nothing": (lambda w: ["simulate", "gsm", "nowhere", "out"], 1, "nowhere", "Check the path"),
    "demo without speech": (
        lambda w: ["demo", "--speech", "nowhere", "--out", "out"],
        1,
        "nowhere is not a folder",
        "check the path",
    ),
    "pretrain nowhere": (
        lambda w: ["pretrain", "nowhere", "out"],
        1,
        "nowhere does not exist",
        "Check the path",
    ),
    "pretrain options": (lambda w: ["pretrain", w.hum, "out", "--set", "step=1"], 1, "step", "'steps'"),
}

COPY = "restore the file from a copy"
WEIGHTS = "experts/buzz/adapter_model.safetensors"

DAMAGED: dict[str, tuple[str, Callable[[bytes], bytes] | None, list[str], str, str]] = {
    "registry rubbish": ("registry.yaml", lambda _: b"\x00\xff{", ["list"], "registry.yaml", COPY),
    "registry list": ("registry.yaml", lambda _: b"[1, 2]", ["score", "HUM"], "registry.yaml", COPY),
    "newer format": (
        "registry.yaml",
        lambda old: old.replace(b"format: 1", b"format: 9"),
        ["history"],
        "format 9",
        "reads format 1",
    ),
    "expert weights": (WEIGHTS, flip, ["score", "HUM"], "adapter_model", COPY),
    "expert cut off": (WEIGHTS, lambda old: old[:99], ["evaluate", "HUM"], "buzz/adapter_model", COPY),
    "expert gone": (WEIGHTS, None, ["analyze"], "buzz/adapter_model", COPY),
    "expert record": (
        "experts/buzz/expert.yaml",
        lambda _: b"name: ../x",
        ["list"],
        "buzz/expert.yaml",
        COPY,
    ),
    "expert rank": (
        "experts/buzz/expert.yaml",
        lambda old: old.replace(b"rank: 2", b"rank: 7", 1),
        [*ADD, "HUM"],
        "says rank 7",
        "Restore both files",
    ),
    "exemplars": ("experts/buzz/exemplars.safetensors", flip, [*ADD, "HUM"], "exemplars", COPY),
    "exemplars gone": ("experts/buzz/exemplars.safetensors", None, ["retrain-router"], "exemplars", COPY),
    "head gone": ("generations/2/head.safetensors", None, ["score", "HUM"], "head.safetensors", COPY),
    "router": ("generations/2/router.safetensors", flip, ["score", "HUM"], "router.safetensors", COPY),
    "recipe": (
        "generations/2/recipe.yaml",
        lambda old: old + b"\n#",
        [*ADD, "HUM"],
        "recipe.yaml has sha256",
        COPY,
    ),
    "recipe, overridden": (
        "generations/2/recipe.yaml",
        lambda _: b"expert: [",
        [*ADD, "HUM", "--set", "expert.steps=3"],
        "recipe.yaml is not valid",
        "Mend it",
    ),
    "generation gone": ("generations/2/generation.yaml", None, ["show"], "generation.yaml", COPY),
    "generation to go back to": (
        "generations/1/head.safetensors",
        flip,
        ["rollback", "1"],
        "generation 1.*damaged",
        COPY,
    ),
    "base weights": ("base/model.safetensors", flip, ["score", "HUM"], "base .* is not the one", "Restore"),
    "base cut off": (
        "base/model.safetensors",
        lambda old: old[:-9],
        ["score", "HUM"],
        "registry/base. cannot be loaded",
        "restore .*registry/base from a copy",
    ),
    "base config": (
        "base/config.json",
        lambda _: b"{}",
        ["analyze"],
        "registry/base. cannot be loaded",
        "restore .*registry/base from a copy",
    ),
    "verify": (WEIGHTS, flip, ["verify"], "1 problem", COPY),
}


def attempt(world: World, arguments: list[Any], capsys) -> tuple[int, str, str]:
    plain = [
        str(world.hum / "bonafide") if item == "HUM" and "score" in arguments else item for item in arguments
    ]
    plain = [str(world.hum) if item == "HUM" else str(item) for item in plain]
    if (
        plain[0] not in ("simulate", "demo", "pretrain")
        and "--registry" not in plain
        and "--scores" not in plain
    ):
        plain += ["--registry", str(world.registry)]
    with pytest.raises(SystemExit) as leaving:
        main(plain)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return int(leaving.value.code or 0), out, err


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_explained_and_changes_nothing(world, capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "400")
    build, status, named, remedy = CASES[name]
    arguments = build(world)
    before, place = tree(world.registry), tree(world.at)
    found, out, err = attempt(world, arguments, capsys)
    message = " ".join((err + out).split())
    assert found == status, message
    assert re.search(named, message), message
    assert re.search(remedy, message), message
    assert tree(world.registry) == before
    assert {key: value for key, value in tree(world.at).items() if key in place} == place


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_registry_is_explained_and_left_alone(world, capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "400")
    file, change, arguments, named, remedy = DAMAGED[name]
    world.damaged(file, change)
    before = tree(world.registry)
    found, out, err = attempt(world, arguments, capsys)
    message = " ".join((err + out).split())
    assert found == 1, message
    assert re.search(named, message), message
    assert re.search(remedy, message), message
    assert tree(world.registry) == before


HOLD = """
import sys, time
from pathlib import Path
from molex_adapt.registry.lock import write_lock
with write_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(world) -> Iterator[int]:
    """Another process is writing; its number."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(world.registry)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("arguments", [["rollback"], ["remove", "buzz"], [*ADD, "HUM"], ["retrain-router"]])
def test_a_registry_that_another_process_writes(world, held, capsys, monkeypatch, arguments):
    monkeypatch.setattr(store.Store.__init__, "__defaults__", (0.2,))
    before = tree(world.registry)
    status, out, err = attempt(world, arguments, capsys)
    assert (status, out) == (1, "")
    assert re.search(rf"registry is being written by process {held} on .*Try again", " ".join(err.split())), (
        err
    )
    assert tree(world.registry) == before
    assert attempt(world, ["list"], capsys)[0] == 0  # who reads does not wait


@pytest.mark.parametrize("command", [["list"], ["score", "HUM"], [*ADD, "HUM"], ["verify"]])
def test_no_registry_there(world, capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "400")
    status, _, err = attempt(world, [*command, "--registry", str(world.at / "none")], capsys)
    assert status == 1
    assert "none holds no registry" in err
    assert "molex-adapt init BASE --registry" in err
    assert not (world.at / "none").exists()
    blocked = world.text("file", "")
    status, _, err = attempt(world, [*command, "--registry", str(blocked)], capsys)
    assert status == 2
    assert f"'{blocked}' is a file" in err


@pytest.mark.parametrize("blocked", ["experts/hum", "generations/3"])
def test_a_file_where_a_folder_has_to_go(world, capsys, blocked):
    """An interrupted write may have left it: it gives way, and the old generations stay as they were."""
    (world.registry / blocked).write_text("in the way")
    before = tree(world.registry)
    del before[blocked]
    status, _, err = attempt(world, [*ADD, "HUM", "--set", "gate.tolerance=1"], capsys)
    assert status == 0, err
    after = tree(world.registry)
    assert {name for name in before if after[name] != before[name]} == {"registry.yaml"}
    assert (world.registry / blocked).is_dir()


def test_folders_of_the_registry_that_are_files(world, capsys):
    shutil.rmtree(world.registry / "experts")
    (world.registry / "experts").write_text("in the way")
    before = tree(world.registry)
    status, _, err = attempt(world, [*ADD, "HUM"], capsys)
    assert status == 1
    assert "experts" in err
    assert tree(world.registry) == before
