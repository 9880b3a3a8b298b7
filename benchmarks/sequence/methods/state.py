"""What is kept of a method between two steps: tensors alone, which are read back without running anything.

Shapes: M rows and columns of a symmetric matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.mixture import ExpertSpec

State = dict[str, Tensor]


def state_of(detector: Detector) -> State:
    """Experts, routers, head and calibration of a detector, without its base; copies on the CPU."""
    mixture = detector.mixture
    found = {
        f"expert.{at}.{path}": weight
        for at, name in enumerate(mixture.names)
        for path, weight in mixture.weights(name).items()
    }
    for block, router in enumerate(mixture.routers):
        parts = {"rows": router.rows.table, "centre": router.centre, "spread": router.spread}
        found |= {f"router.{block}.{part}": value for part, value in parts.items()}
    found |= {f"head.{name}": value for name, value in detector.head.state_dict().items()}
    return {name: copied(value) for name, value in found.items()} | of_calibration(detector.calibration)


@torch.no_grad()
def take_up(detector: Detector, state: State, specs: Sequence[ExpertSpec]) -> None:
    """Make a detector on the same base what it was; its experts are called and sized as `specs` say."""
    mixture, specs = detector.mixture, list(specs)
    for name in mixture.names:
        mixture.remove(name)
    rows = [state[f"router.{block}.rows"] for block in range(len(mixture.routers))]
    mixture.extend(
        [(spec, within(state, f"expert.{at}.")) for at, spec in enumerate(specs)],
        [[own[at] for own in rows] for at in range(len(specs))],
    )
    for block, router in enumerate(mixture.routers):
        router.centre.copy_(state[f"router.{block}.centre"])
        router.spread.copy_(state[f"router.{block}.spread"])
    detector.head.load_state_dict(within(state, "head."))
    detector.requires_grad_(False)
    detector.calibration = calibration_of(state)


def trainable(detector: Detector) -> int:
    """Weights of all experts, router rows and the head."""
    mixture = detector.mixture
    lora = [weight for name in mixture.names for weight in mixture.expert_parameters(name)]
    rows = [row for name in mixture.names for row in mixture.router_rows(name)]
    return sum(weight.numel() for weight in (*lora, *rows, *detector.head.parameters()))


def weight_bytes(detector: Detector) -> int:
    """Bytes of a detector on its base: weights in half precision, a readout that has learnt as it is."""
    readout = detector.head.readout
    if not detector.mixture.names:  # nothing was trained yet
        return 0
    told = bytes_of(readout.state_dict()) if readout is not None and readout.has_learnt else 0
    return 2 * trainable(detector) + told


def of_calibration(calibration: Calibration) -> State:
    """A calibration as a tensor."""
    return {"calibration": torch.tensor([calibration.scale, calibration.offset], dtype=torch.float64)}


def calibration_of(state: Mapping[str, Tensor]) -> Calibration:
    """The calibration of a state."""
    scale, offset = state["calibration"].tolist()
    return Calibration(scale, offset)


def within(state: Mapping[str, Tensor], prefix: str) -> State:
    """The part of a state whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def copied(value: Tensor) -> Tensor:
    """A copy on the CPU that shares memory with nothing."""
    return value.detach().cpu().clone().contiguous()


def packed(matrix: Tensor) -> Tensor:
    """The lower triangle of a symmetric matrix (M, M) in one row: half as many bytes.

    A product with its own transpose is symmetric but for rounding, and the lower half is what Cholesky reads.
    """
    below = torch.tril_indices(len(matrix), len(matrix))
    return copied(matrix[below[0], below[1]])


def unpacked(triangle: Tensor) -> Tensor:
    """The symmetric matrix (M, M) of a lower triangle in one row."""
    size = int(((8 * len(triangle) + 1) ** 0.5 - 1) / 2)
    below = torch.tril_indices(size, size)
    found = triangle.new_zeros(size, size)
    found[below[0], below[1]] = triangle
    return found + found.tril(-1).T


def bytes_of(state: Mapping[str, Tensor]) -> int:
    """Bytes of all tensors of a state, as they are stored."""
    return sum(value.numel() * value.element_size() for value in state.values())
