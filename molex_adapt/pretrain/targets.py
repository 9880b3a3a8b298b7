"""The targets of masked prediction: units of MFCC, of an earlier base or of a teacher, or the teacher's layers.

Shapes: C codebooks, N teacher layers, W their width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.errors import DataError
from molex_adapt.pretrain.corpus import Stream
from molex_adapt.pretrain.teachers import hear_with_base, hear_with_teacher
from molex_adapt.progress import Progress
from molex_adapt.recipe import PretrainRecipe


@dataclass(frozen=True)
class Targets:
    """Targets per stream, aligned with its 20 ms frames.

    Attributes:
        units: per stream (F, C) int64, C codebooks; C may be 0.
        layers: per stream (F, N, W) float16 standardised teacher layers; N may be 0.
        codebook_sizes: the number of units of each codebook.
    """

    units: list[Tensor]
    layers: list[Tensor]
    codebook_sizes: tuple[int, ...]


def make_targets(streams: list[Stream], recipe: PretrainRecipe, fit_on: int, progress: Progress) -> Targets:
    """Compute every target that the recipe names.

    Args:
        streams: training streams first, development streams after them.
        recipe: says which targets, and how many units.
        fit_on: the number of leading streams that clusters and statistics may be fitted on.
        progress: listener.
    """
    codebooks: list[list[NDArray[np.int64]]] = []
    layers: list[Tensor] = [torch.empty(stream.frames, 0, 0) for stream in streams]
    if "mfcc" in recipe.targets:
        progress.note("targets: MFCC units")
        features = [mfcc(stream.wave) for stream in streams]
        codebooks.append(_cluster(features, recipe.units, fit_on))
    if "former_units" in recipe.targets:
        progress.note(f"targets: units of block {recipe.former_block} of {recipe.former_base}")
        features = hear_with_base(streams, recipe.former_base, recipe.former_block, progress)
        codebooks.append(_cluster(features, recipe.units, fit_on))
    if {"teacher", "teacher_units"} & set(recipe.targets):
        heard = hear_with_teacher(streams, recipe.teacher_layers, progress)
        if "teacher_units" in recipe.targets:
            progress.note("targets: teacher units")
            for layer in range(len(recipe.teacher_layers)):
                features = [item[:, layer].float().numpy() for item in heard]
                codebooks.append(_cluster(features, recipe.units, fit_on))
        if "teacher" in recipe.targets:
            layers = _standardise(heard, fit_on)
    units = [
        torch.from_numpy(np.stack([book[index] for book in codebooks], axis=1))
        if codebooks
        else torch.empty(stream.frames, 0, dtype=torch.int64)
        for index, stream in enumerate(streams)
    ]
    return Targets(units, layers, (recipe.units,) * len(codebooks))


def mfcc(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T,) waveform to (F, 39) MFCC with first and second differences, one frame per 20 ms.

    Source: own; 26 mel bands, window 25 ms, as HuBERT's first iteration uses MFCC (arXiv 2106.07447, section IV-C).
    """
    from scipy.fft import dct

    window = 400
    padded = np.pad(wave, (0, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[:: FRAME_SAMPLES // 2]
    frames = frames[: 2 * (len(wave) // FRAME_SAMPLES)]
    chunks = [
        np.abs(np.fft.rfft(frames[start : start + 20_000] * np.hamming(window), 512)) ** 2
        @ _mel_bank(26, 512).T
        for start in range(0, len(frames), 20_000)
    ]
    cepstra = dct(np.log(np.concatenate(chunks) + 1e-6), norm="ortho")[:, :13]
    first = np.gradient(cepstra, axis=0)
    second = np.gradient(first, axis=0)
    # Frames are 10 ms apart, as is usual for differences; targets have the 20 ms of the base.
    return np.asarray(np.concatenate([cepstra, first, second], axis=1)[::2], dtype=np.float32)


def _mel_bank(bands: int, fft: int) -> NDArray[np.float64]:
    def mel(hertz: float) -> float:
        return float(2595 * np.log10(1 + hertz / 700))

    edges = 700 * (10 ** (np.linspace(mel(60), mel(7600), bands + 2) / 2595) - 1)
    bins = np.arange(fft // 2 + 1) * SAMPLE_RATE / fft
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.clip(np.minimum(rising, falling), 0, None)


def _cluster(features: list[NDArray[np.float32]], units: int, fit_on: int) -> list[NDArray[np.int64]]:
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError as error:
        raise DataError(
            f"units need the package scikit-learn ({error}): pip install 'molex-adapt[pretrain]'"
        ) from None
    sample = np.concatenate(features[:fit_on])
    if len(sample) < units:
        raise DataError(
            f"{len(sample)} frames of speech cannot make {units} units; add recordings, or ask for fewer: --set units=N"
        )
    mean, deviation = sample.mean(0), sample.std(0) + 1e-6  # k-means would follow the loudest channel
    sample = (sample - mean) / deviation
    picked = np.random.default_rng(0).permutation(len(sample))[:60_000]
    clusters = MiniBatchKMeans(units, batch_size=4096, n_init=1, max_iter=60, random_state=0).fit(
        sample[picked]
    )
    return [clusters.predict((item - mean) / deviation).astype(np.int64) for item in features]


def _standardise(heard: list[Tensor], fit_on: int) -> list[Tensor]:
    sample = torch.cat([item[::7] for item in heard[:fit_on]]).float()
    mean, deviation = sample.mean(0), sample.std(0) + 1e-4
    return [((item.float() - mean) / deviation).half() for item in heard]
