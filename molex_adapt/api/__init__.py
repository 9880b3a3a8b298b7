"""The public face: a registry that scores, learns and explains. The command line does nothing but call this.

Example::

    registry = Registry.open("registry")
    report = registry.add_expert("codec_x/", domain="codec_x", run=Run(device="cuda"))
    print(report.after["codec_x"].eer, registry.score(["suspect.wav"]).scores[0].score)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from molex_adapt.api.registry import EMBEDDED, Registry
from molex_adapt.conventions import PER_ATTACK
from molex_adapt.run import Run

if TYPE_CHECKING:
    from molex_adapt.analysis.files import check_report_folder
    from molex_adapt.api.exported import Exported, open_to_score
    from molex_adapt.api.inputs import Data
    from molex_adapt.api.journal import discard_journal
    from molex_adapt.hub import read_token
    from molex_adapt.prefix_cache import CacheReport, cache_report, clear_cache
    from molex_adapt.registry import BaseRecord, GenerationRecord, PublishedRecord
    from molex_adapt.registry.forgetting import Course, Figure, Forgetting, GenerationStep

_ELSEWHERE = {
    "molex_adapt.analysis.files": ("check_report_folder",),
    "molex_adapt.api.exported": ("Exported", "open_to_score"),
    "molex_adapt.api.inputs": ("Data",),
    "molex_adapt.api.journal": ("discard_journal",),
    "molex_adapt.hub": ("read_token",),
    "molex_adapt.prefix_cache": ("CacheReport", "cache_report", "clear_cache"),
    "molex_adapt.registry": ("BaseRecord", "GenerationRecord", "PublishedRecord"),
    "molex_adapt.registry.forgetting": ("Course", "Figure", "Forgetting", "GenerationStep"),
}
"""Loaded when asked for: the command line's `list` needs none of it."""

__all__ = [
    "EMBEDDED",
    "PER_ATTACK",
    "BaseRecord",
    "CacheReport",
    "Course",
    "Data",
    "Exported",
    "Figure",
    "Forgetting",
    "GenerationRecord",
    "GenerationStep",
    "PublishedRecord",
    "Registry",
    "Run",
    "cache_report",
    "check_report_folder",
    "clear_cache",
    "discard_journal",
    "open_to_score",
    "read_token",
]


def __getattr__(name: str) -> Any:
    for module, names in _ELSEWHERE.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
