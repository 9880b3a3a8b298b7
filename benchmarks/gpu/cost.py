"""What a mixture costs over its frozen base, at WavLM-Large's shape, and what PEFT costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import get_peft_model
from torch import Tensor, nn

from benchmarks.forms import LORA, lora_config
from benchmarks.gpu.material import base_of, mixture_of, model_of, tables_of, waves_of
from benchmarks.gpu.setting import Findings, Setting
from benchmarks.gpu.timing import Candidate, in_turns
from molex_adapt.base import Base
from molex_adapt.base.precision import exact_convolutions, round_products
from molex_adapt.mixture import Mixture
from molex_adapt.recipe import RouterOptions

COUNTS = (8, 64, 256)
ROUTINGS = ("utterance", "frame")
FROZEN = "frozen base"
IDLE_OVER = f"mixture, {COUNTS[0]} experts, utterance"
IDLE = f"mixture, {COUNTS[0]} experts and an idle one, utterance"
EMPTY = "attached, no expert"
PLAIN = "transformers, no adapter"


def run(setting: Setting, found: Findings) -> None:
    """Both precisions: whole passes from waveforms, and the blocks alone, from prefix features."""
    base = base_of(setting)
    tables = tables_of(base, max(COUNTS))
    # An idle expert is never chosen: its bias lies below every other's.
    idle = [rows[: COUNTS[0] + 1].clone() for rows in tables["rows"]]
    for rows in idle:
        rows[-1, -1] = -1e6
    wave = waves_of(setting, setting.clips).to(setting.device)
    lengths = torch.full((setting.clips,), setting.samples)
    found.say("made")
    peers = _peers(setting, found)
    for precision in ("fp32", "bf16"):
        base.compute_in("bf16" if precision == "bf16" else "fp32")
        mixtures = {count: mixture_of(base, tables, count) for count in COUNTS}
        waiting = mixture_of(base, tables | {"rows": idle}, COUNTS[0] + 1)
        empty = mixture_of(base, tables, 0)
        with torch.no_grad(), found.attempt(precision):
            ours = _ours(base, mixtures, waiting, empty)

            def whole(mixture: Mixture | None) -> object:
                return (mixture or base).hidden_states(*base.prefix(wave, lengths))

            candidates = {name: _candidate(whole, *item) for name, item in ours.items()}
            candidates |= {name: _of_peer(model, wave, precision) for name, model in peers.items()}
            rows = in_turns(setting, found, candidates)
            found.add(precision, rows)
            _say(found, f"{precision}, whole passes", rows)
            blocks = _blocks(base, *base.prefix(wave, lengths))
            rows = in_turns(setting, found, {name: _candidate(blocks, *item) for name, item in ours.items()})
            found.add(f"{precision}, blocks alone", rows)
            _say(found, f"{precision}, blocks alone", rows)


def _blocks(base: Base, features: Tensor, frames: Tensor) -> Callable[[Mixture | None], object]:
    return lambda mixture: (mixture or base).hidden_states(features, frames)


Entry = tuple[Mixture | None, str | None, str | None]
"""A mixture, how it routes, and what it is compared with."""


def _ours(base: Base, mixtures: dict[int, Mixture], waiting: Mixture, empty: Mixture) -> dict[str, Entry]:
    entries: dict[str, Entry] = {FROZEN: (None, None, None), EMPTY: (empty, "utterance", FROZEN)}
    for count, mixture in mixtures.items():
        for routing in ROUTINGS:
            entries[f"mixture, {count} experts, {routing}"] = mixture, routing, FROZEN
    entries[IDLE] = waiting, "utterance", IDLE_OVER
    return entries


def _candidate(
    work: Callable[[Mixture | None], object], mixture: Mixture | None, routing: str | None, over: str | None
) -> Candidate:
    return Candidate(lambda: work(mixture), lambda: attached(mixture, routing), over)


@contextmanager
def attached(mixture: Mixture | None, routing: str | None) -> Iterator[None]:
    """A mixture in its base, routing that way; none for a base without one."""
    if mixture is None:
        yield
        return
    for router in mixture.routers:
        router.options = RouterOptions.model_validate({**router.options.model_dump(), "routing": routing})
    mixture.attach()
    try:
        yield
    finally:
        mixture.detach()


def _peers(setting: Setting, found: Findings) -> dict[str, nn.Module]:
    """transformers' own model without adapters, with PEFT's single one, and with eight in a batch."""
    peers: dict[str, nn.Module] = {}
    for name, count in ((PLAIN, 0), ("PEFT, one adapter", 1), ("PEFT, 8 adapters in one batch", 8)):
        with found.attempt(name):
            model: Any = model_of(setting)
            _keep_prefix_exact(model.feature_extractor)
            if count:
                config = lora_config(LORA)
                model = get_peft_model(model, config, adapter_name="e0")
                for at in range(1, count):
                    model.add_adapter(f"e{at}", config)
            peers[name] = model.to(setting.device).eval().requires_grad_(False)
    found.say("peers made")
    return peers


def _keep_prefix_exact(extractor: Any) -> None:
    """Peers hear the same float32 prefix: only blocks and adapters differ."""
    own = extractor.forward

    def forward(wave: Tensor) -> object:
        with torch.autocast(wave.device.type, enabled=False), exact_convolutions():
            return own(wave)

    extractor.forward = forward


def _of_peer(model: Any, wave: Tensor, precision: str) -> Candidate:
    """Weights of linear layers, adapters included, are rounded once, as in our base."""
    half = precision == "bf16"
    if half:
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        for part in (inner.feature_projection, inner.encoder):
            round_products(part, torch.bfloat16, wave.device)
    count = len(getattr(model, "peft_config", ()))
    names: Sequence[str] = [f"e{at % count}" for at in range(len(wave))] if count > 1 else ()

    def work() -> object:
        with torch.autocast(wave.device.type, torch.bfloat16, enabled=half), exact_convolutions():
            return model(wave, **({"adapter_names": names} if names else {}))

    return Candidate(work, over=FROZEN)


def _say(found: Findings, what: str, rows: dict[str, dict[str, Any]]) -> None:
    found.say(what)
    for name, row in rows.items():
        if "error" not in row:
            ratio = f"{row['ratio']:6.3f}" if "ratio" in row else "      "
            print(
                f"            {ratio}  {row['ms']:8.2f} ms  (host {row['host_ms']:.2f})  {name}", flush=True
            )
