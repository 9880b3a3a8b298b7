"""What it costs: seconds of scoring, starting, adapting."""

from __future__ import annotations

from benchmarks.report.found import Found
from benchmarks.report.tables import spread, table


def speed(found: Found) -> list[str]:
    """Scoring many recordings, and of many lengths."""
    rows, text = [], []
    for cell, figures in found.by_method.get("score", {}).items():
        rows.append([f"{cell.arguments[0]} recordings, times real time", f"{figures['times_real_time']:.0f}"])
        rows.append(["the same over the frozen base's own forward, time", f"{figures['over_base']:.2f}"])
    for cell, figures in found.by_method.get("analyze", {}).items():
        rows.append(
            [f"`analyze` over `score`, {cell.arguments[0]} recordings", f"{figures['over_score']:.2f}"]
        )
    for figures in found.by_method.get("mixed", {}).values():
        name = "lengths of 0.7 to 30 s: batches over one recording after the other, speed"
        rows.append([name, f"{figures['batches_over_one_by_one']:.2f}"])
        total, inside = figures["seconds"], figures["seconds_in_model"]
        text.append(
            f"What bounds the last figure: of the {total['one_by_one']:.1f} s that one after the other takes, "
            f"{inside['one_by_one']:.1f} s are the model's arithmetic, and of the {total['batches']:.1f} s in batches "
            f"{inside['batches']:.1f} s.\n"
        )
    return [*table(["", ""], rows), *text]


def adding(found: Found) -> list[str]:
    """Seconds of add-expert, from its start to its exit."""
    rows = []
    for method, cells in found.by_method.items():
        attack, _, option = method.partition("+")
        for cell, figures in cells.items():
            parts = ", ".join(f"{name} {seconds:.0f}" for name, seconds in figures["parts"].items())
            steps = ", ".join(f"{name} {count}" for name, count in figures["steps"].items())
            before, after = (f"{100 * rate:.1f}" for rate in figures["eer"])
            outcome = "withdrawn" if figures["withdrawn"] else "at work"
            asked = (
                f"{attack}, {cell.arguments[0]} and {cell.arguments[0]} of {found.plan.settings['seconds']} s"
            )
            rows.append(
                [
                    f"{asked}, `--{option}`" if option else asked,
                    spread(figures["rounds"], "{:.0f}"),
                    parts,
                    steps or "none",
                    f"{before} → {after}",
                    outcome if figures["steps"] else "not trained",
                ]
            )
    header = ["", "seconds", "of it, in the median round", "steps", "its EER", "the expert"]
    about = "An empty cache each time. The rest of the time is the start, decoding, features and writing.\n"
    return [about, *table(header, rows)]


def startup(found: Found) -> list[str]:
    """Seconds before a command does anything."""
    names = {
        "process bare": "import of typer and rich, nothing else",
        "process hello": "`--help` of a typer program without commands",
        "process help": "`molex-adapt --help`",
        "process list": "`molex-adapt list`; times the bare import",
        "process torch": "import of torch, nothing else",
        "process transformers": "import of torch and of transformers' class for the base, nothing else",
        "process score": "`molex-adapt score` of one file of 3 s; times the import of torch",
    }
    rows = []
    for method, cells in found.by_method.items():
        for cell, figures in cells.items():
            what = names.get(cell.name, f"{method}, {cell.arguments[0]} experts")
            rows.append(
                [what, f"{figures['seconds']:.3f}", f"{figures['over']:.2f}" if "over" in figures else ""]
            )
    return table(["", "seconds", "times"], rows)


def cost(found: Found) -> list[str]:
    """A mixture's scoring over the frozen base's."""
    runs = {cell.name: figures for cells in found.by_method.values() for cell, figures in cells.items()}
    names = list(dict.fromkeys(name for run in runs.values() for name in run["over_frozen"]))
    names.sort(key=lambda name: not name[0].isdigit())  # ours first
    settings = found.plan.settings
    chosen = found.plan.resolved("").router.top_k
    about = (
        f"Time of scoring {settings['clips']} clips of {settings['seconds']} s over the frozen base's in the same "
        f"round, median of {settings['rounds']} rounds, each column a run of its own. {chosen} experts are chosen in "
        "every block. Bases other than the embedded one have random weights.\n"
    )
    rows = [["frozen base, seconds", *(f"{run['frozen_base_seconds']:.3f}" for run in runs.values())]]
    for name in names:
        ratios = (run["over_frozen"].get(name) for run in runs.values())
        rows.append([name, *("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios)])
    return [about, *table(["", *runs], rows)]


def crossover(found: Found) -> list[str]:
    """From how many experts on picking pays."""
    about = (
        "Time of picking every frame's experts over that of one product over all experts, by the number of experts "
        "per chosen one: above 1 the single product is faster. One adapted layer.\n"
    )
    runs = {cell.name: figures for cells in found.by_method.values() for cell, figures in cells.items()}
    counts = list(next(iter(runs.values())))
    return [
        about,
        *table(
            ["", *counts], ([name, *(f"{own[count]:.2f}" for count in counts)] for name, own in runs.items())
        ),
    ]


def training(found: Found) -> list[str]:
    """Adding an expert against PEFT."""
    lines = []
    for base, cells in found.by_method.items():
        clips, seconds, _ = found.plan.settings["bases"][base]
        runs = {" ".join(map(str, cell.arguments)): figures for cell, figures in cells.items()}
        lines.append(f"{base}, {clips} clips of {seconds:g} s:\n")
        peer = runs.get("PEFT fp32")
        rows = []
        for name, run in runs.items():
            speed, peak = run["clips_per_second"], run["peak_mib"]
            over = (
                [f"{speed / peer['clips_per_second']:.2f}", f"{peak / peer['peak_mib']:.2f}"]
                if peer
                else ["–"] * 2
            )
            rows.append([name, f"{speed:.1f}", over[0], f"{peak:.0f}", f"{run['imports_mib']:.0f}", over[1]])
        header = [
            "",
            "clips per second",
            "over PEFT fp32",
            "peak memory, MiB",
            "of it imports",
            "over PEFT fp32",
        ]
        lines += table(header, rows)
    return lines
