"""A valid expert and a valid generation, for readers to be given something else."""

from __future__ import annotations

import numpy as np

from molex_adapt import recipe as recipes
from molex_adapt.recipe import Recipe
from molex_adapt.registry import BaseRecord, DataRecord, ExpertRecord, GenerationDraft, NewExpert
from molex_adapt.registry.checks import peft_key

BASE = BaseRecord(id="someone/speech", revision="c1423ed0", sha256="ab" * 32, embedded=False)
TARGET = "feed_forward.output_dense"
WEIGHTS = {
    peft_key(0, TARGET, "lora_A"): np.full((2, 8), 0.25, np.float16),
    peft_key(0, TARGET, "lora_B"): np.full((4, 2), 0.5, np.float16),
}
EXEMPLARS = {
    **{
        f"{part}.{name}": array
        for part in ("replay", "check")
        for name, array in {
            "frames": np.ones((7, 4), np.float16),
            "lengths": np.array([3, 4], np.int32),
            "bona_fide": np.array([1, 0], np.uint8),
            "sources": np.ones((2, 8), np.uint8),
            "attacks": np.array([-1, 0], np.int32),
        }.items()
    },
    "reads.mean": np.ones((2, 1, 8), np.float16),
}
ROUTING = {
    "centre": np.zeros((1, 8), np.float32),
    "spread": np.ones((1, 8), np.float32),
    "spoof.mean": np.zeros((1, 8), np.float16),
    "spoof.directions": np.ones((1, 2, 8), np.float16),
    "spoof.rest": np.ones((1, 8), np.float16),
    "spoof.utterances": np.array([9], np.int32),
}
ROUTER = {
    "blocks.0.rows": np.ones((1, 9), np.float32),
    "blocks.0.centre": np.zeros(8, np.float32),
    "blocks.0.spread": np.ones(8, np.float32),
}
HEAD = {"classify.weight": np.ones((1, 4), np.float32)}
RATES = {
    "eer": 0.1,
    "eer_ci": [0.0, 0.2],
    "min_dcf": 0.1,
    "act_dcf": 0.2,
    "cllr": 0.3,
    "bona_fide": 3,
    "spoof": 5,
}


def expert() -> NewExpert:
    """A valid expert."""
    record = ExpertRecord(
        name="world",
        domain="world",
        rank=2,
        alpha=4.0,
        targets=[TARGET],
        blocks=1,
        base=BASE,
        data=DataRecord(digest="cd" * 32, counts={"train": {"bonafide": 3, "spoof": 5}}, attacks=["A07"]),
        recipe=recipes.dump(Recipe()),
        seed=3,
        metrics={"world": RATES},
        licence="cc-by-4.0",
        machine={"device": "cpu", "threads": "1"},
    )
    return NewExpert(record, WEIGHTS, EXEMPLARS, ROUTING)


def draft() -> GenerationDraft:
    """A valid generation with that expert."""
    return GenerationDraft(
        parent=None,
        experts=["world"],
        new_experts=[expert()],
        router=ROUTER,
        head=HEAD,
        recipe=recipes.dump(Recipe()),
        command="molex-adapt add-expert data/ --domain world",
        metrics={"world": RATES},
        seed=3,
    )
