"""Do scores depend on where they are computed? CPU in float32 against the device in float32 and bfloat16.

Scores of the shipped mixture: of the recordings that its experts keep, from their prefix features, and of sounds made
here, of 1 to 9 s, padded into one batch, from waveforms. And hidden states at WavLM-Large's shape with eight random
experts. TF32 is off: the package switches it off for convolutions, and torch does
for matrix products.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.cost import attached
from benchmarks.gpu.material import base_of, mixture_of, sound, tables_of, waves_of
from benchmarks.gpu.setting import Findings, Setting
from molex_adapt.conventions import Precision
from molex_adapt.detector import Detector
from molex_adapt.features import Features, concatenate, logits_of, pad
from molex_adapt.registry import Store
from molex_adapt.registry.assemble import build_detector
from molex_adapt.registry.exemplars import arrays_to_features

EXPERTS = 8


@torch.no_grad()
def run(setting: Setting, found: Findings) -> None:
    """Scores, then states."""
    torch.backends.cuda.matmul.allow_tf32 = False
    with found.attempt("scores"):
        found.add("scores", _scores(setting, found))
    with found.attempt("states"):
        found.add("states", _states(setting, found))


def _scores(setting: Setting, found: Findings) -> dict[str, Any]:
    count, longest = (3, 1.5) if setting.tiny else (48, 9.0)
    sounds = [sound(at, 1 + (longest - 1) * (at % 9) / 8, 700.0 * (at % 2)) for at in range(count)]
    kept = _kept(4 if setting.tiny else 128)
    references = _score(_shipped("cpu", "fp32"), sounds, kept)
    rows: dict[str, Any] = {
        what: {"recordings": len(scores), "spread_nats": float(scores.std())}
        for what, scores in references.items()
    }
    ways: list[tuple[str, str | torch.device, Precision]] = [
        ("cpu bf16", "cpu", "bf16"),
        (f"{setting.device.type} fp32", setting.device, "fp32"),
        (f"{setting.device.type} bf16", setting.device, "bf16"),
    ]
    for name, device, precision in ways:
        for what, scores in _score(_shipped(device, precision), sounds, kept).items():
            away, reference = (scores - references[what]).abs(), references[what]
            rows[what][name] = {
                "largest_nats": float(away.max()),
                "mean_nats": float(away.mean()),
                "largest_over_spread": float(away.max() / reference.std()),
                "largest_over_magnitude": float(away.max() / reference.abs().max()),
            }
            found.say(f"scores of {what}, {name} against cpu fp32: {_brief(rows[what][name])}")
    return rows


def _kept(most: int) -> Features:
    """Exemplars of the shipped experts, both classes, at even distances."""
    store = Store.open(Path("registry"))
    sets = [
        arrays_to_features(store.exemplar_tensors(item.name) or {}, "check", item.data.attacks)
        for item in store.experts()
    ]
    together = concatenate([item for item in sets if item is not None])
    count = min(most, len(together))
    return together.pick([at * len(together) // count for at in range(count)])


def _shipped(device: str | torch.device, precision: Precision) -> Detector:
    return build_detector(Store.open(Path("registry")), None, device, precision=precision)


def _score(detector: Detector, sounds: list[Any], kept: Features) -> dict[str, Tensor]:
    wave, lengths = pad([detector.prepare(item)[0] for item in sounds])
    return {
        "recordings kept": detector.calibrate(logits_of(detector, kept)).double(),
        "sounds": detector.score(wave.to(detector.device), lengths).cpu().double(),
    }


def _states(setting: Setting, found: Findings) -> dict[str, Any]:
    """Relative distance ‖x - reference‖ / ‖reference‖ of prefix features and of each block's output, the largest."""
    base = base_of(setting)
    mixture = mixture_of(base, tables_of(base, EXPERTS), EXPERTS)
    wave = waves_of(setting, 2 if setting.tiny else 4)
    lengths = torch.full((len(wave),), wave.shape[1])
    with attached(mixture, "utterance"):
        both = copy.deepcopy((base, mixture))
    here, there = both[0].to("cpu"), both[1].to("cpu")
    vars(there)["_base"] = here
    with attached(there, "utterance"):
        features, frames = here.prefix(wave, lengths)
        reference = there.hidden_states(features, frames)
    found.say("states computed on the CPU")
    rows: dict[str, Any] = {}
    for precision in ("fp32", "bf16"):
        base.compute_in("bf16" if precision == "bf16" else "fp32")
        with attached(mixture, "utterance"):
            own, frames = base.prefix(wave.to(setting.device), lengths)
            states = mixture.hidden_states(features.to(setting.device), frames)
        distances = [_distance(a, b) for a, b in zip(states, reference, strict=True)]
        rows[f"{setting.device.type} {precision}"] = {
            "prefix": _distance(own, features),
            "largest_of_blocks": max(distances),
            "last_block": distances[-1],
        }
        found.say(f"states, {precision}: {_brief(rows[f'{setting.device.type} {precision}'])}")
    return rows


def _distance(found: Tensor, reference: Tensor) -> float:
    reference = reference.double()
    return float((found.cpu().double() - reference).norm() / reference.norm())


def _brief(row: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.2e}" for key, value in row.items())
