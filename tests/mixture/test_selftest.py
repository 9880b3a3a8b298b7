from __future__ import annotations

import pytest
import torch

from molex_adapt.errors import ExpertError
from molex_adapt.mixture import ExpertSpec
from molex_adapt.mixture.selftest import check_attached
from molex_adapt.recipe import FEED_FORWARD
from tests.families import ATTENTION, KINDS


@pytest.mark.parametrize(("kind", "targets"), [*((kind, FEED_FORWARD) for kind in KINDS), *ATTENTION.items()])
def test_living_layers_pass_and_nothing_is_changed(mixed, kind, targets):
    mixture = mixed(kind, experts={"old": (2, 4.0)}, targets=targets)
    mixture.add(ExpertSpec("new", 2, 4.0))
    mixture.train()
    mixture.expert_parameters("new")[0].requires_grad_(False)
    before = {name: mixture.weights(name) for name in mixture.names}
    needed = [weight.requires_grad for weight in mixture.parameters()]
    check_attached(mixture, "new")
    for name, weights in before.items():
        assert all(torch.equal(weights[key], value) for key, value in mixture.weights(name).items())
    assert [weight.requires_grad for weight in mixture.parameters()] == needed
    assert mixture.training
    assert [router.forced for router in mixture.routers] == [None, None]


def test_attention_of_wavlm_is_dead_and_said_to_be(mixed):
    mixture = mixed(experts={"new": (2, 4.0)}, targets=("attention.q_proj", FEED_FORWARD[1]))
    weights = mixture.weights("new")
    with pytest.raises(
        ExpertError, match=r"2 adapted layer.* first encoder.layers.0.attention.q_proj"
    ) as caught:
        check_attached(mixture, "new")
    assert "--set lora.targets=[feed_forward.intermediate_dense" in str(caught.value)
    assert all(torch.equal(weights[key], value) for key, value in mixture.weights("new").items())


def cut_off(_module, _given, found):
    return (found[0].detach(), *found[1:]) if isinstance(found, tuple) else found.detach()


def test_layers_behind_which_no_gradient_comes_back_are_dead_though_they_move_the_output(mixed):
    mixture = mixed(experts={"new": (2, 4.0)})
    mixture.base.blocks[0].register_forward_hook(cut_off)
    with pytest.raises(ExpertError, match=r"2 adapted layer.* first encoder.layers.0.feed_forward"):
        check_attached(mixture, "new")
