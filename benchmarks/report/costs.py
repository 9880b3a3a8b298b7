"""What it costs: seconds of scoring, starting, adapting."""

from __future__ import annotations

from typing import Any

from transformers import WavLMConfig

from benchmarks.cost import TOP_K
from benchmarks.forms import RANK
from benchmarks.markdown import row, rule
from benchmarks.report.results import load_one
from benchmarks.startup import FEW, MANY
from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE

HELLO = "a typer program's --help"


def speed() -> list[str]:
    """Scoring many recordings, and of many lengths."""
    found = load_one("speed")
    if found is None:
        return []
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


def startup() -> list[str]:
    """Seconds before a command does anything."""
    found = load_one("startup")
    if found is None:
        return []
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


def cost() -> list[str]:
    """A mixture's scoring over the frozen base's."""
    found = load_one("cost")
    if found is None:
        return []
    runs = {f"{shape}, {how}": run for shape, kinds in found["scoring"].items() for how, run in kinds.items()}
    names = list(dict.fromkeys(name for run in runs.values() for name in run["ratios"]))
    lines = [
        "## What the mixture costs\n",
        "`python -m benchmarks.cost`\n",
        (
            f"Time of scoring {found['clips']} clips of {found['seconds']} s over the frozen base's in the same round, "
            f"median of {found['rounds']} rounds, each column a run of its own; {_machine(found)}. Two experts are "
            "chosen in every block where no other number is named. Bases other than the embedded one have random "
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


def crossover() -> list[str]:
    """From how many experts on grouping by expert pays."""
    found = load_one("crossover")
    if found is None:
        return []
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


def compiled() -> list[str]:
    """What compilation brings."""
    found = load_one("compiled")
    if found is None:
        return []
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


def training() -> list[str]:
    """Adding an expert against PEFT."""
    found = load_one("training")
    if found is None:
        return []
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
