"""What `pip install` of the built wheel gives: everything works in an empty folder, far from any checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile

CHECKOUT = Path(__file__).parent.parent


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


PROGRAM = """
import json, sys
import molex_adapt
from molex_adapt.cli.app import main

site, *commands = json.loads(sys.argv[1])
assert molex_adapt.__file__.startswith(site), molex_adapt.__file__
if __name__ == "__main__":
    for command in commands:
        try:
            main([*command, "--json"])
        except SystemExit as left:
            if left.code:
                raise
"""


def run(site: Path, folder: Path, *commands: list[str]) -> list[Any]:
    """Each command's JSON answer, all in one process."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1"}
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py", json.dumps([str(site), *commands])]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    answers, rest = [], ran.stdout.strip()
    while rest:
        answer, end = json.JSONDecoder().raw_decode(rest)
        answers, rest = [*answers, answer], rest[end:].strip()
    assert len(answers) == len(commands)
    return answers


def test_the_wheel_carries_every_module_and_template(installed: Path) -> None:
    package = CHECKOUT / "molex_adapt"
    ours = {path.relative_to(package) for kind in ("*.py", "*.j2") for path in package.rglob(kind)}
    here = installed / "molex_adapt"
    theirs = {path.relative_to(here) for kind in ("*.py", "*.j2") for path in here.rglob(kind)}
    assert Path("analysis/report.html.j2") in ours
    assert theirs == ours


def test_the_wheel_carries_the_recipes_and_the_registry(installed: Path) -> None:
    for name in ("recipes", "registry"):
        there = installed / "molex_adapt" / "_shipped" / name
        ours = {path.relative_to(CHECKOUT / name) for path in (CHECKOUT / name).rglob("*") if path.is_file()}
        ours = {path for path in ours if ".lock" not in path.name}
        assert {path.relative_to(there) for path in there.rglob("*") if path.is_file()} == ours
        assert ours


def test_everything_works_far_from_any_checkout(
    installed: Path, tmp_path: Path, sound: Any, tiny_folder_of: Any, tiny_recipe: Any
) -> None:
    """The shipped detector scores; on a tiny base, so that it takes seconds, an attack is made, learnt and analysed."""
    from molex_adapt import recipe

    (tmp_path / "tiny.yaml").write_text(recipe.dump(tiny_recipe(gate={"tolerance": 1.0})))
    (tmp_path / "speech").mkdir()
    for number in range(24):
        soundfile.write(tmp_path / "speech" / f"{number:02}.wav", sound(number, 1.0), 16_000)
    began, scored, verified, _, made, added, analysis = run(
        installed,
        tmp_path,
        ["init", "embedded"],
        ["score", "speech/00.wav", "speech/01.wav"],
        ["verify"],
        ["init", str(tiny_folder_of()), "--registry", "tiny"],
        ["simulate", "lpc", "speech", "data", "--workers", "1"],
        [
            "add-expert",
            "--accept",
            "--domain",
            "new",
            "data",
            "--recipe",
            "tiny.yaml",
            "--registry",
            "tiny",
            "--workers",
            "1",
        ],
        ["analyze", "--registry", "tiny"],
    )
    assert len(began["experts"]) >= 4
    assert len(scored["scores"]) == 2
    assert verified == {"ok": True, "problems": []}
    assert made["made"] == 24
    assert added["expert"] == "new"
    assert analysis["experts"] == ["new"]
