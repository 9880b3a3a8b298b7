"""Whose voice a recording is: GE2E embeddings by Resemblyzer's weights, and clusters of them.

Resemblyzer itself needs packages that are not needed here; its network is three LSTM layers. Shapes: T samples at
16 kHz, F frames of 10 ms, R recordings.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from torch import nn

from molex_adapt.errors import DataError
from tools.wideband.spectra import RATE, mel_filters

SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
"""Of pretrained.pt in the PyPI package Resemblyzer 0.1.4."""
WINDOW = 160
"""Frames that the network hears at once: 1.6 s."""
UNKNOWN = -1


class SpeakerEncoder:
    """Embeddings of 256 numbers and length 1. Source: Wan et al. 2018 (GE2E); Resemblyzer 0.1.4."""

    def __init__(self, path: Path) -> None:
        """Read the weights.

        Raises:
            DataError: `path` is not the file that Resemblyzer 0.1.4 carries.
        """
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != SHA256:
            raise DataError(
                f"{path} has the sha256 {found[:12]}…; expected {SHA256[:12]}…. "
                "Name pretrained.pt of Resemblyzer 0.1.4."
            )
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        self.lstm, self.linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)
        for name, module in (("lstm.", self.lstm), ("linear.", self.linear)):
            module.load_state_dict(
                {key.removeprefix(name): value for key, value in state.items() if key.startswith(name)}
            )
        self.filters = mel_filters(400, 40).numpy()
        self.window = np.hanning(401)[:-1].astype(np.float32)

    @torch.no_grad()
    def __call__(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T,) to (256,): the mean over windows of 1.6 s, each half over the next; shorter ones repeat."""
        mel = self._mel(wave)
        if len(mel) < WINDOW:
            mel = np.tile(mel, (WINDOW // len(mel) + 1, 1))[:WINDOW]
        starts = range(0, len(mel) - WINDOW + 1, WINDOW // 2)
        windows = torch.from_numpy(np.stack([mel[start : start + WINDOW] for start in starts]))
        _, (hidden, _) = self.lstm(windows)
        vectors = nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)
        return nn.functional.normalize(vectors.mean(0), dim=0).numpy()

    def _mel(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(F, 40) mel power at -30 dB RMS, the level that the weights were trained at."""
        wave = wave * (10 ** (-30 / 20) / (np.sqrt(np.square(wave).mean()) + 1e-9))
        padded = np.pad(wave, 200, mode="reflect") if len(wave) > 400 else np.pad(wave, 400)
        frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160]
        power = np.square(np.abs(np.fft.rfft(frames * self.window, axis=1))).astype(np.float32)
        return power @ self.filters.T


def find_voices(
    embeddings: NDArray[np.float32],
    lengths: NDArray[np.int64],
    groups: list[str],
    seed: int = 0,
    merged_at: float = 0.2,
) -> NDArray[np.int64]:
    """A voice's number for every recording, by clusters within each group that are then merged over groups.

    Args:
        embeddings: (R, 256), each of length 1.
        lengths: (R,) samples.
        groups: (R,) where a recording comes from; its voices are likely few.
        seed: of the sample that very large groups are clustered by.
        merged_at: cosine distance up to which clusters are one voice; a smaller one keeps more of them apart.

    Returns:
        (R,) voice from 1, or `UNKNOWN` where no voice of the group is near.

    Source: own; average linkage on the cosine distance, cut at 0.28 within and `merged_at` over groups.
    """
    local, centres = np.full(len(groups), UNKNOWN), []
    for group in sorted(set(groups)):
        members = np.flatnonzero(np.array(groups) == group)
        long = members[lengths[members] > RATE]  # shorter ones are too little to found a voice on
        if not len(long):
            continue
        means = _centres(embeddings, lengths, _sample(long, 2500, seed))
        likeness = embeddings[members] @ means.T
        near = likeness.max(1) > 0.6
        local[members[near]] = likeness.argmax(1)[near] + len(centres)
        centres += list(means)
    if len(centres) < 2:
        return np.where(local >= 0, 1, UNKNOWN)
    merged = fcluster(linkage(np.stack(centres), "average", metric="cosine"), merged_at, "distance")
    return np.where(local >= 0, merged[local], UNKNOWN)


def _sample(rows: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """All rows, or `most` of them: linkage takes memory with their square."""
    return rows if len(rows) <= most else np.random.default_rng(seed).choice(rows, most, replace=False)


def _centres(
    embeddings: NDArray[np.float32], lengths: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(voices, 256): means of the clusters that last over 8 s, or of all rows where none does."""
    if len(rows) == 1:
        return embeddings[rows]
    labels = fcluster(linkage(embeddings[rows], "average", metric="cosine"), 0.28, "distance")
    clusters = [rows[labels == label] for label in np.unique(labels)]
    means = [embeddings[cluster].mean(0) for cluster in clusters if lengths[cluster].sum() > 8 * RATE]
    found = np.stack(means or [embeddings[rows].mean(0)])
    return found / np.linalg.norm(found, axis=1, keepdims=True)
