"""Tables and a plot of what runs found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.markdown import row, rule
from benchmarks.sequence.figures import is_control
from benchmarks.sequence.plan import Plan
from benchmarks.sequence.targets import targets

Figures = dict[str, Any]

PROBES = ("duration", "average_spectrum")
SOLVED = 0.1
"""A domain on which a probe's EER is below this is no evidence."""
CLAIMED = 10
"""Domains of a sequence that what is claimed is claimed of: a shorter one neither proves nor refutes it."""
TITLES = {
    "ours": "**ours**",
    "joint": "joint training on everything (upper bound)",
    "alone": "one LoRA and head per domain (its own domain only)",
    "averaged": "one LoRA and head per domain, scores averaged",
    "replay": "one LoRA, fine-tuned in turn, replay of 512",
    "naive": "one LoRA, fine-tuned in turn",
    "ewc": "one LoRA, EWC",
    "lwf": "one LoRA, LwF",
    "dense": "ours with a dense softmax",
    "shared": "ours, the first expert always on, the others fresh",
    "first_reads": "ours, all routers reading the first block",
    "heads": "ours, a head for every expert",
    "arrow": "one LoRA per domain, PEFT's Arrow",
    "head": "head alone, replay of 512",
    "lfcc": "LFCC statistics + logistic regression, vectors of all domains kept",
    "duration": "probe: duration",
    "average_spectrum": "probe: average spectrum",
}


def write_page(figures: list[Figures], plan: Plan, about: dict[str, Figures], path: Path) -> None:
    """Write a Markdown page and a plot.

    Args:
        figures: of every run.
        plan: they follow.
        about: per domain, how much speech it has.
        path: of the JSON that stands beside them.
    """
    by_method = grouped(figures)
    _plot(by_method, path.with_suffix(".png"))
    parts = [
        "# A sequence of attacks\n",
        (
            f"Made by `python -m benchmarks.sequence --plan benchmarks/sequence/{path.stem}.yaml`. Each method learns "
            f"one domain after the other, {plan.steps} steps of {plan.batch_size} clips for each, and is measured on "
            "all of them after every step. EER in per cent; of several runs the median, and all runs in brackets; "
            "changes are in points, positive is worse. No method sees the measured recordings.\n"
        ),
        f"![Average EER over the steps]({path.stem}.png)\n",
        *(targets(by_method) if len(plan.domains) >= CLAIMED else []),
        *_variants(plan),
        *summary(by_method),
        *_thresholds(by_method),
        *_costs(by_method),
        *_domains(about, by_method),
        *_by_domain(by_method, "Final EER of every domain", lambda run, name: run["final"].get(name)),
        *_by_domain(
            by_method,
            "The held-out voice, after the last step",
            lambda run, name: run["held_out_voice"].get(name),
        ),
        *_forgotten(by_method),
        *_matrix(by_method),
    ]
    path.with_suffix(".md").write_text("\n".join(parts) + "\n")


def grouped(figures: list[Figures]) -> dict[str, list[Figures]]:
    """Runs by method, in the order of the tables."""
    by_method: dict[str, list[Figures]] = {}
    for item in figures:
        by_method.setdefault(item["method"], []).append(item)
    order = [*TITLES, *sorted(by_method.keys() - TITLES.keys())]
    return {name: by_method[name] for name in order if name in by_method}


def _variants(plan: Plan) -> list[str]:
    """What every variant is."""
    if not plan.variants:
        return []
    common = " ".join(f"`{option}`" for option in plan.options)
    about = [f"All methods, ours too, with {common}.\n"] if common else []
    rows = [
        [f"+{name}", variant.about, " ".join(f"`{option}`" for option in variant.options)]
        for name, variant in plan.variants.items()
    ]
    header = ["variant", "is", "options"]
    return ["## Variants\n", *about, row(header), rule(3), *map(row, rows), ""]


