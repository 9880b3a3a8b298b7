"""The demonstration, step by step; it works on a copy of the shipped registry."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from molex_adapt.api import EMBEDDED, Registry
from molex_adapt.conventions import NULL_DOMAIN, Seconds
from molex_adapt.data import Failed, Table
from molex_adapt.demo.domains import DemoData, find_speech, make_domains
from molex_adapt.demo.report import write_report
from molex_adapt.outputs import Kind, check_folder
from molex_adapt.progress import Progress, Silent
from molex_adapt.recipe import DemoRecipe, Recipe, load, validate
from molex_adapt.reports import Analysis, Comparison, StageReport
from molex_adapt.run import Run
from molex_adapt.shipped import recipe_path
from molex_adapt.train.gate import ScoredSet, compare, rates

MARK = ".molex-adapt-demo"
"""A file that says: this folder was made by the demonstration and may be made anew."""

REGISTRY, DATA, PAGE, FIGURES = "registry", "data", "report.html", "demo.json"
MADE = {MARK, REGISTRY, DATA, PAGE, FIGURES}

_DEMONSTRATED = Kind(
    "a folder that demo made", lambda path: {MARK} <= {item.name for item in path.iterdir()} <= MADE
)

Tell = Callable[..., None]


@dataclass(frozen=True)
class DemoReport:
    """What the demonstration showed.

    Attributes:
        added: what `add-expert` reported.
        known_voices, held_out_voice: every domain before and after, on test recordings of voices that training heard,
            and on the voice nobody heard.
        analysis: which experts fire.
        seconds: wall-clock per step.
        page: the report to open in a browser.
        failed: recordings that could not be made.
    """

    added: StageReport
    known_voices: Comparison
    held_out_voice: Comparison | None
    analysis: Analysis
    seconds: dict[str, Seconds]
    page: Path
    failed: tuple[Failed, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "add_expert": self.added.as_dict(),
            "known_voices": self.known_voices.as_dict(),
            "held_out_voice": None if self.held_out_voice is None else self.held_out_voice.as_dict(),
            "analysis": self.analysis.as_dict(),
            "seconds": self.seconds,
            "report": str(self.page),
            "failed": [{"path": item.path, "reason": item.reason} for item in self.failed],
        }


def run_demo(
    out: Path,
    *,
    speech: Path | None = None,
    recipe: DemoRecipe | None = None,
    device: str = "auto",
    seed: int = 0,
    workers: int = 2,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> DemoReport:
    """Meet an unknown attack, add an expert for it, measure every domain before and after, explain.

    Args:
        out: a new folder, or one that a former demonstration made.
        speech: folder of real speech, one sub-folder per voice; None for Debian's prompts.
        recipe: what to make; the shipped one by default.
        device, seed, workers, progress: as for `Registry.add_expert`.
        tell: hears each step's text, and its report where there is one.

    Raises:
        DataError: no speech, or `out` holds something else.
        RegistryError: this installation ships no registry.
    """
    progress, tell = progress or Silent(), tell or (lambda text, report=None: None)
    recipe = recipe or load(DemoRecipe, recipe_path("demo"))
    run = Run(
        device=device,
        seed=seed,
        workers=workers,
        progress=progress,
        command=f"molex-adapt add-expert --domain {recipe.novel} data/{recipe.novel}",
    )
    check_folder(out, _DEMONSTRATED, [] if speech is None else [speech])
    recorded = find_speech(speech)
    _claim(out)
    registry = Registry.create(out / REGISTRY, EMBEDDED)
    clock = _Clock()
    options = registry.recipe()
    tell(f"{len(recorded)} recordings of real speech; making the attacks from them")
    data = make_domains(
        recorded,
        out / DATA,
        recipe,
        split_seed=options.data.split_seed,
        seed=seed,
        workers=workers,
        progress=progress,
    )
    clock.lap("simulate")
    before = _score(registry, data, run)
    clock.lap("score before")
    known = ", ".join(expert.name for expert in registry.store.experts())
    tell(
        f"The shipped mixture knows {known}. Now {recipe.novel} arrives; one new expert is trained, all old ones frozen"
    )
    changed = validate(Recipe, _merge(options.model_dump(mode="json"), recipe.adapt), "demo recipe, adapt")
    added = registry.add_expert(
        data.novel,
        domain=recipe.novel,
        recipe=changed,
        run=run,
    )
    clock.lap("add-expert")
    tell("The gate, on exemplars that the experts keep and the new domain's test split", added)
    after = _score(registry, data, run)
    clock.lap("score after")
    known_voices = _compared(registry, before["known"], after["known"], recipe.novel)
    tell("Test recordings that no training heard, voices known from training", known_voices)
    held_out = None
    if data.held_out_voice:
        held_out = _compared(registry, before["held out"], after["held out"], recipe.novel)
        tell(
            f"The held-out voice, {recipe.held_out_speaker}: neither the base nor any expert ever heard it",
            held_out,
        )
    everything = Table(
        tuple(dict.fromkeys(item for table in data.known_voices.values() for item in table)), "test"
    )
    analysis = registry.analyze(everything, run=run)
    clock.lap("analyze")
    tell("Which experts did the work", analysis)
    report = DemoReport(added, known_voices, held_out, analysis, clock.laps, out / PAGE, data.failed)
    voices = (known_voices, held_out)
    write_report(report.page, recipe.novel, voices, analysis, clock.laps, recipe.held_out_speaker)
    (out / FIGURES).write_text(json.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    total = sum(clock.laps.values())
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in clock.laps.items())
    tell(
        f"Done in {total:.0f} s ({steps}).\nReport: {report.page}    The adapted registry: {out / 'registry'}"
    )
    return report


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


def _score(registry: Registry, data: DemoData, run: Run) -> dict[str, dict[str, ScoredSet]]:
    """Score every test recording once, and hand the scores to all domains that share it."""
    sets = {"known": data.known_voices, "held out": data.held_out_voice}
    items = dict.fromkeys(item for tables in sets.values() for table in tables.values() for item in table)
    table = Table(tuple(items), "test")
    report = registry.score(table, keep=True, run=run)
    score_of = {item.path: item.score for item in report.scores}
    return {
        kind: {name: _scored(table, score_of) for name, table in tables.items()}
        for kind, tables in sets.items()
    }


def _scored(table: Table, score_of: Mapping[str, float]) -> ScoredSet:
    items = [item for item in table if str(item.path) in score_of]
    return ScoredSet(
        np.array([score_of[str(item.path)] for item in items]),
        np.array([item.label == "bonafide" for item in items]),
        tuple(item.source for item in items),
    )


def _compared(
    registry: Registry,
    before: Mapping[str, ScoredSet],
    after: Mapping[str, ScoredSet],
    novel: str,
) -> Comparison:
    options = registry.recipe().gate
    names = [novel, *(name for name in before if name not in (novel, NULL_DOMAIN)), NULL_DOMAIN]
    order = {name: before[name] for name in names if name in before}
    threshold = registry.store.generation().threshold
    return Comparison(
        before=rates(order, options),
        after=rates({name: after[name] for name in order}, options),
        change=compare(order, after, threshold, options),
        novel=novel,
    )


def _merge(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        inner = content.get(key)
        content[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return content
