"""What the mixture costs: scoring over the frozen base, whatever the number of experts, and what others cost.

    python -m benchmarks.cost

Interleaved: in every round each candidate scores the same clips once, and is compared with the frozen base of the same
round. Writes results/cost.json, after every shape; shapes that a call leaves out keep what was found before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

from benchmarks.forms import (
    ALPHA,
    RANK,
    Form,
    computed_by,
    einsum_form,
    loop_form,
    peft_arrow,
    peft_mixed,
    peft_single,
)
from benchmarks.workbench import RESULTS, WORK
from molex_adapt.base import Base, load_base
from molex_adapt.base.precision import compute_dtype
from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.mixture import ExpertSpec, Mixture
from molex_adapt.mixture.mixture import module_path
from molex_adapt.recipe import LoraOptions, RouterOptions

SHAPES: dict[str, dict[str, Any]] = {
    "wavlm-base": {},
    "wavlm-large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
    },
}
CLIPS, SECONDS = 4, 4
TOP_K = 2
"""Of the peers too, where they choose."""
DEFAULT_TOP_K = RouterOptions().top_k
COUNTS = (8, 64, 256)
ROUTINGS = ("utterance", "frame")

Candidate = Callable[[], object]


def main() -> None:
    """Read the command line, run, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shapes", nargs="*", default=["embedded", *SHAPES])
    parser.add_argument(
        "--peers", nargs="*", default=["wavlm-base"], help="shapes that the others are measured on"
    )
    options = parser.parse_args()
    about = {"machine": machine(), "clips": CLIPS, "seconds": SECONDS, "rounds": options.rounds}
    result = former(RESULTS / "cost.json", about)
    for shape in options.shapes:
        folder = shape_folder(shape)
        for precision in ("fp32", "bf16"):
            ours = scoring(folder, precision, options.rounds, shape in options.peers and precision == "fp32")
            result["scoring"].setdefault(shape, {})[precision] = ours
            print(shape, precision, json.dumps(ours), flush=True)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "cost.json").write_text(json.dumps(result, indent=1) + "\n")


def former(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """What was found before under the same conditions; else nothing yet."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    same = all(found.get(key) == value for key, value in about.items())
    return about | {"scoring": found["scoring"] if same else {}}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bfloat16": compute_dtype("auto", torch.device("cpu")) == torch.bfloat16,
        "torch": torch.__version__,
    }


def shape_folder(shape: str) -> Path:
    """The embedded base, or a base of that shape with random weights, made once."""
    if shape == "embedded":
        return Path("registry/base")
    folder = WORK / "shapes" / shape
    if not (folder / "model.safetensors").exists():
        torch.manual_seed(0)
        WavLMModel(WavLMConfig(**SHAPES[shape])).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=shape != "wavlm-base").save_pretrained(folder)
    return folder


@torch.no_grad()
def scoring(folder: Path, precision: str, rounds: int, peers: bool) -> dict[str, Any]:
    """Seconds of the frozen base, and every candidate's time over it."""
    base = load_base(folder)
    base.compute_in("bf16" if precision == "bf16" else "fp32")
    wave = torch.randn(CLIPS, SECONDS * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    candidates: dict[str, Candidate] = {"frozen base": lambda: _score(base, None, wave)}
    for count in COUNTS:
        mixture = mixture_of(base, count)
        for routing in ROUTINGS:
            for top_k in (TOP_K, DEFAULT_TOP_K):
                name = f"mixture, {count} experts, {routing}" + (
                    f", {top_k} chosen" if top_k != TOP_K else ""
                )
                candidates[name] = _routed(base, mixture, routing, wave, top_k)
        if peers and count <= 64:
            for name, form in (("loop", loop_form), ("einsum", einsum_form)):
                if name == "loop" or count == 8:
                    candidates[f"{name}, {count} experts"] = _in_form(base, mixture, form, wave)
    if peers:
        single, mixed = peft_single(folder), peft_mixed(folder, 8)
        names = [f"e{at % 8}" for at in range(CLIPS)]
        candidates["PEFT, one adapter"] = lambda: single(wave)
        candidates["PEFT, 8 adapters in one batch"] = lambda: mixed(wave, adapter_names=names)
        for count in (2, 8, 32):
            arrow = peft_arrow(folder, count, WORK)
            candidates[f"PEFT Arrow, {count} experts"] = lambda arrow=arrow: arrow(wave)  # type: ignore[misc]
    times = interleaved(candidates, rounds)
    frozen = times.pop("frozen base")
    ratios = {
        name: median(own / base_ for own, base_ in zip(found, frozen, strict=True))
        for name, found in times.items()
    }
    return {"frozen_base_seconds": median(frozen), "ratios": ratios}


def interleaved(candidates: dict[str, Candidate], rounds: int) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, candidate in candidates.items():
            started = time.perf_counter()
            candidate()
            if turn:
                times[name].append(time.perf_counter() - started)
    return times


def mixture_of(base: Base, count: int) -> Mixture:
    """`count` random experts, detached."""
    mixture = Mixture(base, LoraOptions(rank=RANK, alpha=ALPHA), RouterOptions(top_k=TOP_K))
    generator = torch.Generator().manual_seed(0)
    experts = []
    for number in range(count):
        weights = {}
        for block, layers in enumerate(mixture.layers):
            for target, layer in layers.items():
                a, b = layer.fresh(ExpertSpec("", RANK, ALPHA), generator)
                path = module_path(block, target)
                weights[f"{path}.lora_A"], weights[f"{path}.lora_B"] = a, b
        experts.append((ExpertSpec(f"e{number}", RANK, ALPHA), weights))
    rows = [[torch.randn(base.width + 1, generator=generator) for _ in base.blocks] for _ in experts]
    mixture.extend(experts, rows)
    return mixture.requires_grad_(False).eval()


def _routed(base: Base, mixture: Mixture, routing: str, wave: torch.Tensor, top_k: int = TOP_K) -> Candidate:
    options = RouterOptions.model_validate({"top_k": top_k, "routing": routing})

    def score() -> None:
        for router in mixture.routers:
            router.options = options
        _score(base, mixture, wave)

    return score


def _in_form(base: Base, mixture: Mixture, form: Form, wave: torch.Tensor) -> Candidate:
    routed = _routed(base, mixture, "utterance", wave)

    def score() -> None:
        with computed_by(form):
            routed()

    return score


def _score(base: Base, mixture: Mixture | None, wave: torch.Tensor) -> None:
    features, frames = base.prefix(wave, torch.full((len(wave),), wave.shape[1]))
    if mixture is None:
        base.hidden_states(features, frames)
        return
    mixture.attach()
    try:
        mixture.hidden_states(features, frames)
    finally:
        mixture.detach()


if __name__ == "__main__":
    main()
