"""What a card should show, and whether it did."""

from __future__ import annotations

from typing import Any

MOST: list[tuple[str, tuple[str, ...], float]] = [
    (
        "bf16, 8 experts over the frozen base",
        ("cost", "bf16", "mixture, 8 experts, utterance", "ratio"),
        1.10,
    ),
    (
        "bf16, 256 experts over the frozen base",
        ("cost", "bf16", "mixture, 256 experts, utterance", "ratio"),
        1.15,
    ),
    (
        "bf16, 8 experts over the frozen base, frame by frame",
        ("cost", "bf16", "mixture, 8 experts, frame", "ratio"),
        1.10,
    ),
    (
        "bf16, 256 experts over the frozen base, frame by frame",
        ("cost", "bf16", "mixture, 256 experts, frame", "ratio"),
        1.15,
    ),
    (
        "bf16, an idle expert over none",
        ("cost", "bf16", "mixture, 8 experts and an idle one, utterance", "ratio"),
        1.01,
    ),
    (
        "bf16, an attached mixture without experts over none",
        ("cost", "bf16", "attached, no expert", "ratio"),
        1.01,
    ),
    (
        "scores in fp32 against the CPU, nats",
        ("parity", "scores", "recordings kept", "cuda fp32", "largest_nats"),
        1e-5,
    ),
    (
        "scores in bf16 against the CPU's fp32, nats",
        ("parity", "scores", "recordings kept", "cuda bf16", "largest_nats"),
        1e-3,
    ),
    (
        "bf16, `analyze` with 64 experts over scoring",
        ("analysis", "bf16", "analyze", "ratio"),
        1.05,
    ),
    (
        "bf16, memory of `analyze` on four times as many recordings",
        ("analysis", "bf16", "memory_of_many_over_few"),
        1.10,
    ),
    (
        "`analyze` in fp32 against the CPU, gates before top-k",
        ("analysis", "parity", "gates_before_top_k"),
        1e-4,
    ),
]
"""What it is, where it stands among the parts, and its largest value."""


def judged(parts: dict[str, Any]) -> list[dict[str, Any]]:
    """Every target whose figure is there."""
    rows = []
    for what, place, most in MOST:
        value: Any = parts
        for key in place:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, float):
            rows.append({"what": what, "found": value, "most": most, "met": value <= most})
    return rows
