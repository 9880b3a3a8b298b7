"""Audio on disk as one array and a list of its stretches, and on a device as tables to draw crops from.

Shapes: B batch, T samples, N all samples, R rows of a table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.errors import DataError
from tools.wideband.spectra import RATE

PARTS = ("train", "dev", "test")


@dataclass(frozen=True)
class Stretch:
    """One utterance in an array of them: samples `offset` to `offset + length`."""

    voice: str
    part: str
    offset: int
    length: int
    language: str = ""
    g722: bool = False
    package: str = ""
    source: str = ""


def read_speech(stem: Path) -> tuple[Tensor, list[Stretch]]:
    """(N,) int16 from `stem`.npy, and its stretches from `stem`.json.

    Raises:
        DataError: a file is missing, or the stretches reach over the array's end.
    """
    try:
        wave = torch.from_numpy(np.load(stem.with_suffix(".npy")))
        rows = [Stretch(**row) for row in json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))]
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing. Write it with tools.wideband.speech.") from error
    end = max((row.offset + row.length for row in rows), default=0)
    if end > len(wave):
        raise DataError(f"{stem}.json reaches to sample {end}; {stem}.npy has {len(wave)}. Write both again.")
    return wave, rows


def write_speech(stem: Path, pieces: Iterable[tuple[NDArray[np.int16], Stretch]]) -> list[Stretch]:
    """Write waves end to end and their rows, whose offsets are set here; returns the rows."""
    waves, rows, offset = [], [], 0
    for wave, row in pieces:
        rows.append(Stretch(**{**asdict(row), "offset": offset, "length": len(wave)}))
        waves.append(wave)
        offset += len(wave)
    stem.parent.mkdir(parents=True, exist_ok=True)
    np.save(stem.with_suffix(".npy"), np.concatenate(waves) if waves else np.zeros(0, np.int16))
    stem.with_suffix(".json").write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
    return rows


def to_int16(wave: NDArray[np.float32]) -> NDArray[np.int16]:
    """(T,) float in [-1, 1] to integers; what is beyond is clipped."""
    return np.clip(np.round(wave * 32767), -32768, 32767).astype(np.int16)


@dataclass(frozen=True)
class Crops:
    """B crops of one length, and where they come from."""

    wave: Tensor  # (B, T) float32
    first: Tensor  # (B,) sample of the store at which a crop begins
    g722: Tensor  # (B, 1) bool
    whole: Tensor  # (B,) bool: the utterance is as long as the crop, so nothing repeats

    def __add__(self, other: Crops) -> Crops:
        """Both, one after the other."""
        mine, theirs = vars(self), vars(other)
        return Crops(**{name: torch.cat([mine[name], theirs[name]]) for name in mine})


@dataclass(frozen=True)
class Store:
    """All audio as one int16 tensor on a device; tables of (offset, length, g722) by part, and by attack and part."""

    wave: Tensor
    bona_fide: dict[str, Tensor]
    spoofed: dict[str, dict[str, Tensor]]

    @classmethod
    def load(cls, speech: Path, forged: Path, device: torch.device, shortest: int = RATE) -> Store:
        """Read recordings and every forged set in a folder; utterances shorter than `shortest` samples are left out."""
        sources = [speech, *(path.with_suffix("") for path in sorted(forged.glob("*.json")))]
        waves, tables, offset = [], [], 0
        for stem in sources:
            wave, rows = read_speech(stem)
            kept = [row for row in rows if row.length >= shortest]
            tables.append({part: _table(kept, part, offset, device) for part in PARTS})
            waves.append(wave)
            offset += len(wave)
        spoofed = {stem.name: table for stem, table in zip(sources[1:], tables[1:], strict=True)}
        return cls(torch.cat(waves).to(device), tables[0], spoofed)

    def draw(self, table: Tensor, rows: Tensor, samples: int) -> Crops:
        """Crops of `samples` at random places of some rows of a table; what is shorter repeats."""
        chosen = table[rows]
        room = (chosen[:, 1] - samples).clamp(min=0)
        first = chosen[:, 0] + (room * torch.rand(len(rows), device=self.wave.device)).long()
        steps = torch.arange(samples, device=self.wave.device)[None] % chosen[:, 1:2].clamp(max=samples)
        wave = self.wave[first[:, None] + steps].float() / 32768
        return Crops(wave, first, chosen[:, 2:3].bool(), chosen[:, 1] >= samples)


def _table(rows: list[Stretch], part: str, offset: int, device: torch.device) -> Tensor:
    listed = [[row.offset + offset, row.length, int(row.g722)] for row in rows if row.part == part]
    return torch.tensor(listed, dtype=torch.int64, device=device).reshape(-1, 3)
