"""What a detector knows while attacks arrive one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean
from typing import Any

from benchmarks.plan import Cell, Plan
from benchmarks.report.experts import experts
from benchmarks.report.found import Found
from benchmarks.report.paired import beside, difference, final, in_orders_of_ours, level
from benchmarks.report.tables import table
from benchmarks.report.targets import backward, targets

Figures = dict[str, Any]
Runs = dict[Cell, Figures]

APART = "alone"
"""Detectors that answer for their own attack only: they have no final figure."""
TITLES = {
    "ours": "**ours**",
    "joint": "joint training of the same mixture (all data at hand)",
    "joint_lora": "joint training of one LoRA (all data at hand)",
    "alone": "one LoRA and head per attack (its own attack only)",
    "averaged": "one LoRA and head per attack, scores averaged",
    "replay": "one LoRA, experience replay",
    "der": "one LoRA, DER++",
    "naive": "one LoRA, fine-tuned in turn",
    "ewc": "one LoRA, EWC",
    "lwf": "one LoRA, LwF",
    "rwm": "one LoRA, RWM",
    "arrow": "one LoRA per attack, PEFT's Arrow",
    "any_ssr": "Any-SSR",
    "ranpac": "RanPAC",
    "head": "head alone, experience replay",
    "replay_readout": "one LoRA, experience replay, beside the readout",
    "ridge": "the readout alone (ridge regression)",
    "lfcc": "LFCC statistics, logistic regression, vectors of all attacks kept",
    "duration": "probe: duration",
    "average_spectrum": "probe: average spectrum",
}
ABOUT = """\
Each method learns one attack after the other from {train} forged recordings and {train} bona fide ones of training
voices, with {dev} of either for early stopping and calibration, and in no other order than the others. Only ours, its
variants, joint training of the same mixture, the LoRA that is called so and the closed forms have the readout, or read
what it reads: where others are below, they hear less, and do not only learn otherwise. Ours goes on with every
generation, also with one that acceptance would have refused. Measured are {forged} forgeries an attack and {bona_fide}
bona fide recordings common to all, of test voices, both classes under conditions drawn at random, at most {seconds:g} s
of each. A method with replay may keep {keep:.1f} MB of prefix features an attack. EER in per cent, changes in points,
positive is worse; of several orders the mean.

Choices of this plan are made on the development attacks ({development}), not on the test attacks ({test}), and no
method is tuned in it unless the last table says so. Ours is older: on development voices, how it adds an expert was
chosen with phase_vocoder and formant_shift, and its readout on
means over attacks of both kinds. Nor is the base a stranger to them: it was post-trained on copies of its own, of
training voices, by {heard}.
"""
HEARD = ("codec2", "espeak", "griffin_lim", "hifigan", "istft", "lpc", "mel_gan", "world")
"""Attacks of the embedded base's post-training (tools/wideband/README.md)."""


def sequence(found: Found) -> list[str]:
    """Targets, methods, differences, attacks, costs, trials."""
    plan, by_method = found.plan, in_orders_of_ours(found.by_method)
    measured, shown = (sum(map(len, methods.values())) for methods in (found.by_method, by_method))
    data = {run["data"] for runs in by_method.values() for run in runs.values()}
    there = f"Measured are {measured} of {len(plan.cells)} runs of the plan."
    if shown < measured:
        there += (
            f" Shown are the {shown} in orders that ours was measured in, so that means are of the same ones."
        )
    if len(data) > 1:
        there += " Not all of them are on the same recordings: runs on different ones are not compared."
    test, everything = plan.settings["test"], [*plan.settings["development"], *plan.settings["test"]]
    ours = by_method.get("ours", {})
    ranked = dict(sorted(by_method.items(), key=lambda item: _rank(item[0], item[1], ours, test)))
    return [
        _about(plan),
        f"{there}\n",
        *targets(by_method, test),
        *_variants(plan),
        *_methods(ranked, test, everything),
        *_differences(ranked, test, everything),
        *_attacks(ranked, plan),
        *experts(ours.values(), everything),
        *_thresholds(ranked),
        *_costs(ranked),
        *_trials(plan),
    ]


def title(method: str) -> str:
    """As pages call it."""
    return TITLES.get(method, method)


def _about(plan: Plan) -> str:
    settings = plan.settings
    named = {kind: ", ".join(settings[kind]) for kind in ("development", "test")}
    heard = [name for name in HEARD if name in (*settings["development"], *settings["test"])]
    known = {key: settings[key] for key in ("train", "dev", "forged", "bona_fide")}
    seconds, keep = settings["measured_seconds"], settings["keep"] / 1e6
    return ABOUT.format(
        **known, **named, seconds=seconds, keep=keep, heard=", ".join(heard) or "none of them"
    )


def _rank(method: str, runs: Runs, ours: Runs, attacks: list[str]) -> tuple[bool, float]:
    """Over ours in the same orders: some orders are harder for all methods."""
    there = [final(run, attacks) for run in beside(ours, runs).values()]
    return method == APART, mean(final(run, attacks) for run in runs.values()) - (mean(there) if there else 0)


def _variants(plan: Plan) -> list[str]:
    rows = [
        [f"ours+{name}", variant.about, " ".join(f"`{option}`" for option in variant.options)]
        for name, variant in plan.variants.items()
    ]
    return ["### Variants\n", *table(["variant", "is", "options"], rows)] if rows else []


