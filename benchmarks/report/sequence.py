"""What a detector knows while attacks arrive one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.plan import Cell, Plan
from benchmarks.report.claims import claims
from benchmarks.report.found import Found
from benchmarks.report.matrix import Matrix, is_control
from benchmarks.report.tables import several, table

Figures = dict[str, Any]
Runs = dict[Cell, Figures]

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
    "arrow": "one LoRA per domain, PEFT's Arrow",
    "head": "head alone, replay of 512",
    "lfcc": "LFCC statistics + logistic regression, vectors of all domains kept",
    "duration": "probe: duration",
    "average_spectrum": "probe: average spectrum",
}


def sequence(found: Found) -> list[str]:
    """Claims, summary, thresholds, costs, domains."""
    plan, by_method = found.plan, found.by_method
    recipe = plan.resolved("")
    steps, clips = recipe.joint.steps, recipe.training.batch_size
    domains = plan.settings["domains"]
    learning = {method: runs for method, runs in by_method.items() if method not in PROBES}
    return [
        (
            f"Each method learns one domain after the other, {steps} steps of {clips} clips for each, "
            f"from {plan.settings['train']} recordings and their forgeries, and is measured on all of them after every "
            "step. EER in per cent; of several runs the median, and all runs in brackets (orders, then seeds); changes "
            "are in points, positive is worse. No method sees the measured recordings. All of it was measured on the "
            "base that was embedded before the wide-band one: 6 blocks, one telephone channel.\n"
        ),
        *(claims(by_method) if len(domains) >= CLAIMED else []),
        *_variants(plan),
        *_summary(learning),
        *_thresholds(learning),
        *_costs(by_method),
        *_domains(domains, by_method),
        *_matrix(by_method),
    ]


def title(method: str) -> str:
    """As pages call it."""
    return TITLES.get(method, method)


def _variants(plan: Plan) -> list[str]:
    rows = [
        [f"ours+{name}", variant.about, " ".join(f"`{option}`" for option in variant.options)]
        for name, variant in plan.variants.items()
    ]
    return ["### Variants\n", *table(["variant", "is", "options"], rows)] if rows else []


def _summary(by_method: dict[str, Runs]) -> list[str]:
    header = [
        "method",
        "runs",
        "final average",
        "95 % interval of each",
        "right after its step",
        "before its step",
    ]
    header += ["forgetting, mean", "forgetting, worst domain", "backward transfer", "null"]
    rows = [[title(method), str(len(runs)), *_known(method, runs)] for method, runs in by_method.items()]
    return ["### What is known at the end\n", *table(header, rows)]


def _known(method: str, runs: Runs) -> list[str]:
    matrices = [Matrix.of(figures) for figures in runs.values()]
    intervals = ", ".join(_interval(figures["mean_eer_ci"]) for figures in runs.values())
    whole = method != "alone"  # which answers for its own domain only
    stepwise = [matrix for matrix in matrices if matrix.complete]
    changes: list[Callable[[Matrix], float]] = [
        lambda matrix: sum(matrix.forgetting.values()) / len(matrix.forgetting),
        lambda matrix: max(matrix.forgetting.values()),
        lambda matrix: matrix.backward,
    ]
    controls = [100 * value for matrix in matrices for value in matrix.controls]
    return [
        several(matrix.final_mean for matrix in matrices) if whole else "–",
        intervals if whole else "–",
        several(_mean(matrix.right_after.values()) for matrix in stepwise),
        several(matrix.forward for matrix in stepwise) if whole else "–",
        *(several(map(change, stepwise), sign=True) if whole else "–" for change in changes),
        f"{min(controls):.1f} to {max(controls):.1f}",
    ]


def _thresholds(by_method: dict[str, Runs]) -> list[str]:
    rows = []
    for method, runs in by_method.items():
        found = [figures["frozen_threshold"] for figures in runs.values() if figures["frozen_threshold"]]
        if found and method != "alone":
            changes = [several((each[key] for each in found), sign=True) for key in ("miss", "false_alarm")]
            drifts = [several((each[key] / 100 for each in found), sign=True) for key in DRIFTS]
            both = several(((each["miss"] + each["false_alarm"]) / 2 for each in found), sign=True)
            rows.append([title(method), *changes, both, *drifts])
    about = (
        "Change of old domains' rates, in points, from right after each one's own step to the end; drift of their "
        "scores in nats.\n"
    )
    header = ["method", "bona fide refused", "spoof accepted", "both, mean", "bona fide drift", "spoof drift"]
    return ["### At the threshold frozen after the first step\n", about, *table(header, rows)]


DRIFTS = ("bona_fide_drift", "spoof_drift")


def _costs(by_method: dict[str, Runs]) -> list[str]:
    rows = []
    for method, runs in by_method.items():
        found = [figures["cost"] for figures in runs.values()]
        middle = {key: _mean(each[key] for each in found) for key in found[0]}
        seconds = middle["seconds"]
        if method == "joint":  # which waits for the last domain, and then learns all
            seconds = middle["seconds_in_all"] / len(next(iter(runs.values()))["order"])
        kilobytes = [f"{middle[key] / 1000:,.0f}" for key in ("stored", "kept")]
        rows.append([title(method), f"{seconds:.0f}", f"{middle['trainable']:,.0f}", *kilobytes])
    header = ["method", "seconds a domain", "trainable weights", "stored a domain, kB", "of it speech, kB"]
    return ["### What a domain costs\n", "Means of the runs; one thread.\n", *table(header, rows)]


def _domains(domains: Iterable[str], by_method: dict[str, Runs]) -> list[str]:
    """Final EER of every domain, on known voices and on the voice nobody heard, beside what simple probes find."""
    probes = {name: Matrix.of(next(iter(by_method[name].values()))) for name in PROBES if name in by_method}
    shown = [name for name in ("ours", "joint", "replay") if name in by_method]
    header = [
        "domain",
        *(title(name) for name in shown),
        *(f"{title(name)}, voice nobody heard" for name in shown[:1]),
    ]
    header += [title(name) for name in probes] + ["evidence"] * bool(probes)
    rows = []
    for name in domains:
        cells = [
            several(Matrix.of(figures).final[name] for figures in by_method[method].values())
            for method in shown
        ]
        for method in shown[:1]:
            voices = [figures["held_out_voice"].get(name) for figures in by_method[method].values()]
            cells.append(several(value for value in voices if value is not None))
        simple = [matrix.right_after[name] for matrix in probes.values()]
        cells += [several([value]) for value in simple]
        rows.append([name, *cells, *([("none" if min(simple) < SOLVED else "yes")] if probes else [])])
    about = f"Of a domain that a probe solves (EER below {100 * SOLVED:.0f} %) a low EER is no evidence.\n"
    return ["### The domains, after the last step\n", about, *table(header, rows)]


def _matrix(by_method: dict[str, Runs]) -> list[str]:
    lines = []
    for cell, figures in list(by_method.get("ours", {}).items())[:1]:
        matrix = Matrix.of(figures)
        columns = [*matrix.order, *(name for name in matrix.eer if is_control(name))]
        rows = []
        for step, learnt in enumerate(matrix.order):
            values = [several([value]) for name in columns if (value := matrix.eer[name][step]) is not None]
            rows.append(
                [learnt, *(f"**{value}**" if at == step else value for at, value in enumerate(values))]
            )
        order, seed = cell.arguments
        lines += [f"### Every domain after every step: ours, order {order}, seed {seed}\n"]
        lines += table(["after learning", *columns], rows)
    return lines


def _interval(bounds: list[float]) -> str:
    return f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)
