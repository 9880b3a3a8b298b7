"""The hash of an embedded base's weights, without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from molex_adapt.registry import files


def weights_digest(folder: Path) -> str:
    """sha256 over every weight's name, shape and float32 bytes: equal to `molex_adapt.base.weights_hash`.

    Raises:
        RegistryError: a safetensors file is damaged or a link.
    """
    weights: files.Arrays = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights |= files.read_tensors(path, folder)
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(f"{name}{weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight, dtype=np.float32).tobytes())
    return digest.hexdigest()