def summary(by_method: dict[str, list[Figures]]) -> list[str]:
    """A table with a line a method."""
    header = [
        "method",
        "runs",
        "final average",
        "95 % interval of each",
        "right after its step",
        "before its step",
        "forgetting, mean",
        "forgetting, worst domain",
        "backward transfer",
        "null",
    ]
    lines = ["## What is known at the end\n", row(header), rule(len(header))]
    for name, runs in by_method.items():
        if name in PROBES:
            continue
        intervals = [item["final_mean"]["eer_ci"] for item in runs]
        bracketed = ", ".join(f"[{100 * low:.1f}, {100 * high:.1f}]" for low, high in intervals)
        controls = [rates["eer"] for item in runs for key, rates in item["final"].items() if is_control(key)]
        alone, joint = name == "alone", name == "joint"
        lines.append(
            row(
                [
                    TITLES.get(name, name),
                    str(len(runs)),
                    "–" if alone else several(item["final_mean"]["eer"] for item in runs),
                    "–" if alone else bracketed,
                    "–" if joint else several(item["right_after"]["mean"] for item in runs),
                    "–" if joint or alone else several(item["forward"] for item in runs),
                    *(
                        "–"
                        if alone or "forgetting" not in runs[0]
                        else several((item["forgetting"][key] for item in runs), sign=True)
                        for key in ("mean", "worst")
                    ),
                    "–"
                    if alone or "backward" not in runs[0]
                    else several((item["backward"] for item in runs), sign=True),
                    f"{100 * min(controls):.1f} to {100 * max(controls):.1f}",
                ]
            )
        )
    return [*lines, ""]


def _thresholds(by_method: dict[str, list[Figures]]) -> list[str]:
    header = ["method", "bona fide refused", "spoof accepted", "both, mean", "bona fide drift", "spoof drift"]
    lines = [
        "## At the threshold frozen after the first step\n",
        (
            "Change of old domains' rates, in points, from right after each one's own step to the end; drift of "
            "their scores in nats.\n"
        ),
        row(header),
        rule(len(header)),
    ]
    for name, runs in by_method.items():
        if name in ("alone", *PROBES) or "frozen_threshold" not in runs[0]:
            continue
        found = [item["frozen_threshold"] for item in runs]
        keys = ("miss_change", "false_alarm_change", "error_change")
        lines.append(
            row(
                [
                    TITLES.get(name, name),
                    *(several((item[key] for item in found), sign=True) for key in keys),
                    *(
                        several((item[key] / 100 for item in found), sign=True)
                        for key in ("bona_fide_drift", "spoof_drift")
                    ),
                ]
            )
        )
    return [*lines, ""]


def _costs(by_method: dict[str, list[Figures]]) -> list[str]:
    header = ["method", "seconds a domain", "trainable weights", "stored a domain, kB", "of it speech, kB"]
    lines = ["## What a domain costs\n", "Medians over domains and runs; one thread.\n", row(header)]
    lines.append(rule(len(header)))
    for name, runs in by_method.items():
        steps = [step for item in runs for step in item["steps"][1:]]
        middle = {
            key: float(np.median([step[key] for step in steps]))
            for key in ("seconds", "trainable", "stored", "kept")
        }
        seconds = middle["seconds"]
        if name == "joint":
            seconds = float(np.median([item["steps"][-1]["seconds"] / len(item["steps"]) for item in runs]))
        lines.append(
            row(
                [
                    TITLES.get(name, name),
                    f"{seconds:.1f}",
                    f"{middle['trainable']:,.0f}",
                    f"{middle['stored'] / 1000:,.0f}",
                    f"{middle['kept'] / 1000:,.0f}",
                ]
            )
        )
    return [*lines, ""]


def _domains(about: dict[str, Figures], by_method: dict[str, list[Figures]]) -> list[str]:
    probes = {name: by_method[name][0] for name in PROBES if name in by_method}
    header = ["domain", "utterances", "speakers", "minutes", "train / dev / test / held-out pairs"]
    header += [TITLES[name] for name in probes] + ["evidence"] * bool(probes)
    lines = [
        "## The domains\n",
        f"Of a domain that a probe solves (EER below {100 * SOLVED:.0f} %) a low EER is no evidence.\n",
        row(header),
        rule(len(header)),
    ]
    for name, item in about.items():
        pairs = " / ".join(str(count) for count in item["pairs"].values())
        found = [probe["right_after"]["by_domain"].get(name) for probe in probes.values()]
        cells = ["–" if value is None else f"{100 * value:.1f}" for value in found]
        known = [value for value in found if value is not None]
        if probes:
            cells.append("none" if known and min(known) < SOLVED else "yes" if known else "control")
        lines.append(
            row(
                [
                    name,
                    str(item["utterances"]),
                    str(item["speakers"]),
                    f"{item['minutes']:.0f}",
                    pairs,
                    *cells,
                ]
            )
        )
    return [*lines, ""]


