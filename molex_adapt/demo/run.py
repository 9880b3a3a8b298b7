"""The demonstration, step by step; it works on a copy of the shipped registry."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from molex_adapt.api import EMBEDDED, Registry
from molex_adapt.conventions import Seconds
from molex_adapt.data import Table
from molex_adapt.demo.domains import DemoData, attack_order, find_speech, make_domains
from molex_adapt.demo.measure import Tested
from molex_adapt.demo.report import DemoReport, write_page
from molex_adapt.demo.story import Step, Story
from molex_adapt.demo.verdict import judge
from molex_adapt.outputs import Kind, check_folder, held_names
from molex_adapt.plots.drawing import missing_libraries
from molex_adapt.progress import Chapters, Silent
from molex_adapt.recipe import DemoRecipe, Recipe, load, validate
from molex_adapt.run import Run
from molex_adapt.shipped import recipe_path

MARK = ".molex-adapt-demo"
"""A file that says: this folder was made by the demonstration and may be made anew."""

REGISTRY, DATA, PAGE, FIGURES = "registry", "data", "report.html", "demo.json"
MADE = {MARK, REGISTRY, DATA, PAGE, FIGURES}

_DEMONSTRATED = Kind("a folder that demo made", lambda path: {MARK} <= held_names(path) <= MADE)


def run_demo(
    out: Path,
    *,
    speech: Path | None = None,
    recipe: DemoRecipe | None = None,
    run: Run = Run(),
    listener: Chapters = Silent(),
) -> DemoReport:
    """Meet an unknown attack, add an expert for it, measure every domain before and after, explain.

    Args:
        out: a new folder, or one that a former demonstration made.
        speech: folder of real speech, one sub-folder per voice; None for Debian's prompts.
        recipe: what to make; the shipped one by default.
        run: device, precision, seed, workers and cache.
        listener: hears of each step, and how far the whole is.

    Raises:
        DataError: no speech, or `out` holds something else.
        RegistryError: this installation ships no registry.
    """
    recipe = recipe or load(DemoRecipe, recipe_path("demo"))
    check_folder(out, _DEMONSTRATED, [] if speech is None else [speech])
    story = Story(listener, _steps(recipe))
    command = f"molex-adapt add-expert --domain {recipe.novel} data/{recipe.novel}"
    run = replace(run, progress=story, command=command)
    clock = _Clock()
    story.enter()
    recorded = find_speech(speech)
    _claim(out)
    registry = Registry.create(out / REGISTRY, EMBEDDED)
    options = registry.recipe()
    data = make_domains(recorded, out / DATA, recipe, run=run)
    clock.lap("simulate")
    story.enter()
    detector = registry.detector(run=run)
    tested = Tested.of(detector, data, run)
    before = tested.scores(detector)
    clock.lap("score before")
    story.enter()
    changed = validate(Recipe, _merge(options.model_dump(mode="json"), recipe.adapt), "demo recipe, adapt")
    added = registry.add_expert(data.novel, domain=recipe.novel, recipe=changed, run=run)
    clock.lap("add-expert")
    story.enter()
    record = registry.store.generation()
    after, analysis = tested.scores_and_analysis(registry.detector(record.number, run=run), record, run.seed)
    voices = {
        words: tested.compare(tables, before, after, recipe.novel, record.threshold, options.gate.tolerance)
        for words, tables in _voices(data, recipe).items()
    }
    clock.lap("score after")
    attack = recipe.domains[recipe.novel].attack
    verdict = judge(added, voices, analysis, attack, options.gate.tolerance)
    failed = (*data.failed, *tested.failed, *added.failed)
    page = None if missing_libraries() else out / PAGE
    report = DemoReport(
        recipe.novel, attack, added, voices, analysis, verdict, clock.laps, page, registry.store.path, failed
    )
    write_page(report)
    clock.lap("page")
    (out / FIGURES).write_text(json.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    return report


def _steps(recipe: DemoRecipe) -> list[Step]:
    """Seconds as measured on two cores without bfloat16 instructions."""
    forging = [25.0, *(8.0 for _ in attack_order(recipe)[1:])]
    return [
        Step("forging real speech by every attack", [*forging, 0.0]),
        Step(f"meeting {recipe.novel} unprepared", [12.0, 12.0]),
        Step(f"training one expert on {recipe.novel}", [4.0, 4.0, 1.0, 1.0, 40.0, 20.0]),
        Step("measuring everything again", [20.0]),
    ]


def _voices(data: DemoData, recipe: DemoRecipe) -> dict[str, Mapping[str, Table]]:
    found = {
        "known voices": data.known_voices,
        f"{recipe.held_out_speaker}, never heard": data.held_out_voice,
    }
    return {words: tables for words, tables in found.items() if tables}


class _Clock:
    """Wall-clock per step."""

    def __init__(self) -> None:
        self.laps: dict[str, Seconds] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name], self._last = round(now - self._last, 1), now


def _claim(out: Path) -> None:
    """Make the folder, or clear one that a former demonstration made."""
    for name in (REGISTRY, DATA):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in (PAGE, FIGURES):
        (out / name).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def _merge(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        inner = content.get(key)
        content[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return content
