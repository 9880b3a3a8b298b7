"""The command line end to end, on a copy of the shipped registry: score, analyze, add-expert, evaluate."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gpu.material import model_of, write_domain
from benchmarks.gpu.setting import Findings, Setting
from molex_adapt.cache import FOLDER
from molex_adapt.cli.app import main
from molex_adapt.conventions import Seconds

SMALL = (
    *("lora.rank=2", "head.width=8", "data.crop_seconds=1", "training.batch_size=4", "joint.steps=4"),
    *("exemplars.replay=4", "exemplars.check=4"),
)


def run(setting: Setting, found: Findings) -> None:
    """What a user would type, with `--device`."""
    count, longest, rounds = (10, 1.5, 1) if setting.tiny else (150, 6.0, 3)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        data = write_domain(folder / "data", count, longest)
        registry = _small_registry(setting, folder, data) if setting.tiny else _shipped(folder)
        found.say(f"a registry, and {2 * count} recordings of 1 to {longest:g} s")
        where = ("--registry", registry, "--device", setting.device.type, "--json", "--quiet")
        os.environ[FOLDER] = "off"
        with found.attempt("score"):
            _score_and_analyze(setting, found, data, where, rounds)
        with found.attempt("parity"):
            found.add("parity", _parity(data, where, setting))
        os.environ[FOLDER] = str(folder / "cache")
        with found.attempt("add-expert"):
            found.add("add-expert", _add(setting, data, where))
            found.say(f"add-expert: {found.values['add-expert']}")
        with found.attempt("evaluate"):
            taken, answer = _typed("evaluate", data, *where)
            found.add("evaluate", {"seconds": taken, "eer": answer["overall"]["eer"]})
            found.say(f"evaluate: {found.values['evaluate']}")


def _shipped(folder: Path) -> Path:
    return Path(shutil.copytree("registry", folder / "registry", ignore=shutil.ignore_patterns(".*")))


def _small_registry(setting: Setting, folder: Path, data: Path) -> Path:
    """One expert on a base that two slow cores can carry."""
    model_of(setting).save_pretrained(folder / "base")
    registry = folder / "registry"
    _typed("init", folder / "base", "--registry", registry, "--json")
    options = [part for item in SMALL for part in ("--set", item)]
    _typed(
        "add-expert", "--domain", "first", data, *options, "--registry", registry, "--device", "cpu", "--json"
    )
    return registry


def _score_and_analyze(
    setting: Setting, found: Findings, data: Path, where: tuple[object, ...], rounds: int
) -> None:
    """Both decode and compute everything anew; one turn of each to warm up."""
    taken: dict[str, list[Seconds]] = {"score": [], "analyze": []}
    audio = 0.0
    for turn in range(rounds + 1):
        if turn > 1 and setting.left() < 20:
            break
        for name, seconds in taken.items():
            one, answer = _typed(name, data, *where)
            if name == "score":
                audio = sum(item["seconds"] for item in answer["scores"])
            if turn:
                seconds.append(one)
            found.say(f"{name}: {one:.2f} s")
    found.add(
        "score",
        {"seconds": median(taken["score"]), "times_real_time": audio / median(taken["score"])},
    )
    pairs = zip(taken["analyze"], taken["score"], strict=True)
    found.add(
        "analyze",
        {"seconds": median(taken["analyze"]), "over_score": median(one / other for one, other in pairs)},
    )


def _parity(data: Path, where: tuple[object, ...], setting: Setting) -> dict[str, float]:
    """The largest distance between scores, nats, and between analysed shares, of the CPU and the device; float32."""
    few = data / "bonafide"
    exact = ("--precision", "fp32")
    here, there = (
        {item["path"]: item["score"] for item in _typed("score", few, *options, *exact)[1]["scores"]}
        for options in ((*where, "--device", "cpu"), where)
    )
    shares = [
        _typed("analyze", data, *options, *exact)[1]["usage"]
        for options in ((*where, "--device", "cpu"), where)
    ]
    return {
        "score_nats": max(abs(here[path] - there[path]) for path in here),
        "analyze_share": max(
            abs(share - shares[1][attack][expert])
            for attack, usage in shares[0].items()
            for expert, share in usage.items()
        ),
    }


def _add(setting: Setting, data: Path, where: tuple[object, ...]) -> dict[str, Any]:
    steps = 4 if setting.tiny else 100
    taken, answer = _typed(
        "add-expert", "--domain", "buzz", data, "--set", f"expert.steps={steps}", *where, refused=True
    )
    return {
        "seconds": taken,
        "steps": steps,
        "stages": answer["seconds"],
        "activated": answer["activated"],
        "eer_before": answer["before"]["buzz"]["eer"],
        "eer_after": answer["after"]["buzz"]["eer"],
    }


def _typed(*arguments: object, refused: bool = False) -> tuple[Seconds, Any]:
    """Seconds of a command and its JSON; `refused` where exit status 1 is an answer too."""
    told, said = io.StringIO(), io.StringIO()
    started = time.perf_counter()
    status: object = None
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(said):
            main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        status = leaving.code or 0
    if status not in ((0, 1) if refused else (0,)) or not told.getvalue():
        raise RuntimeError(f"{arguments[0]} ended with {status}: {said.getvalue().strip()[-500:]}")
    return time.perf_counter() - started, json.loads(told.getvalue())
