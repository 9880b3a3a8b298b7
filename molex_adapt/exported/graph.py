"""A detector as one graph that exchange formats can hold: a waveform in, its score out.

Everything between is inside: normalisation, the base with its experts and routers, the frozen base once more where a
readout listens to it, the low-level view, head, readout and calibration.

Shapes: T is any number of samples that the detector takes as one window; every row has the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molex_adapt.detector import Detector
from molex_adapt.low_level import SHORTEST
from molex_adapt.mixture import ExpertLinear
from molex_adapt.readout import Readout

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.onnx import ONNXProgram

INPUT = "wave"
OUTPUTS = ("score", "logit", "shares")
_EXAMPLE = 24_000
"""Samples of the waveform that the graph is traced with; any number is heard."""


class Graph(nn.Module):
    """A detector from raw waveforms, without a step that depends on values. It takes the detector over.

    A single expert that shares with nobody has no choice to make: it is added to the base's own weights, without a
    router.

    Attributes:
        merged: whether that was so.
        alone: whether nothing but the readout speaks, so that the mixture is left out.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self.alone = detector.readout_alone
        self.merged = len(detector.mixture.names) == 1 and not detector.mixture.has_choice
        if self.merged:
            _merge(detector)
        self.eval().requires_grad_(False)

    @staticmethod
    def shortest_of(detector: Detector) -> int:
        """The shortest waveform: of what the base needs and one spectrum of the low-level view, the longer."""
        shortest = detector.base.receptive_samples
        return shortest if _readout_of(detector) is None else max(shortest, SHORTEST)

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score whole rows.

        Args:
            wave: (B, T) float32 in [-1, 1] at 16 kHz, not normalised, no row padded.

        Returns:
            (B,) log-likelihood ratio in nats, higher is more bona fide; (B,) the same before calibration; (B, E) how
            much each expert spoke.
        """
        detector = self.detector
        wave = _normalised(wave, detector.base.epsilon) if detector.base.normalised else wave
        features = detector.base.whole(wave)
        readout = _readout_of(detector)
        heard = None if readout is None else readout.spectrum.unpadded(wave)
        mask = torch.ones_like(features[..., 0], dtype=torch.bool)
        if self.alone:
            logit, shares = detector.alone(features, None, heard), detector.no_shares(mask)
        else:
            logit, shares = detector.whole_logit(features, None, heard), detector.shares(mask)
        self._forget()
        return detector.calibrate(logit), logit, shares

    def _forget(self) -> None:
        """Tracing leaves tensors without values; none may stay where the next pass would look."""
        self.detector.mixture.routings = []
        for layer in self.detector.mixture.placed.values():
            layer.routing = None


def _readout_of(detector: Detector) -> Readout | None:
    """The readout, where it speaks too."""
    readout = detector.head.readout
    return readout if readout is not None and readout.has_learnt else None


class _Merged(nn.Module):
    """A linear layer with its only expert inside; as it was frozen while the mixture is silenced."""

    def __init__(self, layer: ExpertLinear) -> None:
        super().__init__()
        self.frozen = layer.linear
        update = (layer.b[0].float() @ layer.a[0].float()) * layer.bank.scales[0]
        self.weight = nn.Parameter(layer.linear.weight + update, requires_grad=False)
        vars(self)["_layer"] = layer  # not a submodule: its matrices are not needed any more

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, D_in) to (B, F, D_out)."""
        if vars(self)["_layer"].routing is None:
            return cast(Tensor, self.frozen(x))
        return F.linear(x, self.weight, self.frozen.bias)


def _merge(detector: Detector) -> None:
    for block, layers in zip(detector.base.blocks, detector.mixture.layers, strict=True):
        for target, layer in layers.items():
            block.set_submodule(target, _Merged(layer))
    for router in detector.mixture.routers:
        router.forced = 0


def _normalised(wave: Tensor, epsilon: float) -> Tensor:
    """As `base.normalise`."""
    centred = wave - wave.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + epsilon).sqrt()


@torch.no_grad()
def to_program(graph: Graph) -> ExportedProgram:
    """By torch.export, for one waveform of any length at a time."""
    wave = 0.1 * torch.randn(1, _EXAMPLE, generator=torch.Generator().manual_seed(0))
    graph(wave)  # what is made once and kept, as Whisper's filters, must not be made of tracers
    length = {1: torch.export.Dim.DYNAMIC}
    program = torch.export.export(graph, (wave,), dynamic_shapes=(length,), strict=False)
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def to_onnx(program: ExportedProgram) -> ONNXProgram:
    """By torch.onnx from that program, without what it notes of each node's origin.

    What would be optimised here, runtimes do when they load the file: it is as fast, and made in half of the time.
    """
    made: Any = torch.onnx.export(
        program, dynamo=True, optimize=False, input_names=[INPUT], output_names=list(OUTPUTS), verbose=False
    )
    for part in (made.model.graph, *made.model.graph.all_nodes()):
        part.metadata_props.clear()
    return cast("ONNXProgram", made)