def _by_domain(
    by_method: dict[str, list[Figures]], title: str, value: Callable[[Figures, str], Figures | None]
) -> list[str]:
    methods = [
        name
        for name, runs in by_method.items()
        if name not in ("alone", *PROBES) and any(value(runs[0], domain) for domain in runs[0]["final"])
    ]
    if not methods:
        return []
    lines = [f"## {title}\n", row(["domain", *(TITLES.get(name, name) for name in methods)])]
    lines.append(rule(len(methods) + 1))
    for domain in by_method[methods[0]][0]["final"]:
        cells = []
        for name in methods:
            found = [rates["eer"] for item in by_method[name] if (rates := value(item, domain))]
            cells.append(several(found))
        if set(cells) != {"–"}:
            lines.append(row([domain, *cells]))
    return [*lines, ""]


def _forgotten(by_method: dict[str, list[Figures]]) -> list[str]:
    runs = by_method.get("ours", [])
    if not runs:
        return []
    lines = ["## Forgetting by domain, ours\n", "In points, per run; – for the last domain of a run.\n"]
    lines += [row(["domain", *(f"order {run['order']}, seed {run['seed']}" for run in runs)])]
    lines.append(rule(len(runs) + 1))
    for domain in sorted({name for run in runs for name in run["order_of_domains"]}):
        found = [run["forgetting"]["by_domain"].get(domain) for run in runs]
        lines.append(row([domain, *("–" if value is None else f"{100 * value:+.1f}" for value in found)]))
    return [*lines, ""]


def _matrix(by_method: dict[str, list[Figures]]) -> list[str]:
    lines = []
    for name in ("ours", "replay", "naive"):
        for run in by_method.get(name, [])[:1]:
            order = run["order_of_domains"]
            columns = [*order, *(key for key in run["matrix"] if is_control(key))]
            lines += [
                f"## Every domain after every step: {TITLES[name]}, order {run['order']}, seed {run['seed']}\n",
                row(["after learning", *columns]),
                rule(len(columns) + 1),
            ]
            for step, learnt in enumerate(order):
                values = [f"{100 * run['matrix'][key][step]:.1f}" for key in columns]
                marked = [f"**{v}**" if at == step else v for at, v in enumerate(values)]
                lines.append(row([learnt, *marked]))
            lines.append("")
    return lines


def _plot(by_method: dict[str, list[Figures]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(9, 5.5))
    shown = [name for name in by_method if name not in ("alone", "joint", *PROBES) and "+" not in name]
    for name in shown:
        runs = [item for item in by_method[name] if item["order"] == 0]
        if runs:
            curve = 100 * np.mean([item["mean_by_step"] for item in runs], axis=0)
            style = {"linewidth": 3, "color": "black"} if name == "ours" else {"linewidth": 1.5}
            axes.plot(range(1, len(curve) + 1), curve, label=TITLES[name].strip("*"), **style)  # type: ignore[arg-type]
    if bound := [100 * item["final_mean"]["eer"] for item in by_method.get("joint", [])]:
        axes.axhline(float(np.mean(bound)), color="grey", linestyle="--", label="joint training (bound)")
    axes.set_xlabel("domains learnt (first order; mean of the seeds)")
    axes.set_ylabel("EER averaged over all domains, per cent")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def several(values: Iterable[float | None], sign: bool = False) -> str:
    """Median in per cent, and all values where there is more than one."""
    known = [100 * value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return "–"
    form = "{:+.1f}" if sign else "{:.1f}"
    middle = form.format(float(np.median(known)))
    return middle if len(known) == 1 else f"{middle} ({', '.join(form.format(value) for value in known)})"
