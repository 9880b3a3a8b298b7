"""Domains and features that all measurements share, made once and kept under work/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn.utils import parametrize

from molex_adapt.base import load_base
from molex_adapt.conventions import BONA_FIDE, NULL_DOMAIN, SPLITS, Split
from molex_adapt.data import Table, assign_splits, read
from molex_adapt.demo.domains import find_speech
from molex_adapt.detector import Detector
from molex_adapt.features import Features, concatenate, extract, logits_of
from molex_adapt.metrics import Rates, measure
from molex_adapt.progress import Progress
from molex_adapt.recipe import DemoRecipe, Recipe, load
from molex_adapt.run import Run
from molex_adapt.shipped import recipe_path
from molex_adapt.simulate import LastStage, make_attack, simulate
from molex_adapt.train.prepare import DomainData

WORK = Path("work")
RESULTS = Path(__file__).parent / "results"
MOST_KNOWN, MOST_HELD_OUT = 300, 150
"""Recordings of each class and domain that are measured, at even distances; more would cost more than it tells."""


@dataclass(frozen=True)
class Measured:
    """Test features of one kind of voice: bona fide once, spoofed per domain."""

    bona_fide: Features
    spoofed: Mapping[str, Features]


@dataclass(frozen=True)
class Workbench:
    """Everything a measurement needs of one base.

    Attributes:
        domains: per domain, train, dev and test features of the voices that training may hear.
        known, held_out: what is measured on: test recordings of those voices, and the voice nobody heard.
    """

    domains: dict[str, DomainData]
    known: Measured
    held_out: Measured


def demo_recipe() -> DemoRecipe:
    """Which domains there are."""
    return load(DemoRecipe, recipe_path("demo"))


def adaptation_recipe(overrides: list[str]) -> Recipe:
    """The shipped recipe, with overrides."""
    return load(Recipe, recipe_path("shipped"), overrides)


def detector_on(base: Path, recipe: Recipe, seed: int = 0) -> Detector:
    """A detector without experts, computing as the recipe says; the seed decides its untrained head."""
    torch.manual_seed(seed)
    detector = Detector(load_base(base), recipe)
    detector.base.compute_in(recipe.precision)
    for module in list(detector.base.modules()):  # frozen: computed once, and it can be pickled
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
    return detector


def simulate_all(workers: int, progress: Progress) -> dict[str, Table]:
    """All speech, forged by every attack of the demo's recipe; bona fide recordings under BONA_FIDE."""
    recipe, speech, tables = demo_recipe(), find_speech(None), {}
    for name, domain in recipe.domains.items():
        result = simulate(
            make_attack(domain.attack, domain.parameters),
            speech,
            WORK / "domains" / name,
            stage=LastStage(),
            seed=0,
            workers=workers,
            progress=progress,
            bona_fide=name == NULL_DOMAIN,
        )
        table = read(result.manifest)
        tables[name] = table.select(label="spoof")
        if name == NULL_DOMAIN:
            tables[BONA_FIDE] = table.select(label=BONA_FIDE)
    return tables


def set_up(base: Path, names: Iterable[str], recipe: Recipe, workers: int, progress: Progress) -> Workbench:
    """Features of the named domains under a base, in float32, divided as the shipped experts' data is."""
    detector = Detector(load_base(base), recipe)
    tables = simulate_all(workers, progress)
    held_out = demo_recipe().held_out_speaker
    heard = [item for item in tables[BONA_FIDE] if item.speaker != held_out]
    split_of = {
        item.source: item.split
        for item in assign_splits(Table(tuple(heard), "speech"), seed=recipe.data.split_seed, by="source")
    }
    parts = {
        name: features_of(detector, name, tables[name], workers, progress) for name in {BONA_FIDE, *names}
    }

    def part(name: str, split: Split | None) -> Features:
        rows = [
            row
            for row, item in enumerate(tables[name])
            if (split is None) == (item.speaker == held_out)
            and (split is None or split_of[item.source] == split)
        ]
        return parts[name].pick(rows)

    domains = {}
    for name in names:
        both = {split: concatenate([part(BONA_FIDE, split), part(name, split)]) for split in SPLITS}
        both["test"] = _thinned_by_class(both["test"], MOST_KNOWN // 3)  # of it come the check exemplars
        domains[name] = DomainData(tables[name], both["train"], both["dev"], both["test"], (), ())
    return Workbench(
        domains,
        _measured(part, "test", names, MOST_KNOWN),
        _measured(part, None, names, MOST_HELD_OUT),
    )


def _measured(
    part: Callable[[str, Split | None], Features], split: Split | None, names: Iterable[str], most: int
) -> Measured:
    def thinned(name: str) -> Features:
        features = part(name, split)
        count = min(most, len(features))
        return features.pick([at * len(features) // count for at in range(count)])

    return Measured(thinned(BONA_FIDE), {name: thinned(name) for name in names})


def _thinned_by_class(features: Features, most: int) -> Features:
    kept: list[int] = []
    for members in (features.of_class(True), features.of_class(False)):
        count = min(most, len(members))
        kept += [members[at * len(members) // count] for at in range(count)]
    return features.pick(kept)


def figures(detector: Detector, measured: Measured, pooled: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Rates per domain, and under "pooled" for some of them together."""
    real = _scores(detector, measured.bona_fide)
    spoofed = {name: _scores(detector, features) for name, features in measured.spoofed.items()}
    groups = measured.bona_fide.sources
    found = {
        name: measure(real, scores, groups=(groups, measured.spoofed[name].sources))
        for name, scores in spoofed.items()
    }
    together = [name for name in pooled if name in spoofed]
    if together:
        sources = [source for name in together for source in measured.spoofed[name].sources]
        everything = np.concatenate([spoofed[name] for name in together])
        found["pooled"] = measure(real, everything, groups=(groups, sources))
    return {name: rates.as_dict() for name, rates in found.items()}


def percent(rates: Rates | dict[str, Any]) -> str:
    """An EER as people read it."""
    value = rates.eer if isinstance(rates, Rates) else float(rates["eer"])
    return f"{100 * value:.1f}"


def _scores(detector: Detector, features: Features) -> np.ndarray:
    return np.asarray(detector.calibration.apply(logits_of(detector, features).double().numpy()))


def features_of(
    detector: Detector,
    name: str,
    table: Table,
    workers: int,
    progress: Progress,
    folder: Path = WORK / "features",
) -> Features:
    """Prefix features of a whole table, kept in `folder`."""
    kept = folder / detector.base.identity.sha256[:12] / f"{name}-{table.digest()[:12]}.safetensors"
    labels = torch.tensor([item.label == BONA_FIDE for item in table])
    about = tuple(item.source for item in table), tuple(item.attack for item in table)
    if kept.exists():
        arrays = load_file(kept)
        return Features(tuple(torch.split(arrays["frames"], arrays["lengths"].tolist())), labels, *about)
    features, failed = extract(detector, table, Run(workers=workers, progress=progress))
    if failed:
        raise SystemExit(f"{name}: {len(failed)} recordings failed, first {failed[0]}")
    kept.parent.mkdir(parents=True, exist_ok=True)
    lengths = torch.tensor([len(clip) for clip in features.clips])
    save_file({"frames": torch.cat(list(features.clips)), "lengths": lengths}, kept)
    return features
