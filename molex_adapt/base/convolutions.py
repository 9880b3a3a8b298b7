"""The convolutional feature extractor of wav2vec 2.0 as products of matrices, which a CPU computes faster.

`stride` successive frames of a layer's input are one row of a matrix without a copy, and every `stride` taps of the
kernel are one product with it. Channels stay last, as the layer norms need them: torch's convolution wants them first,
so that every norm turns all frames over and back. The features of WavLM-Large and of the embedded base take 0.7 of
the time.

Shapes: B recordings, T samples, N frames of a layer's input and M of its output, I and O their channels, F frames of
the last one and C its channels.

Source: own; the layers and weights are those of transformers' `Wav2Vec2FeatureEncoder` with layer norms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn


class Convolutions:
    """Layers of a feature extractor, for waveforms on a CPU that no gradient is asked of.

    Args:
        layers: each with `conv`, `layer_norm` over its channels and `activation`.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        self.layers = list(layers)
        self._rows: list[list[Tensor]] = []
        self._rows_of: list[tuple[int, int]] = []

    @staticmethod
    def can_be(layers: Iterable[nn.Module]) -> bool:
        """Whether layers are of that form: no padding, group or dilation, and a layer norm behind each convolution."""
        return all(
            isinstance(conv := getattr(layer, "conv", None), nn.Conv1d)
            and isinstance(getattr(layer, "layer_norm", None), nn.LayerNorm)
            and (conv.padding, conv.dilation, conv.groups) == ((0,), (1,), 1)
            for layer in layers
        )

    def serves(self, wave: Tensor) -> bool:
        """Whether the products are to be had for this waveform, here and now."""
        weights = (*(conv.weight for conv in self._convs), wave)
        return (
            not torch.is_grad_enabled()
            and not torch.compiler.is_exporting()  # formats for exchange have a convolution
            and all(weight.device.type == "cpu" and weight.dtype == torch.float32 for weight in weights)
        )

    def __call__(self, wave: Tensor) -> Tensor:
        """(B, T) waveforms to (B, F, C)."""
        hidden = wave.contiguous()[..., None]
        for layer, conv, rows in zip(self.layers, self._convs, self._weights(), strict=True):
            product = _convolved(hidden, conv, rows)
            hidden = cast(nn.Module, layer.activation)(cast(nn.Module, layer.layer_norm)(product))
        return hidden

    @property
    def _convs(self) -> list[nn.Conv1d]:
        return [cast(nn.Conv1d, layer.conv) for layer in self.layers]

    def _weights(self) -> list[list[Tensor]]:
        """`_by_taps` of every layer, kept until a weight changes."""
        weights = [conv.weight for conv in self._convs]
        now = [(weight.data_ptr(), weight._version) for weight in weights]
        if now != self._rows_of:
            self._rows = [_by_taps(conv) for conv in self._convs]
            self._rows_of = now
        return self._rows


def _by_taps(conv: nn.Conv1d) -> list[Tensor]:
    """A kernel (O, I, K) cut into products: (taps * I, O) for every whole stride, (I, O) for each tap that is left."""
    taps = conv.weight.detach().permute(2, 1, 0)  # (K, I, O)
    stride, kernel = conv.stride[0], conv.kernel_size[0]
    whole = kernel // stride * stride
    together = (taps[at : at + stride].flatten(0, 1) for at in range(0, whole, stride))
    return [*together, *taps[whole:].contiguous().unbind()]


def _convolved(hidden: Tensor, conv: nn.Conv1d, rows: list[Tensor]) -> Tensor:
    """(B, N, I) contiguous to (B, M, O)."""
    batch, frames, width = hidden.shape
    stride, kernel = conv.stride[0], conv.kernel_size[0]
    count = (frames - kernel) // stride + 1
    found: Tensor | None = None
    first = 0
    for weight in rows:
        taps = len(weight) // width
        heard = hidden[:, first : first + (count - 1) * stride + taps]
        # Whole strides lie one behind the other; of a single tap every `stride`th frame is wanted.
        heard = heard.reshape(batch, count, taps * width) if taps == stride else heard[:, ::stride]
        weight = weight.expand(batch, -1, -1)
        if found is not None:
            found.baddbmm_(heard, weight)
        else:
            found = torch.bmm(heard, weight) if conv.bias is None else torch.baddbmm(conv.bias, heard, weight)
        first += taps
    assert found is not None
    return found
