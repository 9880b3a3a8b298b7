"""RESULTS.md out of results/*.json.

python -m benchmarks.report
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from transformers import WavLMConfig

from benchmarks.cost import TOP_K
from benchmarks.forms import RANK
from benchmarks.markdown import row, rule
from benchmarks.sequence.page import grouped, summary
from benchmarks.startup import FEW, MANY
from benchmarks.workbench import RESULTS, demo_recipe
from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE

HELLO = "a typer program's --help"
PAGE = Path(__file__).parent / "RESULTS.md"
STATES = {
    "before": "before",
    "inside": "after, inside the mixture (default)",
    "alone": "after, expert trained alone",
    "single_lora": "one LoRA on it alone",
}


def main() -> None:
    """Write the page."""
    parts = [
        "# Measured\n",
        (
            "Made by `python -m benchmarks.report` from `benchmarks/results/*.json`; the command above each "
            "table made its JSON. EER in per cent on test recordings that no training heard; of several seeds, the "
            "median, and all seeds in brackets.\n"
        ),
        *_base(),
        *_pretraining(),
        *_adaptation(),
        *_held_out(),
        *_sequences(),
        *_probes(),
        *_speed(),
        *_startup(),
        *_cost(),
        *_crossover(),
        *_compiled(),
        *_training(),
    ]
    PAGE.write_text("\n".join(parts) + "\n")


def _load(pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(pattern))]


def _base() -> list[str]:
    # Before the demo's novel domain arrives, a run of `benchmarks.adaptation` is just this measurement.
    novel = demo_recipe().novel
    embedded = [run["known_voices"]["before"] for run in _load(f"adaptation-{novel}-*.json")]
    runs = {
        "embedded": embedded,
        "random weights": [run["known_voices"] for run in _load("base-random-*.json")],
    }
    lines = _bases(
        "## Embedded base against random weights\n", "`python -m benchmarks.base [--random] --seed S`\n", runs
    )
    pooled = [f"{kind} {_interval(item['pooled'])}" for kind, items in runs.items() for item in items]
    return [*lines, "Pooled, per seed with 95 % intervals: " + "; ".join(pooled) + ".\n"] if lines else []


def _pretraining() -> list[str]:
    path = RESULTS / "pretraining.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    runs = {
        f"{name}, {made['steps']} steps, masked accuracy {100 * made['masked_accuracy']:.1f} %": [
            run["known_voices"] for run in _load(f"base-{name}-[0-9].json")
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


def _adaptation() -> list[str]:
    runs = _load("adaptation-*.json")
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


def _held_out() -> list[str]:
    runs = _load("adaptation-*.json")
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


def _sequences() -> list[str]:
    """The summaries of what `benchmarks.sequence` found, and where the rest stands."""
    titles = {
        "sequence": "A sequence of attacks",
        "ablations": "A shorter sequence, one option changed at a time",
    }
    lines = []
    for name, title in titles.items():
        for found in _load(f"{name}.json"):
            command = f"`python -m benchmarks.sequence --plan benchmarks/sequence/{name}.yaml`"
            _, *table = summary(grouped(found["runs"]))
            lines += [f"## {title}\n", f"{command}; [everything](results/{name}.md)\n", *table]
    return lines


def _probes() -> list[str]:
    path = RESULTS / "probes.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    probes = list(next(iter(found.values())))
    lines = ["## Simple means, each trained on the domain itself\n", "`python -m benchmarks.probes`\n"]
    lines += [row(["domain", *probes]), rule(len(probes) + 1)]
    lines += [row([name, *(_interval(rates[probe]) for probe in probes)]) for name, rates in found.items()]
    return [*lines, ""]


def _speed() -> list[str]:
    path = RESULTS / "speed.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    measures = {
        f"{found['recordings']} recordings, times real time": f"{found['times_real_time']:.0f}",
        "`analyze` over `score` on the same files, seconds": f"{found['analyze_over_score']:.2f}",
        "lengths of 0.7 to 30 s: batches over one recording after the other, speed": (
            f"{found['batches_over_one_by_one']:.2f}"
        ),
    }
    lines = ["## Speed\n", "`python -m benchmarks.speed`\n", f"{_machine(found)}; shipped mixture.\n"]
    total, inside = found["mixed_seconds"], found["mixed_seconds_in_model"]
    bound = (
        f"What bounds the last figure: of the {total['one_by_one']:.1f} s that one recording after the other takes, "
        f"{inside['one_by_one']:.1f} s are the model's arithmetic, and of the {total['batches']:.1f} s in batches "
        f"{inside['batches']:.1f} s. Batches and worker processes save what lies outside the model, and a factor of "
        f"{inside['one_by_one'] / inside['batches']:.2f} inside it: a single recording of some seconds already fills "
        "two cores. On a GPU, or more cores, batches have more to win; that is not measured here.\n"
    )
    return [*lines, row(["", ""]), rule(2), *(row(list(item)) for item in measures.items()), "", bound]


def _startup() -> list[str]:
    path = RESULTS / "startup.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    seconds = found["seconds"]
    few, many = (seconds[f"load, {count} experts"] for count in (FEW, MANY))
    lines = [
        "## Start-up\n",
        "`python -m benchmarks.startup`\n",
        f"Medians of {found['rounds']} rounds; {_machine(found)}. `bare` imports typer and rich, nothing else.\n",
        row(["", "seconds", "over bare"]),
        rule(3),
    ]
    return [
        *lines,
        *(row([name, f"{took:.3f}", f"{took / seconds['bare']:.1f}"]) for name, took in seconds.items()),
        "",
        (
            f"What bounds `--help`: {1000 * seconds['bare']:.0f} ms are the two imports, "
            f"{1000 * (seconds[HELLO] - seconds['bare']):.0f} ms more what typer needs to print the help of a program "
            f"without any command of its own, and {1000 * (seconds['--help'] - seconds[HELLO]):.0f} ms the names and "
            f"texts of all commands. {FEW} experts load in {1000 * few:.0f} ms, {MANY} in {1000 * many:.0f} ms: "
            f"{many / few:.2f} times.\n"
        ),
    ]


def _cost() -> list[str]:
    path = RESULTS / "cost.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    runs = {f"{shape}, {how}": run for shape, kinds in found["scoring"].items() for how, run in kinds.items()}
    names = list(dict.fromkeys(name for run in runs.values() for name in run["ratios"]))
    lines = [
        "## What the mixture costs\n",
        "`python -m benchmarks.cost`\n",
        (
            f"Time of scoring {found['clips']} clips of {found['seconds']} s over the frozen base's in the same round, "
            f"median of {found['rounds']} rounds; {_machine(found)}. Bases other than the embedded one have random "
            "weights.\n"
        ),
        row(["", *runs]),
        rule(len(runs) + 1),
        row(["frozen base, seconds", *(f"{run['frozen_base_seconds']:.3f}" for run in runs.values())]),
    ]
    for name in names:
        ratios = [run["ratios"].get(name) for run in runs.values()]
        lines.append(row([name, *("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios)]))
    return [*lines, "", *_frame_bound(found)]


def _frame_bound(found: dict[str, Any]) -> list[str]:
    """What frame routing over many experts is made of, at the shape of WavLM-Base in half precision."""
    run = found["scoring"].get("wavlm-base", {}).get("bf16")
    if run is None:
        return []
    config = WavLMConfig()
    frames = found["clips"] * found["seconds"] * SAMPLE_RATE // FRAME_SAMPLES
    rows = frames * config.num_hidden_layers * 2 * TOP_K * RANK  # of both adapted layers, A and B together
    moved = rows * (config.hidden_size + config.intermediate_size) * 2 / 1e9
    added = (run["ratios"]["mixture, 256 experts, frame"] - 1) * run["frozen_base_seconds"]
    return [
        (
            f"What bounds frame routing over many experts: every frame reads its own {TOP_K * RANK} rows of each "
            f"layer's A and B, {moved:.1f} GB for these clips at the shape of WavLM-Base in half precision, and every "
            f"row is used once. That adds {1000 * added:.0f} ms ({moved / added:.0f} GB/s): memory's time, not the "
            "processor's, which weighs the more, the faster the base computes. Utterance routing, the default, reads "
            "them once per utterance.\n"
        )
    ]


def _crossover() -> list[str]:
    path = RESULTS / "crossover.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    ratios = found["picked_over_all_at_once"]
    counts = list(next(iter(ratios.values())))
    return [
        "## Frame routing: all experts at once, or only the chosen ones\n",
        "`python -m benchmarks.crossover`\n",
        (
            "Time of picking every frame's experts over that of one product over all experts, by the number of experts "
            "per chosen one: above 1 the single product is faster. One adapted layer; "
            f"median of {found['rounds']} rounds; {_machine(found)}.\n"
        ),
        row(["", *counts]),
        rule(len(counts) + 1),
        *(row([name, *(f"{ratio:.2f}" for ratio in own.values())]) for name, own in ratios.items()),
        "",
    ]


def _compiled() -> list[str]:
    path = RESULTS / "compiled.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    return [
        "## torch.compile\n",
        "`python -m benchmarks.compiled`\n",
        (
            "Blocks of a base with eight experts on one shape of batch. The package does not compile: recordings have "
            "many lengths, and every new shape is compiled anew before the first score is there; "
            f"median of {found['rounds']} rounds; {_machine(found)}.\n"
        ),
        row(["", "seconds to compile", "eager, seconds", "compiled over eager"]),
        rule(4),
        *(
            row(
                [
                    name,
                    f"{run['seconds_to_compile']:.0f}",
                    f"{run['eager_seconds']:.3f}",
                    f"{run['compiled_over_eager']:.2f}",
                ]
            )
            for name, run in found["runs"].items()
        ),
        "",
    ]


def _training() -> list[str]:
    path = RESULTS / "training.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    lines = ["## Training one expert\n", "`python -m benchmarks.training`\n", f"{_machine(found)}.\n"]
    bases = [name for name in found if name != "machine"]
    for base in bases:
        runs = {name: run for name, run in found[base].items() if isinstance(run, dict)}
        lines += [
            f"{base}, {found[base]['batch']} clips of {found[base]['seconds']:g} s:\n",
            row(
                [
                    "",
                    "clips per second",
                    "over PEFT fp32",
                    "peak memory, MiB",
                    "of it imports",
                    "over PEFT fp32",
                ]
            ),
            rule(6),
            *(
                row(
                    [
                        name,
                        f"{run['clips_per_second']:.1f}",
                        f"{run['clips_per_second'] / runs['PEFT fp32']['clips_per_second']:.2f}",
                        f"{run['peak_mib']:.0f}",
                        f"{run['imports_mib']:.0f}",
                        f"{run['peak_mib'] / runs['PEFT fp32']['peak_mib']:.2f}",
                    ]
                )
                for name, run in runs.items()
            ),
            "",
        ]
    return lines


def _machine(found: dict[str, Any]) -> str:
    machine = found["machine"]
    fast = "with" if machine["bfloat16"] else "without"
    return f"{machine['processor']}, {machine['cores']} cores {fast} bfloat16 instructions, torch {machine['torch']}"


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


if __name__ == "__main__":
    main()
