"""Where the time goes: what the device ran in one pass of the frozen base and of mixtures over it, longest first."""

from __future__ import annotations

from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.cost import COUNTS, attached
from benchmarks.gpu.material import base_of, mixture_of, tables_of, waves_of
from benchmarks.gpu.setting import Findings, Setting

MOST = 30
"""Kernels listed."""


@torch.no_grad()
def run(setting: Setting, found: Findings) -> None:
    """bfloat16, the blocks alone."""
    base = base_of(setting)
    base.compute_in("bf16")
    tables = tables_of(base, max(COUNTS))
    wave = waves_of(setting, setting.clips).to(setting.device)
    features, frames = base.prefix(wave, torch.full((setting.clips,), setting.samples))
    few, many = (mixture_of(base, tables, count) for count in (COUNTS[0], COUNTS[-1]))
    for name, mixture, routing in (
        ("frozen base", None, None),
        (f"{COUNTS[0]} experts, utterance", few, "utterance"),
        (f"{COUNTS[0]} experts, frame", few, "frame"),
        (f"{COUNTS[-1]} experts, frame", many, "frame"),
    ):
        with found.attempt(name), attached(mixture, routing):
            for _ in range(3):
                (mixture or base).hidden_states(features, frames)
            setting.wait()
            with profile(activities=_activities(setting)) as seen:
                (mixture or base).hidden_states(features, frames)
                setting.wait()
            found.add(name, _table(seen, setting))
            found.say(
                f"{name}: {found.values[name]['kernels']} kernels, {found.values[name]['ms']:.2f} ms in them"
            )


def _activities(setting: Setting) -> list[ProfilerActivity]:
    return [ProfilerActivity.CUDA if setting.device.type == "cuda" else ProfilerActivity.CPU]


def _table(seen: Any, setting: Setting) -> dict[str, Any]:
    key = "self_device_time_total" if setting.device.type == "cuda" else "self_cpu_time_total"
    events = sorted(seen.key_averages(), key=lambda event: -getattr(event, key))
    return {
        "kernels": sum(event.count for event in events),
        "ms": sum(getattr(event, key) for event in events) / 1e3,
        "longest": [
            [event.key[:120], event.count, round(getattr(event, key) / 1e3, 3)] for event in events[:MOST]
        ],
    }
