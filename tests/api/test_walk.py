"""How far it is from a command to the first optimiser step."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
import torch

import molex_adapt
from molex_adapt.cli.app import main

PACKAGE = Path(molex_adapt.__file__).parent


class Arrived(BaseException):
    """Ends a run at its first step."""


@pytest.mark.parametrize(
    ("command", "walk"),
    [
        (["add-expert", "--domain", "hum"], ["add_expert", "add_expert", "add_expert", "fit"]),
        (["retrain-router"], ["retrain_router", "retrain_router", "retrain_routers", "fit"]),
    ],
)
def test_four_calls_lead_from_the_command_to_the_first_optimiser_step(made, monkeypatch, command, walk):
    """litgpt needs three: setup, main, fit. Context managers and torch's own frames are no calls on the way."""
    seen: list[traceback.FrameSummary] = []

    def step(self, closure=None):
        seen.extend(traceback.extract_stack())
        raise Arrived

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    data = [str(made.hum)] if command[0] == "add-expert" else []
    with pytest.raises(Arrived):
        main([*command, *data, "--registry", str(made.path), "--device", "cpu", "--workers", "1", "--quiet"])
    ours = [frame for frame in seen if PACKAGE in Path(frame.filename).parents]
    start = next(at for at, frame in enumerate(ours) if "cli/commands" in frame.filename)
    assert [frame.name for frame in ours[start:]] == walk
