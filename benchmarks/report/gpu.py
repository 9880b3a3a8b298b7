"""What a graphics card showed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.targets import judged
from benchmarks.report.found import Found
from benchmarks.report.tables import table

Figures = dict[str, Any]


def gpu(found: Found) -> list[str]:
    """Targets, parts, costs, training."""
    parts = parts_of(found)
    targets = [
        [row["what"], f"≤ {row['most']:g}", f"{row['found']:.3g}", "yes" if row["met"] else "no"]
        for row in judged(parts)
    ]
    ran = [[name, figures["status"], f"{figures['seconds']:.0f}"] for name, figures in parts.items()]
    return [
        *table(["measure", "target", "found", "holds"], targets),
        *table(["part", "ended", "seconds"], ran),
        *_cost(parts.get("cost", {})),
        *_training(parts.get("training", {})),
        *_analysis(parts.get("analysis", {})),
        *_commands(parts),
    ]


def parts_of(found: Found) -> dict[str, Figures]:
    """Findings by part."""
    return {str(cell.arguments[0]): figures for cell, figures in found.by_method.get("card", {}).items()}


def _cost(cost: Figures) -> list[str]:
    kinds = [kind for kind in ("fp32", "bf16") if dict(_rows(cost.get(kind)))]
    if not kinds:
        return []
    names = dict.fromkeys(name for kind in kinds for name, _ in _rows(cost[kind]))
    rows = []
    for name in names:
        cells = [name]
        for kind in kinds:
            row = dict(_rows(cost[kind])).get(name, {})
            cells += [
                _number(row.get("ms"), ".2f"),
                _number(row.get("ratio"), ".3f"),
                _number(row.get("peak_mib"), ".0f"),
            ]
        rows.append(cells)
    header = [f"{kind}: {what}" for kind in kinds for what in ("ms", "ratio", "peak, MiB")]
    about = (
        "Whole passes from waveforms, medians; a mixture's ratio is to the frozen base in the same turn.\n"
    )
    return ["### Cost\n", about, *table(["", *header], rows)]


def _training(training: Figures) -> list[str]:
    rows = []
    for kind, run in training.items():
        if isinstance(run, dict) and "ours_over_peft" in run:
            for whose in ("PEFT and Trainer", "ours"):
                own = run[whose]
                peak = _number(own["peak_mib"], ".0f")
                rows.append([f"{whose}, {kind}", f"{own['clips_per_second']:.1f}", peak])
            rows.append([f"ours over PEFT, {kind}", f"{run['ours_over_peft']:.2f}", "–"])
    header = ["", "clips per second", "peak, MiB"]
    return ["### Training one expert\n", *table(header, rows)] if rows else []


def _analysis(analysis: Figures) -> list[str]:
    rows = []
    for kind in ("fp32", "bf16"):
        timed = analysis.get(kind, {})
        for name, row in timed.items() if "error" not in timed else ():
            if isinstance(row, dict) and ("ms" in row or "seconds" in row):
                seconds = row["seconds"] if "seconds" in row else row["ms"] / 1e3
                count = str(row.get("recordings", "the same"))
                peak = _number(row["peak_mib"], ".0f")
                rows.append(
                    [f"{name}, {kind}", count, f"{seconds:.2f}", _number(row.get("ratio"), ".3f"), peak]
                )
    header = ["", "recordings", "seconds", "over scoring", "peak, MiB"]
    about = "From waveforms, with 64 experts; decoding is not counted.\n"
    return ["### Analysis\n", about, *table(header, rows)] if rows else []


def _commands(parts: dict[str, Figures]) -> list[str]:
    rows = []
    tests = parts.get("checks", {}).get("tests", {})
    if "passed" in tests:
        rows.append(
            ["device tests passed on the card; failed", f"{tests['on_cuda']}; {len(tests['failed'])}"]
        )
    commands = parts.get("commands", {})
    for name, key, what in (
        ("score", "times_real_time", "`score`, times real time"),
        ("analyze", "over_score", "`analyze` over `score`, seconds"),
        ("add-expert", "seconds", "`add-expert`, seconds"),
    ):
        if key in commands.get(name, {}):
            rows.append([what, f"{commands[name][key]:.2f}"])
    return ["### Tests and commands\n", *table(["", ""], rows)] if rows else []


def _rows(timed: Any) -> Iterator[tuple[str, Figures]]:
    """Candidates that were timed; what failed is told among the parts."""
    for name, row in timed.items() if isinstance(timed, dict) else ():
        if isinstance(row, dict) and "ms" in row:
            yield name, row


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
