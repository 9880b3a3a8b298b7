"""What is detected: error rates of bases, adaptations, sequences and probes."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.markdown import row, rule
from benchmarks.report.results import load, load_one
from benchmarks.sequence.page import grouped, summary
from benchmarks.workbench import demo_recipe

STATES = {
    "before": "before",
    "inside": "after, inside the mixture (default)",
    "alone": "after, expert trained alone",
    "single_lora": "one LoRA on it alone",
}


def base() -> list[str]:
    """The embedded base against random weights."""
    # Before the demo's novel domain arrives, a run of `benchmarks.adaptation` is just this measurement.
    novel = demo_recipe().novel
    embedded = [run["known_voices"]["before"] for run in load(f"adaptation-{novel}-*.json")]
    runs = {
        "embedded": embedded,
        "random weights": [run["known_voices"] for run in load("base-random-*.json")],
    }
    lines = _bases(
        "## Embedded base against random weights\n", "`python -m benchmarks.base [--random] --seed S`\n", runs
    )
    pooled = [f"{kind} {_interval(item['pooled'])}" for kind, items in runs.items() for item in items]
    return [*lines, "Pooled, per seed with 95 % intervals: " + "; ".join(pooled) + ".\n"] if lines else []


def pretraining() -> list[str]:
    """What the parts of the base's pretraining give."""
    found = load_one("pretraining")
    if found is None:
        return []
    runs = {
        f"{name}, {made['steps']} steps, masked accuracy {100 * made['masked_accuracy']:.1f} %": [
            run["known_voices"] for run in load(f"base-{name}-[0-9].json")
        ]
        for name, made in found.items()
    }
    return _bases(
        "## What the parts of pretraining give\n",
        "`python -m benchmarks.pretraining`, `python -m benchmarks.base --base work/pretraining/NAME --name NAME`; "
        "second-full is `molex-adapt pretrain ... --recipe embedded --set targets=[former_units,teacher] "
        "--set former_base=registry/base`\n",
        runs,
    )


def _bases(title: str, command: str, runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    runs = {kind: items for kind, items in runs.items() if items}
    if not runs:
        return []
    columns = list(next(iter(runs.values()))[0])
    lines = [title, command, row(["base", "seeds", *columns]), rule(len(columns) + 2)]
    for kind, items in runs.items():
        cells = [_several([item[name]["eer"] for item in items]) for name in columns]
        lines.append(row([kind, str(len(items)), *cells]))
    return [*lines, ""]


def adaptation() -> list[str]:
    """Each domain in turn as the novel one."""
    runs = load("adaptation-*.json")
    lines = [
        "## Each domain in turn as the novel one\n",
        (
            "`python -m benchmarks.adaptation --novel DOMAIN --seed S`, with the former recipe: a fresh expert, a "
            "frozen head, a router stage, no twins\n"
        ),
    ]
    header = [
        "novel",
        "seeds",
        *STATES.values(),
        "old: mean change",
        "old: worst change",
        "null before → after",
    ]
    lines += [row([*header, "router / expert stage"]), rule(len(header) + 1)]
    for novel in sorted({run["novel"] for run in runs}):
        items = [run for run in runs if run["novel"] == novel]
        cells = [_several(_over(items, _eer(state, novel))) for state in STATES]
        changes = [_old_changes(item) for item in items]
        null = f"{_several(_over(items, _eer('before', 'null')))} → {_several(_over(items, _eer('inside', 'null')))}"
        ratio = [item["seconds"]["inside"]["router"] / item["seconds"]["inside"]["expert"] for item in items]
        shown = [
            novel,
            str(len(items)),
            *cells,
            _several([sum(change) / len(change) for change in changes], sign=True),
            _several([max(change) for change in changes], sign=True),
            null,
            f"{median(ratio):.2f}",
        ]
        lines.append(row(shown))
    return [*lines, ""] if runs else []


def held_out() -> list[str]:
    """The same on the voice that nothing heard."""
    runs = load("adaptation-*.json")
    lines = [
        "## The held-out voice\n",
        "From the same runs: a voice that neither base nor experts ever heard.\n",
    ]
    header = ["novel", "before", "after", "old pooled, before", "old pooled, after"]
    lines += [row(header), rule(len(header))]
    for novel in sorted({run["novel"] for run in runs}):
        items = [run for run in runs if run["novel"] == novel]
        cells = [
            _several([item["held_out_voice"][state][name]["eer"] for item in items])
            for name in (novel, "pooled")
            for state in ("before", "inside")
        ]
        lines.append(row([novel, *cells]))
    return [*lines, ""] if runs else []


def sequences() -> list[str]:
    """The summaries of what `benchmarks.sequence` found, and where the rest stands."""
    titles = {
        "sequence": "A sequence of attacks",
        "ablations": "A shorter sequence, one option changed at a time",
    }
    lines = []
    for name, title in titles.items():
        for found in load(f"{name}.json"):
            command = f"`python -m benchmarks.sequence --plan benchmarks/sequence/{name}.yaml`"
            _, *table = summary(grouped(found["runs"]))
            lines += [f"## {title}\n", f"{command}; [everything](results/{name}.md)\n", *table]
    return lines


def probes() -> list[str]:
    """What simple statistics tell of each domain."""
    found = load_one("probes")
    if found is None:
        return []
    probes = list(next(iter(found.values())))
    lines = ["## Simple means, each trained on the domain itself\n", "`python -m benchmarks.probes`\n"]
    lines += [row(["domain", *probes]), rule(len(probes) + 1)]
    lines += [row([name, *(_interval(rates[probe]) for probe in probes)]) for name, rates in found.items()]
    return [*lines, ""]


def _eer(state: str, name: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda item: item["known_voices"].get(state, {}).get(name, {}).get("eer")


def _over(items: list[dict[str, Any]], value: Callable[[dict[str, Any]], float | None]) -> list[float]:
    return [found for item in items if (found := value(item)) is not None]


def _old_changes(item: dict[str, Any]) -> list[float]:
    before, after = item["known_voices"]["before"], item["known_voices"]["inside"]
    return [after[name]["eer"] - before[name]["eer"] for name in item["known"]]


def _several(values: list[float], sign: bool = False) -> str:
    if not values:
        return "–"
    shown = [f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}" for value in values]
    middle = f"{100 * median(values):+.1f}" if sign else f"{100 * median(values):.1f}"
    return middle if len(values) == 1 else f"{middle} ({', '.join(shown)})"


def _interval(rates: dict[str, Any]) -> str:
    low, high = rates["eer_ci"]
    return f"{100 * rates['eer']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
