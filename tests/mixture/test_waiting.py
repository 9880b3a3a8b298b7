"""On a GPU, reading a value back makes the host wait; the mixture never does, and here is how a CPU shows it."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from molex_adapt.mixture import ExpertLinear
from molex_adapt.mixture.mixture import _RouteBefore

WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique", "bincount", "equal.")
THREE = {"world": (2, 4.0), "opus": (3, 3.0), "codec2": (1, 8.0)}


class NoWaiting(TorchDispatchMode):
    """Fails on whatever reads a value back, has a data-dependent shape, or copies to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function).removeprefix("aten.")
        self.heard += 1
        assert not name.startswith(WAITING), f"{name} waits for the device"
        if name.startswith("index."):
            assert all(at is None or at.dtype != torch.bool for at in args[1]), (
                "a mask has a data-dependent shape"
            )
        assert not (name.startswith("_to_copy") and (kwargs or {}).get("device")), "a copy to another device"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "call", [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.to(device="meta")]
)
def test_the_watch_sees_what_waits(call):
    with pytest.raises(AssertionError), NoWaiting():
        call(torch.randn(3))


@pytest.mark.parametrize("routing", ["utterance", "frame"])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("trained", [(), ("opus",), tuple(THREE)])
def test_nothing_in_the_mixture_waits(mixed, heard, monkeypatch, routing, k, trained):
    mixture = mixed(experts=THREE, routing=routing, top_k=k, noise=0.1)
    for name in trained:
        for weight in [*mixture.expert_parameters(name), *mixture.router_rows(name)]:
            weight.requires_grad_(True)
    mixture.train(bool(trained))
    mixture.hidden_states(*heard)  # what is prepared once is prepared now
    watch = NoWaiting()
    for kind, name in ((ExpertLinear, "forward"), (_RouteBefore, "__call__")):
        monkeypatch.setattr(kind, name, watched(getattr(kind, name), watch))
    mixture.hidden_states(*heard)
    assert watch.heard > 50


def watched(method, watch):
    def call(*args, **kwargs):
        with watch:
            return method(*args, **kwargs)

    return call
