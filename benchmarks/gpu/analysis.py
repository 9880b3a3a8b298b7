"""What `analyze` costs and holds at WavLM-Large's shape with 64 experts, and whether it sees there what a CPU sees.

From waveforms: decoding belongs to `commands`. Experts, router rows and recordings are drawn at random; head and
readout have learnt nothing, which changes neither time nor memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import WavLMModel

from benchmarks.forms import LORA
from benchmarks.gpu.material import base_from, experts_into, model_of, tables_of, waves_of
from benchmarks.gpu.setting import Findings, Setting
from benchmarks.gpu.timing import Candidate, in_turns, timed
from molex_adapt.analysis import Corpus, Observed, observe
from molex_adapt.analysis.observe import Portion
from molex_adapt.base import send
from molex_adapt.conventions import Precision
from molex_adapt.detector import Detector
from molex_adapt.recipe import HeadOptions, Recipe

EXPERTS = 64
FEW, MANY = 4, 16
"""Batches of the two corpora whose memory is compared."""
AT_ONCE = 2
"""Batches of one timed turn."""
SAME = 4
"""Recordings that both devices observe."""
SCORE = "score"
ATTACKS = ("bonafide", "buzz", "hum", "click")


def run(setting: Setting, found: Findings) -> None:
    """Both devices side by side, then time and memory in either precision."""
    torch.backends.cuda.matmul.allow_tf32 = False
    model = model_of(replace(setting, device=torch.device("cpu")))
    # Drawn on the CPU, as both devices need the same.
    tables = tables_of(base_from(model), EXPERTS)
    here = _detector(copy.deepcopy(model), tables, torch.device("cpu"))
    there = _detector(model, tables, setting.device)
    found.say("made")
    with found.attempt("parity"):
        found.add("parity", _parity(setting, here, there))
        found.say(f"parity: {found.values['parity']}")
    del here
    ways: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in ways:
        with found.attempt(precision):
            there.base.compute_in(precision)
            found.add(precision, _measured(setting, found, there))


def _detector(model: WavLMModel, tables: dict[str, Any], device: torch.device) -> Detector:
    recipe = Recipe(lora=LORA, head=HeadOptions(readout=True))
    torch.manual_seed(0)  # a head of the same weights for both
    detector = Detector(base_from(model), recipe)
    experts_into(detector.mixture, tables, EXPERTS)
    return detector.requires_grad_(False).eval().to(device)


def _corpus(recordings: int) -> Corpus:
    """Attacks in turn, each a copy of the bona fide recording before it."""
    names = tuple(ATTACKS[at % len(ATTACKS)] for at in range(recordings))
    return Corpus(
        names,
        ("none",) * recordings,
        np.array([name == ATTACKS[0] for name in names]),
        tuple(str(at // len(ATTACKS)) for at in range(recordings)),
        tuple(map(str, range(recordings))),
    )


def _observed(
    setting: Setting, detector: Detector, batches: int, clips: int, *, ablate: bool = False
) -> Observed:
    """What a pass over so many batches sees, each of the same clips."""
    wave, lengths = waves_of(setting, clips), torch.full((clips,), setting.samples)

    def portions() -> Iterator[Portion]:
        for batch in range(batches):
            sent = send(wave, detector.device)
            features, frames = detector.base.prefix(sent, lengths)
            at = range(batch * clips, (batch + 1) * clips)
            yield Portion(list(at), features, frames, detector.statistics(sent, lengths))

    return observe(detector, _corpus(batches * clips), portions(), ablate=ablate)


def _parity(setting: Setting, here: Detector, there: Detector) -> dict[str, float]:
    """The largest distance between what the CPU and the device observe; both in float32."""
    seen = [_observed(setting, detector, 1, SAME) for detector in (here, there)]
    one, other = seen
    chosen = [(item.gates > 0) for item in seen]
    return {
        "score_nats": _furthest(one.scores, other.scores),
        "gates_before_top_k": _furthest(one.before, other.before),
        "gates": _furthest(one.gates, other.gates),
        # Where two gates are next to equal, either may be the last that is chosen.
        "choices_that_differ": float((chosen[0] != chosen[1]).any(-1).mean()),
    }


def _furthest(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float(np.abs(one.astype(np.float64) - other).max())


def _measured(setting: Setting, found: Findings, detector: Detector) -> dict[str, Any]:
    clips = setting.clips
    wave, lengths = waves_of(setting, clips), torch.full((clips,), setting.samples)

    def score() -> list[Any]:
        # The host waits once, at the end, as it does in an analysis.
        told = [detector.score(send(wave, detector.device), lengths) for _ in range(AT_ONCE)]
        return [scores.cpu() for scores in told]

    candidates = {
        SCORE: Candidate(score),
        "analyze": Candidate(lambda: _observed(setting, detector, AT_ONCE, clips), over=SCORE),
    }
    rows: dict[str, Any] = in_turns(setting, found, candidates)
    few, many = (_once(setting, detector, batches, clips) for batches in (FEW, MANY))
    rows |= {"few recordings": few, "many recordings": many}
    rows["every expert switched off"] = _once(setting, detector, 1, clips, ablate=True)
    for name, row in rows.items():
        found.say(f"{name}: {', '.join(f'{key} {value}' for key, value in row.items())}")
    if few["peak_mib"] is not None:
        rows["memory_of_many_over_few"] = many["peak_mib"] / few["peak_mib"]
    return rows


def _once(
    setting: Setting, detector: Detector, batches: int, clips: int, *, ablate: bool = False
) -> dict[str, Any]:
    setting.tidy()
    seconds, _ = timed(setting, lambda: _observed(setting, detector, batches, clips, ablate=ablate))
    return {"recordings": batches * clips, "seconds": seconds, "peak_mib": setting.peak_mib()}
