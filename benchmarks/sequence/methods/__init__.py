"""All methods by name."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.sequence.methods.base import Learnt, Method, Setting
from benchmarks.sequence.methods.lora import Joint, OneLora
from benchmarks.sequence.methods.ours import Ours
from benchmarks.sequence.methods.separate import Alone, Arrow
from benchmarks.sequence.methods.simple import Statistics

REPLAY = 512
"""Utterances that the methods with replay keep, of all domains together."""

METHODS: dict[str, Callable[[Setting], Method]] = {
    "ours": Ours,
    "joint": Joint,
    "alone": Alone,
    "replay": lambda setting: OneLora(setting, replay=REPLAY),
    "naive": OneLora,
    "ewc": lambda setting: OneLora(setting, ewc=1000.0),
    "lwf": lambda setting: OneLora(setting, lwf=0.05),
    "arrow": Arrow,
    "head": lambda setting: OneLora(setting, replay=REPLAY, lora=False),
    "lfcc": lambda setting: Statistics("lfcc", cumulative=True),
    "average_spectrum": lambda setting: Statistics("average_spectrum", cumulative=False),
    "duration": lambda setting: Statistics("duration", cumulative=False),
}

__all__ = ["METHODS", "REPLAY", "Learnt", "Method", "Setting"]
