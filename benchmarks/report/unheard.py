"""The readout alone on voices that nothing heard: figures and targets, attacks, conditions; a column for each base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from statistics import mean

from benchmarks.report.found import Found
from benchmarks.report.means import NAMES, level, percent, points
from benchmarks.report.tables import table
from benchmarks.results import Figures
from molex_adapt.conventions import DRAWN, NO_CONDITION

Bases = Mapping[str, Figures]

FEWEST = 40
"""Recordings of a voice, for a share of them that is refused."""
GROUPS = {
    "learnt": ("attacks that were learnt", "≤ 3.0", "≤ 8.0"),
    "left_out": ("each of them left out of the learning", "≤ 15.0", ""),
    "unmet": ("attacks that were never learnt", "≤ 15.0", ""),
}
"""Of the figures, in words, with the targets of the mean EER and of the worst."""


def unheard(found: Found) -> list[str]:
    """Three tables."""
    bases = {base: next(iter(cells.values())) for base, cells in found.by_method.items()}
    heard = next(iter(bases.values()))["heard"]
    about = (
        f"The readout learns from {heard['train']} real recordings and the forged ones of all attacks at once, its "
        f"threshold is set on {heard['dev']} of other voices, and {heard['test'] // 2} of further voices are measured, "
        "as they are and once more under drawn conditions. No expert is trained. EER in per cent, intervals (95 %) "
        "over recordings, which are too narrow for other voices. `refused` is real speech at the threshold, "
        "`accepted` what is forged.\n"
    )
    return [about, *_summary(bases), *_attacks(bases), *_conditions(bases)]


def _summary(bases: Bases) -> list[str]:
    names = list(bases)
    rows = list(chain(_of_groups(bases), _of_added(bases), _of_real(bases)))
    others = [f"{name} − {names[0]}" for name in names[1:]]
    return ["### Bases\n", *table(["", "target", *names, *others], rows)]


def _of_groups(bases: Bases) -> list[list[str]]:
    rows = []
    for group, (title, of_mean, of_worst) in GROUPS.items():
        for condition, where in NAMES.items():
            # Targets are of recordings as they are.
            own = of_mean if condition == NO_CONDITION else ""
            rows.append([f"{title}, {where}: mean EER", own, *_means(bases, group, condition)])
            if of_worst and condition == NO_CONDITION:
                rows.append(
                    ["the worst of them", of_worst, *_each(bases, lambda each: _worst(each["learnt"]))]
                )
    return rows


def _of_added(bases: Bases) -> list[list[str]]:
    def own(name: str) -> Callable[[Figures], str]:
        return lambda each: (
            f"{_eer(each['unmet'][NO_CONDITION], name)} → {_eer(each['added'][name]['own'][NO_CONDITION], name)}"
        )

    def others(name: str) -> Callable[[Figures], str]:
        return lambda each: points(each["added"][name]["known"][NO_CONDITION], each["learnt"][NO_CONDITION])

    rows = []
    for name in next(iter(bases.values()))["added"]:
        rows.append([f"{name}, learnt afterwards: its EER", "≤ 3.0", *_each(bases, own(name))])
        rows.append(["change of those that were learnt, mean", "≤ +0.5", *_each(bases, others(name))])
    return rows


def _of_real(bases: Bases) -> list[list[str]]:
    def controls(each: Figures) -> str:
        found = [each["control"], *(one["control"] for one in each["conditions"].values())]
        return f"{100 * min(found):.0f} to {100 * max(found):.0f}"

    def accepted(group: str) -> Callable[[Figures], str]:
        return lambda each: percent(
            mean(rate["accepted"] for rate in each[group][NO_CONDITION]["attacks"].values())
        )

    return [
        [
            "real speech as it is: refused",
            "≤ 3.0",
            *_each(bases, lambda each: _refused(each["real"][NO_CONDITION])),
        ],
        [
            f"of the worst voice with {FEWEST} recordings",
            "≤ 10.0",
            *_each(bases, lambda each: _of_worst_voice(each["real"][NO_CONDITION])),
        ],
        [
            "accepted there of the attacks that were learnt; of the others",
            "",
            *_each(bases, lambda each: f"{accepted('learnt')(each)}; {accepted('unmet')(each)}"),
        ],
        [
            "real speech under drawn conditions: refused",
            "≤ 5.0",
            *_each(bases, lambda each: _refused(each["real"][DRAWN])),
        ],
        [
            "under the worst of the conditions below",
            "≤ 5.0",
            *_each(bases, lambda each: percent(max(one["refused"] for one in each["conditions"].values()))),
        ],
        ["controls: real speech against the same in a condition, EER", "45 to 55", *_each(bases, controls)],
    ]


def _attacks(bases: Bases) -> list[str]:
    rows = []
    first = next(iter(bases.values()))
    for group in ("learnt", "unmet"):
        for name in first[group][NO_CONDITION]["attacks"]:
            cells = []
            for each in bases.values():
                cells += [
                    _with_interval(each[group][NO_CONDITION]["attacks"][name]),
                    _eer(each[group][DRAWN], name),
                ]
                cells.append(_eer(each["left_out"][NO_CONDITION], name) if group == "learnt" else "–")
                cells.append(percent(each[group][NO_CONDITION]["attacks"][name]["accepted"]))
            rows.append([name, "yes" if group == "learnt" else "no", *cells])
    header = [f"{name}: {what}" for name in bases for what in ("EER", "drawn", "left out", "accepted")]
    return ["### Attacks\n", *table(["attack", "learnt", *header], rows)]


def _conditions(bases: Bases) -> list[str]:
    first = next(iter(bases.values()))
    rows = [
        [
            name,
            *(
                f"{100 * each['conditions'][name][key]:.1f}"
                for each in bases.values()
                for key in ("refused", "control")
            ),
        ]
        for name in first["conditions"]
    ]
    count = max((each["recordings"] for each in first["conditions"].values()), default=0)
    header = [f"{name}: {what}" for name in bases for what in ("refused", "control")]
    about = f"{count} real recordings through each. A control of 50 % is a score that does not tell the condition.\n"
    return ["### Real speech under each condition\n", about, *table(["condition", *header], rows)]


def _means(bases: Bases, group: str, condition: str) -> list[str]:
    """Mean EER of each base with its interval, then what each but the first differs by from that."""
    found = [each[group][condition] for each in bases.values()]
    return [
        *map(level, found),
        *(points(each, found[0]) for each in found[1:]),
    ]


def _each(bases: Bases, cell: Callable[[Figures], str]) -> list[str]:
    """A cell of each base; no difference."""
    return [*map(cell, bases.values()), *[""] * (len(bases) - 1)]


def _with_interval(rate: Figures) -> str:
    low, high = (100 * edge for edge in rate["ci"])
    return f"{100 * rate['eer']:.1f} [{low:.1f}, {high:.1f}]"


def _eer(group: Figures, name: str) -> str:
    return percent(group["attacks"][name]["eer"])


def _worst(group: Figures) -> str:
    rates = {name: rate["eer"] for name, rate in group[NO_CONDITION]["attacks"].items()}
    worst = max(rates, key=rates.__getitem__)
    return f"{percent(rates[worst])} ({worst})"


def _refused(real: Figures) -> str:
    return percent(real["refused"])


def _of_worst_voice(real: Figures) -> str:
    rates = {name: rate for name, (count, rate) in real["voices"].items() if count >= FEWEST}
    worst = max(rates, key=rates.__getitem__)
    return f"{percent(rates[worst])} ({worst})"