def _methods(by_method: dict[str, Runs], test: list[str], everything: list[str]) -> list[str]:
    rows = []
    for method, runs in by_method.items():
        found = list(runs.values())
        stepwise = [run for run in found if None not in run["right_after"].values()]
        right = [100 * mean(run["right_after"].values()) for run in stepwise]
        row = [title(method), str(len(found)), *["–"] * 8, _mean(right), "–", "–"]
        if method != APART:
            changes = [[100 * change for change in backward(run)] for run in stepwise]
            there = beside(by_method.get("ours", {}), runs).values()
            row[2] = level(runs, "test", test).text()
            row[3] = _mean((final(run, test) for run in there), "{:.2f}")
            row[4] = level(runs, "all", everything).text()
            row[5:9] = [
                _mean((run[cost][kind] for run in found), "{:.3f}")
                for cost in ("min_dcf", "act_dcf")
                for kind in ("test", "all")
            ]
            row[9] = _worst(found)
            row[11:] = (_mean(map(how, changes), "{:+.2f}") for how in (mean, max))
        rows.append(row)
    header = ["method", "orders", "final mean EER, test attacks", "ours in these orders", "all attacks"]
    header += [f"{cost}, {kind}" for cost in ("minDCF", "actDCF") for kind in ("test", "all")]
    header += ["worst attack of each order", "right after its step, all", "backward transfer, mean", "worst"]
    about = (
        "By the final mean EER of the test attacks over that of ours in the same orders: some orders are harder for "
        "all. With 95 % intervals over test sources and orders, which are too narrow where orders are few. Detection "
        "costs are those of ASVspoof 5, means over attacks.\n"
    )
    return ["### Methods\n", about, *table(header, rows)]


def _worst(found: list[Figures]) -> str:
    texts = []
    for run in found:
        name, (low, high) = run["worst"]["attack"], run["worst"]["ci"]
        texts.append(f"{name} {100 * run['final'][name]:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
    return "; ".join(texts)


def _differences(by_method: dict[str, Runs], test: list[str], everything: list[str]) -> list[str]:
    ours = by_method.get("ours", {})
    rows = []
    for method, runs in by_method.items():
        pairs = [difference(ours, runs, *kind) for kind in (("test", test), ("all", everything))]
        if method not in ("ours", APART) and None not in pairs:
            known = [pair for pair in pairs if pair is not None]
            rows.append([title(method), str(known[0].runs), *(pair.text(sign=True) for pair in known)])
    about = "Points of final mean EER, below zero where ours is better, on the same recordings in the same orders.\n"
    header = ["method", "orders", "ours minus it, test attacks", "all attacks"]
    return ["### Ours against each\n", about, *table(header, rows)] if rows else []


def _attacks(by_method: dict[str, Runs], plan: Plan) -> list[str]:
    shown = [method for method in by_method if method != APART]
    kinds = {name: kind for kind in ("test", "development") for name in plan.settings[kind]}
    rows = [
        [
            name,
            kind,
            *(_mean(100 * run["final"][name] for run in by_method[method].values()) for method in shown),
        ]
        for name, kind in kinds.items()
    ]
    about = "Final EER. Where a probe reaches a low one, a method's is no evidence that it hears more.\n"
    return ["### Attacks\n", about, *table(["attack", "kind", *shown], rows)] if shown else []


def _thresholds(by_method: dict[str, Runs]) -> list[str]:
    rows = []
    for method, runs in by_method.items():
        found = [run["threshold"] for run in runs.values()]
        if method == APART:
            continue
        values = [
            _mean(100 * each[when][what] for each in found if when in each)
            for what, when in (
                ("refused", "first"),
                ("refused", "last"),
                ("accepted", "first"),
                ("accepted", "last"),
                ("accepted_test", "last"),
            )
        ]
        rows.append([title(method), *values])
    about = (
        "Set anew after the first step and after the last, on the bona fide development recordings learnt so far, to "
        "refuse at most 3 % of new voices. Per cent of the test: bona fide refused, and forgeries accepted of the "
        "attacks learnt so far.\n"
    )
    header = ["method", "refused after the first", "after the last", "accepted after the first"]
    header += ["after the last", "of the test attacks"]
    return ["### At one threshold a generation\n", about, *table(header, rows)] if rows else []


def _costs(by_method: dict[str, Runs]) -> list[str]:
    rows = []
    for method, runs in by_method.items():
        found = [run["cost"] for run in runs.values()]
        middle = {key: mean(each[key] for each in found) for key in found[0]}
        sizes = [f"{middle[key] / 1e6:.1f}" for key in ("stored", "kept")]
        rows.append([title(method), f"{middle['seconds']:.0f}", *sizes, f"{middle['trainable']:,.0f}"])
    header = ["method", "seconds", "stored, MB", "of it recordings, MB", "weights that a step trains"]
    about = "Of the whole sequence, on one thread; scoring is not counted.\n"
    return ["### Costs\n", about, *table(header, rows)]


def _trials(plan: Plan) -> list[str]:
    rows = []
    for method in plan.runs:
        trials = plan.tuning.get(method, [])
        tried = [
            f"{trial.options}{'' if trial.found is None else f': {100 * trial.found:.1f}'}"
            f"{' (chosen)' if trial.chosen else ''}"
            for trial in trials
        ]
        rows.append([title(method), str(len(trials)), "; ".join(tried) or "not tuned"])
    about = "Options that were tried, with the final mean EER of the development attacks.\n"
    return ["### Tuning\n", about, *table(["method", "trials", "tried"], rows)]


def _mean(values: Iterable[float], form: str = "{:.1f}") -> str:
    known = list(values)
    return form.format(mean(known)) if known else "–"
