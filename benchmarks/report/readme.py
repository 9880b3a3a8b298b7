"""The README's table: few rows, each with the command that measures it again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from statistics import mean

from benchmarks.report.detector import VOICES, old_changes
from benchmarks.report.found import Found
from benchmarks.report.gpu import parts_of
from benchmarks.report.paired import Runs, in_orders_of_all, in_orders_of_ours, level
from benchmarks.report.tables import spread, table
from benchmarks.report.targets import backward

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
MOST = 8
"""Rows; what more there is stands in RESULTS.md."""
GPU = "gpu"
PEERS = {
    "ours": "ours",
    "joint": "joint training",
    "replay": "one LoRA with replay",
    "replay_readout": "the same beside the readout",
    "ridge": "the readout alone",
}


def with_table(text: str, found: Mapping[str, Found]) -> str:
    """The README with its table made anew.

    Raises:
        ValueError: it has no place for one.
    """
    place = re.compile(f"{BEGIN}\n.*{END}", re.DOTALL)
    if not place.search(text):
        raise ValueError(f"README.md has no place for figures: expected {BEGIN} and {END}, each on its line")
    rows = list(_rows(found))[:MOST]
    lines = table(["measure", "result", "command"], rows) if rows else ["Nothing is measured at present.", ""]
    if not (GPU in found and found[GPU].results.rows):
        lines += [missing(GPU), ""]
    return place.sub(lambda _: "\n".join([BEGIN, *lines[:-1], END]), text)


def missing(name: str) -> str:
    """What stands where nothing was measured."""
    return "Not measured on a GPU." if name == GPU else "Not measured with the present recipe."


def command_of(name: str) -> str:
    """Which measures a plan."""
    return "make gpu" if name == GPU else f"python -m benchmarks {name}"


def _rows(found: Mapping[str, Found]) -> Iterator[list[str]]:
    rows = {
        "demo": _demo,
        "limits": _limits,
        "sequence": _sequence,
        "adding": _adding,
        "speed": _speed,
        GPU: _gpu,
        "cost": _cost,
        "training": _training,
    }
    for name, section in rows.items():
        if name in found:
            for measure, result in section(found[name]):
                yield [measure, result, f"`{command_of(name)}`"]


def _demo(found: Found) -> Iterator[tuple[str, str]]:
    for figures in list(found.by_method.get("seed", {}).values())[:1]:
        yield "the demonstration, installation apart", f"{figures['seconds'] / 60:.1f} min"
        novel = {name: domains[figures["novel"]] for name, domains in figures["eer"].items()}
        shown = "; ".join(f"{100 * before:.1f} → {100 * after:.1f}" for before, after in novel.values())
        changes = ", ".join(f"{100 * change:+.1f}" for change in old_changes(figures, "known"))
        voices = "; ".join(VOICES[name] for name in novel)
        measure = f"its new attack, EER before → after: {voices}; change of the old attacks: mean, worst"
        yield measure, f"{shown} %; {changes} points"


def _limits(found: Found) -> Iterator[tuple[str, str]]:
    by_voices = {voices: next(iter(runs.values())) for voices, runs in found.by_method.items() if runs}
    if by_voices:
        counts = " and ".join(str(figures["recordings"]) for figures in by_voices.values())
        whose = " and ".join(VOICES[name] for name in by_voices)
        measure = f"{counts} real recordings as they are, of {whose}: called forged"
        rates = "; ".join(f"{100 * figures['called_spoof']:.1f}" for figures in by_voices.values())
        yield measure, f"{rates} %"


def _sequence(found: Found) -> Iterator[tuple[str, str]]:
    same = in_orders_of_ours(found.by_method)
    by_method = {name: same[name] for name in PEERS if name in same}
    if "ours" not in by_method:
        return
    test = found.plan.settings["test"]
    shared = in_orders_of_all(by_method)
    if not shared["ours"]:
        return
    known = {PEERS[name]: level(runs, "test", test) for name, runs in shared.items()}
    changes = [backward(run) for run in by_method["ours"].values()]
    middle, worst = (mean(100 * how(values) for values in changes) for how in (mean, max))
    count = len(found.plan.settings["development"]) + len(test)
    measure = f"{count} attacks learnt in turn, mean EER of the {len(test)} test attacks: {', '.join(known)}"
    shown = ", ".join(each.text() for each in known.values())
    yield f"{measure}; {_orders(shared['ours'])} in which all of these are measured", f"{shown} %"
    yield (
        f"the same in {_orders(by_method['ours'])}: ours; change since each attack's own step: mean, worst",
        f"{level(by_method['ours'], 'test', test).text()} %; {middle:+.1f}, {worst:+.1f} points",
    )


def _orders(runs: Runs) -> str:
    return f"{len(runs)} order{'s' if len(runs) > 1 else ''}"


def _adding(found: Found) -> Iterator[tuple[str, str]]:
    """One row: the command, then what its options make of it."""
    runs = [
        (method.partition("+")[2], cell.arguments[0], figures)
        for method, cells in found.by_method.items()
        for cell, figures in cells.items()
    ]
    if runs:
        count, seconds = runs[0][1], found.plan.settings["seconds"]
        also = "".join(f"; the same with `--{option}`" for option, _, _ in runs if option)
        what = f"{count} real and {count} forged recordings of {seconds} s"
        measure = f"`add-expert` on {what}, everything included{also}"
        yield measure, "; ".join(f"{figures['seconds']:.0f}" for _, _, figures in runs) + " s"


def _cost(found: Found) -> Iterator[tuple[str, str]]:
    runs = [run["over_frozen"] for run in found.by_method.get("wavlm-base", {}).values()]
    if runs:
        parts = [
            f"{count}: {spread(run[f'{count} experts, utterance'] for run in runs)}" for count in (8, 256)
        ]
        yield (
            "scoring with so many experts over the frozen base, shape of WavLM-Base",
            f"{'; '.join(parts)} times",
        )


def _training(found: Found) -> Iterator[tuple[str, str]]:
    runs = {cell.name: run for cells in found.by_method.values() for cell, run in cells.items()}
    ours, peer = runs.get("embedded ours fp32"), runs.get("embedded PEFT fp32")
    if ours and peer:
        ratios = [ours[key] / peer[key] for key in ("clips_per_second", "peak_mib")]
        measure = "training an expert over PEFT and `Trainer`, embedded base, float32: clips per second, peak memory"
        yield measure, f"{ratios[0]:.1f}; {ratios[1]:.2f} times"


def _speed(found: Found) -> Iterator[tuple[str, str]]:
    for cell, figures in found.by_method.get("score", {}).items():
        yield (
            f"scoring {cell.arguments[0]} recordings from files",
            f"{figures['times_real_time']:.0f} times real time",
        )


def _gpu(found: Found) -> Iterator[tuple[str, str]]:
    cost = parts_of(found).get("cost", {}).get("bf16", {})
    ratios = {count: cost.get(f"mixture, {count} experts, utterance", {}).get("ratio") for count in (8, 256)}
    known = [f"{count}: {ratio:.2f}" for count, ratio in ratios.items() if ratio is not None]
    if known:
        card = next(iter(found.results.makings.values())).machine["card"]
        yield (
            f"scoring with so many experts over the frozen base, bfloat16 on {card}, shape of WavLM-Large",
            f"{'; '.join(known)} times",
        )
