"""The number format of the base: float32, or bfloat16 for the products in its blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType

import torch
from torch import Tensor, nn

from molex_adapt.conventions import Precision


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The type that a precision stands for; `auto` is bfloat16 where the device multiplies matrices in it faster."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else torch.float32
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and _is_fast_processor()
    return torch.bfloat16 if fast else torch.float32


def _is_fast_processor() -> bool:
    """Whether it has AMX, or is one of AMD's with instructions for bfloat16.

    With the same instructions, AVX-512's, an Intel processor trained the embedded base at 0.67 of its speed. On AMD's
    a step of training takes 0.74 of the time, and scoring 0.84.
    """
    if torch.cpu._is_amx_tile_supported():
        return True
    if not torch.cpu._is_avx512_bf16_supported():
        return False
    try:
        return str(torch.cpu.get_capabilities()["cpu_name"]).startswith("AMD")
    except (AttributeError, KeyError, RuntimeError):  # a torch that does not say
        return False


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Compute float32 convolutions in float32. By default cuDNN rounds their inputs to the 10 mantissa bits of TF32.

    Prefix features are kept and travel between machines; with TF32 they would differ in the third digit.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def round_products(model: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
    """Round the weights of linear and convolutional layers once. Autocast would round them in every pass.

    On a CPU, convolutions of fewer than 16 channels a group stay in float32: with AMX and AVX10, oneDNN 3.12 returns
    noise for them where the kernel is long. No published base has such layers; small ones of one's own may.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv1d) and device.type == "cpu" and _is_narrow(module):
            module.forward = MethodType(_in_float32, module)  # type: ignore[method-assign]
        # Parametrised layers compute their weight in every pass, so there is nothing to round in advance.
        elif isinstance(module, nn.Linear | nn.Conv1d) and not hasattr(module, "parametrizations"):
            for weight in module.parameters(recurse=False):
                weight.data = weight.data.to(dtype)


def _is_narrow(layer: nn.Conv1d) -> bool:
    return layer.in_channels // layer.groups < 16


def _in_float32(layer: nn.Conv1d, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        # The class is asked, since this function stands in for the method of the one layer.
        found: Tensor = type(layer).forward(layer, x.float())
    return found
