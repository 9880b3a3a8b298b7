"""Every option of a stage changes what the stage comes to, in every run that has the stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from molex_adapt import Run
from molex_adapt.recipe import ExemplarOptions, ExpertStage, JointStage, Recipe, RouterStage, TrainingOptions
from molex_adapt.train import loop
from molex_adapt.train.adapt import add_expert, retrain_routers, train_first
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.old import OldDomain

STAGE: dict[str, tuple[Any, dict[str, Any]]] = {"steps": (2, {}), "evaluate_every": (3, {})}
"""By option: another value, and what else has to be set for it to matter."""
ALTERED: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "training": {
        "batch_size": (6, {}),
        "router_learning_rate": (1.0, {}),
        "replay_share": (0.9, {}),
        "patience": (3, {"patience": 1}),
    },
    "joint": STAGE | {"learning_rate": (1e-4, {}), "orthogonality": (10.0, {})},
    "expert": STAGE | {"learning_rate": (1e-4, {})},
    "router_stage": STAGE,
    "exemplars": {"replay": (2, {}), "check": (2, {})},
}
RUNS = [("first", "joint"), ("first", "exemplars"), ("add", "expert"), ("add", "exemplars")] + [
    (run, section) for run in ("add", "routers with data") for section in ("router_stage", "training")
]


@pytest.fixture(scope="module")
def known() -> dict[Any, str]:
    """What runs came to, by run and recipe: many cases share the one that theirs is compared with."""
    return {}


@pytest.fixture
def come_to(detector_of, domain_of, features_of, state, known, monkeypatch) -> Callable[[str, Recipe], str]:
    """Everything that a run leaves: weights, figures, the losses on the way, what is kept."""
    losses: list[float] = []
    judge = loop._judge
    # No evaluation counts as an improvement, so that patience decides how long a stage lasts.
    monkeypatch.setattr(
        loop, "_judge", lambda stage, now, least: (losses.append(now), judge(stage, now + 9.0, least))
    )

    def old(name: str, channel: int) -> OldDomain:
        heard = features_of(6, 30 + channel, name, channel)
        return OldDomain(name, Exemplars(heard, features_of(4, 50 + channel, name, channel)))

    def go(run: str, recipe: Recipe) -> str:
        if (run, recipe) in known:
            return known[run, recipe]
        detector = detector_of(recipe, *(() if run == "first" else ("world", "opus")))
        olds = {name: old(name, 4 + at) for at, name in enumerate(detector.mixture.names)}
        new = domain_of("buzz", 3, count=5)
        losses.clear()
        if run == "first":
            domains = {"buzz": new, "hum": domain_of("hum", 6, 1, 5)}
            result = train_first(detector, domains, recipe, Run(seed=1))
        elif run == "routers with data":
            result = retrain_routers(detector, {"buzz": new}, olds, 0.0, recipe, Run(seed=1))
        else:
            result = add_expert(detector, "buzz", "buzz", new, olds, 0.0, recipe, Run(seed=1))
        before = [fitted.loss_before for fitted in result.stages.values()]
        kept = [(item.replay.digest(), item.check.digest()) for item in result.exemplars.values()]
        weights = {key: item.tolist() for key, item in state(detector).items() if not key.startswith("base")}
        known[run, recipe] = repr((weights, detector.calibration, result.after, before, losses, kept))
        return known[run, recipe]

    return go


@pytest.mark.parametrize(
    ("run", "section", "option"),
    [(run, section, option) for run, section in RUNS for option in ALTERED[section]],
)
def test_an_option_changes_what_a_run_comes_to(tiny_recipe, come_to, run, section, option):
    value, others = ALTERED[section][option]
    sections: dict[str, dict[str, Any]] = {
        name: {"steps": 4, "evaluate_every": 1} for name in ("joint", "expert", "router_stage")
    }
    sections |= {"exemplars": {"replay": 4, "check": 4}, "training": {}}
    sections[section] = sections[section] | others
    changed = sections | {section: sections[section] | {option: value}}
    assert come_to(run, tiny_recipe(**sections)) != come_to(run, tiny_recipe(**changed))


ELSEWHERE = {"draws"}
"""Read where data is prepared, and tried there."""


def test_every_option_of_every_stage_is_tried():
    kinds = {
        "training": TrainingOptions,
        "joint": JointStage,
        "expert": ExpertStage,
        "router_stage": RouterStage,
        "exemplars": ExemplarOptions,
    }
    assert {name: set(options) for name, options in ALTERED.items()} == {
        name: set(kind.model_fields) - ELSEWHERE for name, kind in kinds.items()
    }
    assert {section for _, section in RUNS} == ALTERED.keys()
