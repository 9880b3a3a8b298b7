"""A way to run the command line as a user does, a registry without a model, and an api that only takes notes."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molex_adapt import Registry, Run
from molex_adapt.cli.app import main
from molex_adapt.data.table import Failed
from molex_adapt.metrics import Rates, count_refusals
from molex_adapt.recipe import Recipe, dump
from molex_adapt.registry import BaseRecord, DataRecord, ExpertRecord, GenerationDraft, NewExpert, Store
from molex_adapt.reports import (
    Analysis,
    Change,
    EvaluationReport,
    RecordingScore,
    ScoreReport,
    StageReport,
    ThresholdReport,
)

TARGET = "feed_forward.output_dense"
CONDITIONS = ("g722", "opus:bit_rate=6000", "room+noise", "mu_law", "band:high=3400")


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as exactly one JSON object."""
        assert self.out.count("\n") == 1
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.fixture
def run(capsys, monkeypatch):
    """Run `molex-adapt` with arguments, 80 columns wide, not on a terminal."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: object) -> Ran:
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(int(leaving.value.code or 0), captured.out, captured.err)

    return call


def rates(eer: float, spread: float = 0.02) -> Rates:
    return Rates(eer, (max(0.0, eer - spread), eer + spread), eer * 2, eer * 2.5, eer * 3, 120, 118)


def stage_report(activated: bool = True, eer: float = 0.031) -> StageReport:
    lost = (0.09, (0.05, 0.13)) if not activated else (0.004, (-0.01, 0.02))
    return StageReport(
        expert="codec_x",
        generation=5,
        activated=activated,
        before={"world": rates(0.02), "codec_x": rates(0.257)},
        after={"world": rates(0.024), "codec_x": rates(eer)},
        change={
            "world": Change(*lost, (0.02, 0.03), (0.01, 0.02), -0.1, 0.2),
            "codec_x": Change(eer - 0.257, (-0.28, -0.18), (0.1, 0.03), (0.4, 0.02), 0.5, -2.5),
        },
        novel="codec_x",
        seconds={"expert": 61.0, "router": 12.0, "evaluate": 4.0},
        failed=(Failed("data/broken.wav", "too short", by_rule=True),),
        remarks=["one recording was left out"],
        refused=[] if activated else ["world: EER rose by 9.0 points"],
        not_measured=["griffin_lim"],
        training={"expert": {"steps": 300}},
    )


@dataclass
class Notes:
    """What the fake api was asked, and what it answers."""

    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)

    def last(self, name: str) -> dict[str, Any]:
        called, arguments, keywords = self.calls[-1]
        assert called == name
        return {"arguments": arguments, **keywords}


@pytest.fixture
def api(monkeypatch):
    """Methods that need a model answer at once; they take what the real ones take, and work through progress."""
    notes = Notes()
    notes.answers = {
        "train": stage_report(),
        "add_expert": stage_report(),
        "retrain_router": stage_report(),
        "score": ScoreReport(
            (RecordingScore("a/one.wav", 2.5, 3.2), RecordingScore("a/two.flac", -1.25, 61.0)),
            failed=(Failed("a/three.mp3", "too short"),),
            generation=5,
            threshold=0.3,
        ),
        "evaluate": EvaluationReport(
            rates(0.05),
            {"world": rates(0.02), "lpc": rates(0.06)},
            {name: rates(0.04) for name in CONDITIONS} | {"none": None},
            {
                "world": {name: rates(0.03) for name in CONDITIONS} | {"none": None},
                "lpc": dict.fromkeys(CONDITIONS[:2], rates(0.07)),
            },
            threshold=0.3,
            refused=count_refusals([0.0, 1.0, 1.0, 1.0], 0.3),
            refused_by_condition={"g722": count_refusals([0.0, 1.0], 0.3)},
        ),
        "set_threshold": ThresholdReport(
            generation=6,
            asked=0.03,
            threshold=(0.4318, -1.25),
            refused=(count_refusals([0.0] * 3 + [1.0] * 7, 0.4), count_refusals([0.0] * 3 + [1.0] * 7, -1.2)),
            voices={
                "quiet": (count_refusals([1.0] * 4, 0.4), count_refusals([1.0] * 4, -1.2)),
                "worst": (count_refusals([0.0] * 4, 0.4), count_refusals([-2.0, 0.0, 0.0, 0.0], -1.2)),
            },
            accepted={"clone": (0.1, 0.25)},
            change={"world": Change(0.0, (0.0, 0.0), (0.02, 0.01), (0.05, 0.08), 0.0, 0.0)},
        ),
        "analyze": Analysis(
            experts=["world", "codec_x"],
            attacks=["bonafide", "world"],
            blocks=2,
            usage={"bonafide": {"world": 0.5, "codec_x": 0.5}, "world": {"world": 0.85, "codec_x": 0.15}},
            usage_by_block={"bonafide": [[0.4, 0.6], [0.6, 0.4]], "world": [[0.8, 0.2], [0.9, 0.1]]},
            utterances={"bonafide": 20, "world": 18},
        ),
    }

    def stand_in(name: str) -> Any:
        signature = inspect.signature(getattr(Registry, name))

        def answer(registry: Registry, *arguments: Any, run: Run, **keywords: Any) -> Any:
            signature.bind(registry, *arguments, run=run, **keywords)
            notes.calls.append((name, arguments, {**keywords, "run": run, "registry": registry.store.path}))
            if isinstance(notes.answers[name], BaseException):
                raise notes.answers[name]
            run.progress.start("at work", 2)
            run.progress.advance(2)
            run.progress.note("half way")
            run.progress.stop()
            return notes.answers[name]

        return answer

    def create(path: Path, base: str, **options: Any) -> Registry:
        notes.calls.append(("create", (path, base), options))
        return Registry(Store.create(path, base_record()))

    for name in (*notes.answers, "pull", "timeline", "compare", "novelty"):
        monkeypatch.setattr(Registry, name, stand_in(name))
    monkeypatch.setattr(Registry, "create", create)
    monkeypatch.setattr(Registry, "open", lambda path: Registry(Store(path)))
    return notes


def base_record() -> BaseRecord:
    return BaseRecord(id="tiny/base", revision="0123456789abcdef", sha256="ab" * 32, embedded=False)


def new_expert(name: str) -> NewExpert:
    prefix = f"base_model.model.encoder.layers.0.{TARGET}"
    weights = {
        f"{prefix}.lora_A.weight": np.full((2, 8), 0.25, np.float16),
        f"{prefix}.lora_B.weight": np.full((4, 2), 0.5, np.float16),
    }
    record = ExpertRecord(
        name=name,
        domain=name,
        rank=2,
        alpha=4.0,
        targets=[TARGET],
        blocks=1,
        base=base_record(),
        data=DataRecord(digest="cd" * 32, counts={"train": {"bonafide": 6, "spoof": 6}}, attacks=[name]),
        recipe=dump(Recipe()),
        seed=3,
        metrics={name: rates(0.0123).as_dict()},
    )
    return NewExpert(record, weights)


def add_generation(store: Store, name: str, eers: dict[str, float]) -> int:
    """One more expert beside those that are there, and what its generation measured."""
    active = store.active
    experts = [*(active.names if active else []), name]
    draft = GenerationDraft(
        parent=active.number if active else None,
        experts=experts,
        new_experts=[new_expert(name)],
        router={
            "blocks.0.rows": np.ones((len(experts), 5), np.float32),
            "blocks.0.centre": np.zeros(4, np.float32),
            "blocks.0.spread": np.ones(4, np.float32),
        },
        head={"classify.weight": np.ones((1, 4), np.float32)},
        recipe="expert:\n  steps: 123\n",
        threshold=0.25,
        command=f"add-expert --domain {name}",
        metrics={domain: rates(eer).as_dict() for domain, eer in eers.items()},
    )
    return store.add_generation(draft, activate=True)


@pytest.fixture
def learn():
    """Add an expert to a store: (store, name, {domain: EER}) to the generation's number."""
    return add_generation


@pytest.fixture
def registry(tmp_path) -> Path:
    """A registry with generation 1 (world) and the active generation 2 (world, codec_x)."""
    store = Store.create(tmp_path / "registry", base_record())
    assert add_generation(store, "world", {"world": 0.02}) == 1
    assert add_generation(store, "codec_x", {"world": 0.02, "codec_x": 0.02}) == 2
    return store.path
