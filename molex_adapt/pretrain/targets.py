"""What the base predicts of masked speech: MFCC units, a teacher's units, a teacher's layers.

The teacher is DistillMOS (MIT licence, package `distillmos`), a speech-quality model distilled from XLS-R; it is
used at training time only and nothing of it is stored in the base.
"""

from __future__ import annotations

import contextlib
import io
import sys
import types
from dataclasses import dataclass
from typing import cast
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.errors import DataError
from molex_adapt.pretrain.corpus import Stream
from molex_adapt.progress import Progress, Silent
from molex_adapt.recipe import PretrainRecipe

TEACHER_SAMPLES = 122_880
"""DistillMOS hears exactly this many samples (7.68 s)."""

_TEACHER_LAYERS = "transformer_pool_attn.transformer.transformer_encoder.layers"


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
    return np.asarray(np.concatenate([cepstra, first, second], axis=1)[::2], dtype=np.float32)


def _mel_bank(bands: int, fft: int) -> NDArray[np.float64]:
    def mel(hertz: float) -> float:
        return float(2595 * np.log10(1 + hertz / 700))

    edges = 700 * (10 ** (np.linspace(mel(60), mel(7600), bands + 2) / 2595) - 1)
    bins = np.arange(fft // 2 + 1) * SAMPLE_RATE / fft
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.clip(np.minimum(rising, falling), 0, None)


def hear_with_teacher(
    streams: list[Stream], layers: tuple[int, ...], progress: Progress | None = None
) -> list[Tensor]:
    """Hidden states of DistillMOS, per stream (F, len(layers), 200) float16, one frame per 20 ms.

    Raises:
        DataError: the package is missing, or a layer does not exist.
    """
    progress = progress or Silent()
    teacher = _load_teacher()
    encoder = cast(nn.ModuleList, teacher.get_submodule(_TEACHER_LAYERS))
    if not layers or not all(1 <= layer <= len(encoder) for layer in layers):
        raise DataError(f"teacher layers {layers} do not exist; DistillMOS has layers 1 to {len(encoder)}")
    caught: dict[int, Tensor] = {}
    for layer in layers:
        encoder[layer - 1].register_forward_hook(
            lambda _module, _inputs, output, layer=layer: caught.__setitem__(layer, output)
        )
    progress.start("teacher", sum(_segments(stream) for stream in streams))
    heard = []
    for stream in streams:
        pieces = []
        for start in range(0, _segments(stream), 4):
            wave = stream.wave[start * TEACHER_SAMPLES : (start + 4) * TEACHER_SAMPLES]
            rows = -(-len(wave) // TEACHER_SAMPLES)
            batch = torch.from_numpy(np.pad(wave, (0, rows * TEACHER_SAMPLES - len(wave))))
            batch = batch.view(rows, TEACHER_SAMPLES)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                teacher(batch)
            stacked = torch.stack([caught[layer].float() for layer in layers], dim=2)
            pieces.append(stacked.flatten(0, 1).half())
            progress.advance(rows)
        heard.append(torch.cat(pieces)[: stream.frames])
    progress.stop()
    return heard


def _segments(stream: Stream) -> int:
    return -(-len(stream.wave) // TEACHER_SAMPLES)


def _load_teacher() -> nn.Module:
    try:
        # DistillMOS imports torchaudio, yet only its command line uses it, to read files; we hand it waveforms.
        with (
            mock.patch.dict(sys.modules, _stand_in_for_torchaudio()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            import distillmos

            teacher: nn.Module = distillmos.ConvTransformerSQAModel()
    except ImportError as error:
        raise DataError(
            f"the teacher needs the package distillmos ({error}): pip install --no-deps distillmos"
        ) from None
    # The fused encoder path would skip the layers' hooks.
    torch.backends.mha.set_fastpath_enabled(False)
    return teacher.eval()


def _stand_in_for_torchaudio() -> dict[str, types.ModuleType]:
    package, transforms = types.ModuleType("torchaudio"), types.ModuleType("torchaudio.transforms")
    transforms.MFCC = None  # type: ignore[attr-defined]
    return {"torchaudio": package, "torchaudio.transforms": transforms}


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
    mean, deviation = sample.mean(0), sample.std(0) + 1e-6
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
