"""What the product claims of a sequence, beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import mean, median
from typing import Any

from benchmarks.markdown import row, rule
from benchmarks.sequence.figures import is_control

Figures = dict[str, Any]
Runs = dict[str, list[Figures]]

SEQUENTIAL = ("replay", "naive", "ewc", "lwf", "arrow", "averaged", "dense", "head", "lfcc")
"""Methods that learn one domain after the other, as ours does."""
STATISTICS, WITH_REPLAY = "ours+statistics", "ours+top_2"
"""Runs that differ in what is kept alone."""


def targets(by_method: Runs) -> list[str]:
    """A table: measure, target, found, whether it holds; nothing where ours was not run."""
    if "ours" not in by_method:
        return []
    rows = [
        _above_joint(by_method),
        _below_peers(by_method),
        *_forgetting(by_method["ours"]),
        _as_alone(by_method),
        _statistics(by_method),
        _frozen(by_method["ours"]),
        _controls(by_method["ours"]),
        _unheard(by_method["ours"]),
    ]
    header = ["measure", "target", "found", "holds"]
    return [
        "## What is claimed, and whether it holds\n",
        "Of several runs the median; with another method ours is compared in the orders that both were run in.\n",
        row(header),
        rule(len(header)),
        *map(row, rows),
        "",
    ]


def _above_joint(by_method: Runs) -> list[str]:
    title = "final average over that of joint training, points"
    return _judged(
        title, "≤ 0.5", _difference(by_method, "joint", _final), lambda found: found <= 0.5 + 1e-9, "{:+.1f}"
    )


def _below_peers(by_method: Runs) -> list[str]:
    title = "final average below every sequential method, intervals apart"
    differences = {name: _difference(by_method, name, _final) for name in SEQUENTIAL}
    peers = {name: found for name, found in differences.items() if found is not None}
    if not peers:
        return [title, "all", "not measured", "–"]
    apart = [name for name in peers if _apart(_beside(by_method, name), by_method[name])]
    rest = [name for name in peers if name not in apart]
    better = [name for name in rest if peers[name] > 0]
    found = f"apart from {', '.join(apart) or 'none'}; not from {', '.join(rest) or 'none'}"
    if better:
        found += f"; {', '.join(better)} lower than ours"
    missing = [name for name in SEQUENTIAL if name not in peers]
    if missing:
        found += f"; not measured: {', '.join(missing)}"
    return [title, "all", found, "no" if rest else "–" if missing else "yes"]


def _forgetting(ours: list[Figures]) -> list[list[str]]:
    return [
        _judged(
            f"forgetting, {title}, points",
            f"≤ {most}",
            100 * median(run["forgetting"][key] for run in ours),
            lambda found, most=most: found <= most + 1e-9,  # type: ignore[misc]
            "{:+.1f}",
        )
        for title, key, most in (("mean", "mean", 0.3), ("worst domain", "worst", 1.0))
    ]


def _as_alone(by_method: Runs) -> list[str]:
    title = "right after its step, over a LoRA trained on that domain alone, mean, points"
    return _judged(
        title,
        "≤ 1.0",
        _difference(by_method, "alone", _right_after),
        lambda found: found <= 1 + 1e-9,
        "{:+.1f}",
    )


def _statistics(by_method: Runs) -> list[str]:
    title = "final average with statistics only, over that with replay, points"
    found = _difference(by_method, WITH_REPLAY, _final, STATISTICS)
    return _judged(title, "≤ 1.5", found, lambda found: found <= 1.5 + 1e-9, "{:+.1f}")


def _frozen(ours: list[Figures]) -> list[str]:
    changes = [100 * run["frozen_threshold"]["error_change"] for run in ours]
    return _judged(
        "change of old domains' error rates at the frozen threshold, points",
        "≤ 1.0",
        median(changes),
        lambda found: abs(found) <= 1 + 1e-9,
        "{:+.1f}",
    )


def _controls(ours: list[Figures]) -> list[str]:
    found = [100 * rates["eer"] for run in ours for name, rates in run["final"].items() if is_control(name)]
    holds = min(found) >= 45 and max(found) <= 55
    title = "controls, every run, per cent"
    return [title, "45 to 55", f"{min(found):.1f} to {max(found):.1f}", "yes" if holds else "no"]


def _unheard(ours: list[Figures]) -> list[str]:
    gaps = []
    for run in ours:
        names = [name for name in run["held_out_voice"] if not is_control(name)]
        heard, unheard = (_mean_eer(run[part], names) for part in ("final", "held_out_voice"))
        gaps.append((heard, unheard))
    title = "a voice nobody heard: mean over domains, against known voices, per cent"
    heard, unheard = (median(values) for values in zip(*gaps, strict=True))
    return [title, "reported", f"{unheard:.1f} against {heard:.1f}", "–"]


def _mean_eer(rates: Figures, names: Iterable[str]) -> float:
    return 100 * mean(rates[name]["eer"] for name in names)


def _final(run: Figures) -> float:
    return 100 * float(run["final_mean"]["eer"])


def _right_after(run: Figures) -> float:
    return 100 * float(run["right_after"]["mean"])


def _median(runs: list[Figures], value: Callable[[Figures], float]) -> float:
    return median(value(run) for run in runs)


def _beside(by_method: Runs, other: str, ours: str = "ours") -> list[Figures]:
    """Our runs in the orders that another method was run in: some orders are harder than others."""
    orders = {run["order"] for run in by_method.get(other, [])}
    return [run for run in by_method.get(ours, []) if run["order"] in orders]


def _apart(lower: list[Figures], higher: list[Figures]) -> bool:
    """Whether all intervals of the final average lie below all of the others."""
    return max(run["final_mean"]["eer_ci"][1] for run in lower) < min(
        run["final_mean"]["eer_ci"][0] for run in higher
    )


def _difference(
    by_method: Runs, other: str, value: Callable[[Figures], float], ours: str = "ours"
) -> float | None:
    """Ours minus another method's, in the orders that both were run in; None where there are none."""
    own, others = _beside(by_method, other, ours), _beside(by_method, ours, other)
    return _median(own, value) - _median(others, value) if own else None


def _judged(
    title: str, target: str, found: float | None, holds: Callable[[float], bool], form: str
) -> list[str]:
    if found is None:
        return [title, target, "not measured", "–"]
    return [title, target, form.format(found), "yes" if holds(found) else "no"]
