"""What `pip install` of the built wheel gives: everything works in an empty folder, far from any checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

CHECKOUT = Path(__file__).parent.parent
RATE = 16_000


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but the wheel's content."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--target",
        str(folder / "site"),
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    return folder / "site"


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two voices and a third, of harmonics with a wandering pitch and pauses."""
    folder, generator = tmp_path_factory.mktemp("speech"), np.random.default_rng(0)
    for voice, pitch, count in (("anna", 210, 45), ("otto", 120, 45), ("june", 180, 10)):
        (folder / voice).mkdir()
        for number in range(count):
            sf.write(folder / voice / f"{number:03d}.wav", _utterance(pitch, generator), RATE)
    return folder


def _utterance(pitch: float, generator: np.random.Generator) -> NDArray[np.float64]:
    time = np.arange(int(1.1 * RATE)) / RATE
    contour = pitch * (1 + 0.1 * np.sin(2 * np.pi * generator.uniform(1, 3) * time + generator.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(contour) / RATE
    wave = sum(np.sin(order * phase) / order * generator.uniform(0.3, 1) for order in range(1, 16))
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * 3 * time + generator.uniform(0, 6))
    return 0.1 * np.asarray(wave) * envelope + 0.002 * generator.standard_normal(len(time))


def run(site: Path, folder: Path, *words: str) -> Any:
    """The command's JSON answer."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("MOLEX_REGISTRY", None)
    program = "import molex_adapt, sys; assert molex_adapt.__file__.startswith(sys.argv.pop(1)), molex_adapt.__file__\n"
    program += "from molex_adapt.cli.app import main; main()"
    command = [sys.executable, "-c", program, str(site), *words, "--json"]
    ran = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout)


FAST = ["expert.steps=2", "expert.batch_size=4", "router_stage.steps=1", "router_stage.batch_size=4"]
FAST += ["expert.development=2", "router_stage.development=2", "gate.bootstrap=20", "gate.tolerance=1.0"]


def test_the_wheel_carries_every_template(installed: Path) -> None:
    package = CHECKOUT / "molex_adapt"
    ours = {path.relative_to(package) for path in package.rglob("*.j2")}
    assert ours
    assert {path.relative_to(installed / "molex_adapt") for path in installed.rglob("*.j2")} == ours


def test_init_add_expert_and_analyze(installed: Path, empty_folder: Path, speech: Path) -> None:
    began = run(installed, empty_folder, "init", "embedded")
    assert len(began["experts"]) >= 4
    made = run(
        installed, empty_folder, "simulate", "gsm", str(speech), "data", "--limit", "40", "--workers", "1"
    )
    assert made["made"] == 40
    options = [word for option in FAST for word in ("--set", option)]
    added = run(
        installed, empty_folder, "add-expert", "--domain", "codec_x", "data", "--workers", "1", *options
    )
    assert added["expert"] == "codec_x"
    assert set(added["after"]) == {*began["experts"], "codec_x"}
    analysis = run(installed, empty_folder, "analyze")
    assert analysis["experts"] == [*began["experts"], "codec_x"]
    assert run(installed, empty_folder, "verify") == {"ok": True, "problems": []}


def test_demo(installed: Path, empty_folder: Path, speech: Path) -> None:
    sizes = ["train_recordings=16", "dev_recordings=10", "test_recordings=10", "held_out_recordings=4"]
    sections: dict[str, list[str]] = {}
    for option in FAST:
        section, _, rest = option.partition(".")
        sections.setdefault(section, []).append(rest.replace("=", ": "))
    adapt = ", ".join(f"{section}: {{{', '.join(items)}}}" for section, items in sections.items())
    # Synthetic speech has no words, so the domain that needs text is left out.
    domains = "{world: {attack: world}, griffin_lim: {attack: griffin_lim}, 'null': {attack: 'null'}}"
    words = [*sizes, f"adapt={{{adapt}}}", f"domains={domains}"]
    options = [word for option in words for word in ("--set", option)]
    told = run(installed, empty_folder, "demo", "--speech", str(speech), "--workers", "1", *options)
    assert set(told["known_voices"]["after"]) == {"griffin_lim", "world", "null"}
    assert (empty_folder / "demo-out" / "report.html").read_text().startswith("<!doctype html>")
