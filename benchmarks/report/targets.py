"""What ours should reach in a sequence of attacks, beside what was measured."""

from __future__ import annotations

from statistics import mean

from benchmarks.plan import Cell
from benchmarks.report.experts import at_work, is_needed
from benchmarks.report.paired import Estimate, Figures, difference
from benchmarks.report.tables import table

Methods = dict[str, dict[Cell, Figures]]

SEQUENTIAL = (
    "averaged",
    "naive",
    "replay",
    "replay_readout",
    "der",
    "ewc",
    "lwf",
    "rwm",
    "arrow",
    "any_ssr",
    "ranpac",
    "head",
)
"""Peers that learn one domain after the other, as ours does; the readout alone, a part of ours, is named apart."""
RIDGE, REPLAY = "ridge", "ours+replay"
_ROUNDING = 1e-9


def targets(by_method: Methods, attacks: list[str]) -> list[str]:
    """A table: measure, target, found, whether it holds; nothing where ours was not run."""
    if "ours" not in by_method:
        return []
    ours = list(by_method["ours"].values())
    changes = [backward(run) for run in ours]
    thresholds = [run["threshold"] for run in ours]
    refused = mean(100 * found["last"]["refused"] for found in thresholds)
    rise = mean(100 * (found["last"]["refused"] - found["first"]["refused"]) for found in thresholds)
    rows = [
        _over(by_method, "joint", 0.3, attacks, "final mean EER over that of joint training"),
        _below(by_method, SEQUENTIAL, attacks, "every sequential peer"),
        _below(by_method, (RIDGE,), attacks, "the readout alone"),
        _at_most("backward transfer, mean, points", 0.3, mean(100 * mean(each) for each in changes), True),
        _at_most(
            "backward transfer, worst attack, points", 1.5, mean(100 * max(each) for each in changes), True
        ),
        _at_most("bona fide refused after the last step, per cent", 3.0, refused, False),
        _at_most("the same over that after the first step, points", 1.0, rise, True),
        _over(by_method, REPLAY, 0.5, attacks, "final mean EER over that with replay"),
        *_of_experts(ours),
    ]
    about = (
        "Final mean EER is that of the test attacks, all else is of all attacks; of several orders the mean. An "
        "interval is apart where it does not reach zero.\n"
    )
    return [
        "### Targets, and whether they hold\n",
        about,
        *table(["measure", "target", "found", "holds"], rows),
    ]


def backward(run: Figures) -> list[float]:
    """Per attack but the last: its final EER minus that right after its own step, as a fraction."""
    return [run["final"][name] - run["right_after"][name] for name in run["order"][:-1]]


def _over(by_method: Methods, other: str, most: float, attacks: list[str], what: str) -> list[str]:
    found = difference(by_method["ours"], by_method.get(other, {}), "test", attacks)
    title, target = f"{what}, points", f"≤ {most:+.1f}"
    if found is None:
        return [title, target, "not measured", "–"]
    return [title, target, found.text(sign=True), _holds(found.value <= most + _ROUNDING)]


def _of_experts(ours: list[Figures]) -> list[list[str]]:
    found = at_work(ours)
    needed = ["experts at work without which their attack's EER rises, intervals apart", "all"]
    shares = ["their smallest share of the gates on their attack over that on bona fide speech", "≥ 2"]
    if not found:
        why = "no expert is at work" if any(run.get("experts") for run in ours) else "not measured"
        return [[*row, why, "–"] for row in (needed, shares)]
    count = sum(map(is_needed, found))
    least = min(each["own"] / max(each["bona_fide"], _ROUNDING) for each in found)
    return [
        [*needed, f"{count} of {len(found)}", _holds(count == len(found))],
        [*shares, f"{least:.1f}", _holds(least >= 2)],
    ]


def _below(by_method: Methods, peers: tuple[str, ...], attacks: list[str], what: str) -> list[str]:
    title = f"final mean EER below {what}, intervals apart, points"
    found: dict[str, Estimate] = {}
    for name in peers:
        if estimate := difference(by_method["ours"], by_method.get(name, {}), "test", attacks):
            found[name] = estimate
    if not found:
        return [title, "all", "not measured", "–"]
    apart = [name for name, each in found.items() if each.interval[1] < 0]
    rest = [f"{name} {each.text(sign=True)}" for name, each in found.items() if name not in apart]
    missing = [name for name in peers if name not in found]
    parts = [f"apart: {', '.join(apart) or 'none'}", f"not: {', '.join(rest) or 'none'}"]
    parts += [f"not measured: {', '.join(missing)}"] if missing else []
    return [title, "all", "; ".join(parts), "no" if rest else "–" if missing else "yes"]


def _at_most(title: str, most: float, found: float, sign: bool) -> list[str]:
    form = "{:+.1f}" if sign else "{:.1f}"
    return [title, f"≤ {form.format(most)}", form.format(found), _holds(found <= most + _ROUNDING)]


def _holds(true: bool) -> str:
    return "yes" if true else "no"
