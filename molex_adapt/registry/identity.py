"""The hash of an embedded base's weights, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from molex_adapt.digest import sha256_of_weights
from molex_adapt.registry import files


def weights_digest(folder: Path) -> str:
    """sha256 over every weight's name, shape and float32 bytes: equal to `molex_adapt.base.weights_hash`."""
    weights: files.Arrays = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights |= files.read_tensors(path, folder)
    return sha256_of_weights((name, weight.astype(np.float32)) for name, weight in sorted(weights.items()))
