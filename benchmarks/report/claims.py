"""What the product claims of a sequence, beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import mean, median
from typing import Any

from benchmarks.plan import Cell
from benchmarks.report.matrix import Matrix, is_control
from benchmarks.report.tables import table

Figures = dict[str, Any]
Methods = dict[str, dict[Cell, Figures]]

SEQUENTIAL = ("replay", "naive", "ewc", "lwf", "arrow", "averaged", "ours+dense", "head", "lfcc")
"""Methods that learn one domain after the other, as ours does."""
_ROUNDING = 1e-9


def claims(by_method: Methods) -> list[str]:
    """A table: measure, target, found, whether it holds; nothing where ours was not run."""
    if "ours" not in by_method:
        return []
    ours = list(by_method["ours"].values())
    rows = [
        _at_most("final average over that of joint training", 0.5, _difference(by_method, "joint", final)),
        _below_peers(by_method),
        _at_most(
            "forgetting, mean", 0.3, median(100 * mean(Matrix.of(run).forgetting.values()) for run in ours)
        ),
        _at_most(
            "forgetting, worst domain",
            1.0,
            median(100 * max(Matrix.of(run).forgetting.values()) for run in ours),
        ),
        _at_most(
            "right after its step, over a LoRA trained on that domain alone, mean",
            1.0,
            _difference(by_method, "alone", lambda run: 100 * mean(Matrix.of(run).right_after.values())),
        ),
        _at_most(
            "change of old domains' error rates at the frozen threshold",
            1.0,
            median(map(_errors, ours)),
            both=True,
        ),
        _controls(ours),
        _unheard(ours),
    ]
    return [
        "### What is claimed, and whether it holds\n",
        "Of several runs the median; with another method ours is compared in the orders that both were run in.\n",
        *table(["measure", "target", "found", "holds"], rows),
    ]


def final(run: Figures) -> float:
    """Average EER after the last step, per cent."""
    return 100 * Matrix.of(run).final_mean


def _errors(run: Figures) -> float:
    frozen = run["frozen_threshold"]
    return 50 * float(frozen["miss"] + frozen["false_alarm"])


def _at_most(title: str, most: float, found: float | None, both: bool = False) -> list[str]:
    if found is None:
        return [f"{title}, points", f"≤ {most}", "not measured", "–"]
    holds = (abs(found) if both else found) <= most + _ROUNDING
    return [f"{title}, points", f"≤ {most}", f"{found:+.1f}", "yes" if holds else "no"]


def _below_peers(by_method: Methods) -> list[str]:
    title = "final average below every sequential method, intervals apart"
    differences = {name: _difference(by_method, name, final) for name in SEQUENTIAL}
    peers = {name: found for name, found in differences.items() if found is not None}
    if not peers:
        return [title, "all", "not measured", "–"]
    apart = [name for name in peers if _apart(_beside(by_method, "ours", name), by_method[name].values())]
    rest = [name for name in peers if name not in apart]
    better = [name for name in rest if peers[name] > 0]
    missing = [name for name in SEQUENTIAL if name not in peers]
    found = f"apart from {', '.join(apart) or 'none'}; not from {', '.join(rest) or 'none'}"
    found += f"; {', '.join(better)} lower than ours" if better else ""
    found += f"; not measured: {', '.join(missing)}" if missing else ""
    return [title, "all", found, "no" if rest else "–" if missing else "yes"]


def _controls(ours: list[Figures]) -> list[str]:
    found = [100 * value for run in ours for value in Matrix.of(run).controls]
    holds = min(found) >= 45 and max(found) <= 55
    title = "controls, every run, per cent"
    return [title, "45 to 55", f"{min(found):.1f} to {max(found):.1f}", "yes" if holds else "no"]


def _unheard(ours: list[Figures]) -> list[str]:
    title = "a voice nobody heard: mean over domains, against known voices, per cent"
    pairs = []
    for run in ours:
        unheard = {name: eer for name, eer in run["held_out_voice"].items() if not is_control(name)}
        if unheard:
            heard = Matrix.of(run).final
            pairs.append((mean(unheard.values()), mean(heard[name] for name in unheard)))
    if not pairs:
        return [title, "reported", "not measured", "–"]
    unheard_mean, heard_mean = (100 * median(values) for values in zip(*pairs, strict=True))
    return [title, "reported", f"{unheard_mean:.1f} against {heard_mean:.1f}", "–"]


def _beside(by_method: Methods, name: str, other: str) -> list[Figures]:
    """A method's runs in the orders that another one was run in: some orders are harder than others."""
    orders = {cell.arguments[0] for cell in by_method.get(other, {})}
    return [run for cell, run in by_method.get(name, {}).items() if cell.arguments[0] in orders]


def _apart(lower: Iterable[Figures], higher: Iterable[Figures]) -> bool:
    """Whether all intervals of the final average lie below all of the others."""
    highest, lowest = (
        max(run["mean_eer_ci"][1] for run in lower),
        min(run["mean_eer_ci"][0] for run in higher),
    )
    return bool(highest < lowest)


def _difference(by_method: Methods, other: str, value: Callable[[Figures], float]) -> float | None:
    """Ours minus another method's, in the orders that both were run in; None where there are none."""
    own, others = _beside(by_method, "ours", other), _beside(by_method, other, "ours")
    return median(map(value, own)) - median(map(value, others)) if own else None
