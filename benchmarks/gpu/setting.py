"""Where and how large a part measures, and where it leaves what it found."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from molex_adapt.conventions import SAMPLE_RATE, Seconds

LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}
"""WavLM-Large's shape; its weights are drawn at random, for time and memory do not depend on them."""

SMALL: dict[str, Any] = LARGE | {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


@dataclass(frozen=True)
class Setting:
    """One machine and one size of everything.

    Attributes:
        device: where to measure.
        tiny: small enough for two slow cores; says that everything runs, and nothing about speed.
        until: when to stop, on the clock of `time.monotonic`.
    """

    device: torch.device
    tiny: bool
    until: float

    @property
    def shape(self) -> dict[str, Any]:
        """A WavLM's configuration."""
        return SMALL if self.tiny else LARGE

    @property
    def clips(self) -> int:
        """In one batch."""
        return 2 if self.tiny else 32

    @property
    def samples(self) -> int:
        """Of each clip: 4 s, as everywhere in the benchmarks."""
        return SAMPLE_RATE if self.tiny else 4 * SAMPLE_RATE

    @property
    def rounds(self) -> int:
        """Measured turns of every candidate."""
        return 2 if self.tiny else 15

    @property
    def warm(self) -> int:
        """Turns before anything is counted: memory is reserved, kernels are chosen and loaded."""
        return 1 if self.tiny else 3

    def left(self) -> Seconds:
        """Time that this part still has."""
        return self.until - time.monotonic()

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def tidy(self) -> None:
        """Give a card's memory back, and begin to count its peak anew."""
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_mib(self) -> float | None:
        """The most that tensors held since `tidy`; None where nobody counts."""
        return torch.cuda.max_memory_allocated(self.device) / 2**20 if self.device.type == "cuda" else None


@dataclass
class Findings:
    """What a part found so far; on disk after every finding, for a part may be stopped at any time."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    def add(self, key: str, value: Any) -> None:
        """Keep a finding."""
        self.values[key] = value
        aside = self.path.with_suffix(".part")
        aside.write_text(json.dumps(self.values))
        os.replace(aside, self.path)

    def say(self, text: str) -> None:
        """Print how far it is."""
        print(f"  {time.monotonic() - self._started:6.1f} s  {text}", flush=True)

    @contextmanager
    def attempt(self, key: str) -> Iterator[None]:
        """What fails in here is a finding as well, and the rest goes on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001
            self.add(key, {"error": told(error)})
            self.say(f"{key} FAILED: {told(error)[:300]}")


def told(error: BaseException) -> str:
    """An exception in one short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
