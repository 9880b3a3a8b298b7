"""Models whose hidden states serve as targets of pretraining.

DistillMOS (MIT licence, package `distillmos`) is a speech-quality model distilled from XLS-R. It is used in training
only, and nothing of it is stored in the base. An earlier base of our own gives the units of a second round.
"""

from __future__ import annotations

import contextlib
import io
import sys
import types
from pathlib import Path
from typing import cast
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from molex_adapt.base import load_base, normalise
from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.errors import DataError
from molex_adapt.pretrain.corpus import Stream
from molex_adapt.progress import Progress, Silent

TEACHER_SAMPLES = 122_880
"""DistillMOS takes exactly this many samples (7.68 s)."""

_TEACHER_LAYERS = "transformer_pool_attn.transformer.transformer_encoder.layers"
_BASE_FRAMES = 500
"""An earlier base is run on this many frames (10 s) at a time: attention over a whole stream would not fit memory."""


@torch.no_grad()
def hear_with_base(
    streams: list[Stream], folder: Path, block: int, progress: Progress | None = None
) -> list[NDArray[np.float32]]:
    """Hidden states (F, D) after one block of an earlier base, per stream; 1 is the first block.

    Source: HuBERT's second iteration (arXiv 2106.07447, section IV-C).

    Raises:
        RegistryError: no base there.
        DataError: no such block, or another frame step than the targets have.
    """
    progress = progress or Silent()
    base = load_base(folder)
    if not 1 <= block <= len(base.blocks):
        raise DataError(f"block {block} does not exist; {folder} has blocks 1 to {len(base.blocks)}")
    pieces_of = [-(-stream.frames // _BASE_FRAMES) for stream in streams]
    progress.start("former base", sum(pieces_of))
    heard = []
    for stream, pieces in zip(streams, pieces_of, strict=True):
        found = []
        for piece in range(pieces):
            wave = stream.wave[piece * _BASE_FRAMES * FRAME_SAMPLES :][: _BASE_FRAMES * FRAME_SAMPLES]
            whole = len(wave) // FRAME_SAMPLES
            # The window of the last frame is longer than its step, so it reaches into the padding.
            wave = np.pad(normalise(wave), (0, base.receptive_samples))
            states = base.hidden_states(*base.prefix(torch.from_numpy(wave)[None], torch.tensor([len(wave)])))
            found.append(states[block][0, :whole].float().numpy())
            progress.advance()
        heard.append(np.concatenate(found))
    progress.stop()
    if any(len(states) != stream.frames for states, stream in zip(heard, streams, strict=True)):
        step = 1000 * FRAME_SAMPLES // SAMPLE_RATE
        raise DataError(f"{folder} has another frame step than {step} ms; take another base")
    return heard


def hear_with_teacher(
    streams: list[Stream], layers: tuple[int, ...], progress: Progress | None = None
) -> list[Tensor]:
    """Hidden states (F, len(layers), 200) of DistillMOS, per stream, float16, one frame per 20 ms.

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
        # DistillMOS imports torchaudio, but only its command line uses it, to read files. We pass waveforms.
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
    # torch's fused path through an encoder skips the hooks of its layers.
    torch.backends.mha.set_fastpath_enabled(False)
    return teacher.eval()


def _stand_in_for_torchaudio() -> dict[str, types.ModuleType]:
    package, transforms = types.ModuleType("torchaudio"), types.ModuleType("torchaudio.transforms")
    transforms.MFCC = None  # type: ignore[attr-defined]
    return {"torchaudio": package, "torchaudio.transforms": transforms}
