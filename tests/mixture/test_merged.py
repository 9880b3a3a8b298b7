"""Many experts merged into one."""

from __future__ import annotations

import pytest
import torch

from molex_adapt.mixture import ExpertSpec
from molex_adapt.mixture.merged import merged
from tests.mixture.conftest import shake


@pytest.fixture
def mixture(mixed):
    made = mixed(experts={"first": (2, 4.0), "second": (3, 6.0)})
    for number, name in enumerate(made.names):
        shake(made, name, number)
    return made


def updates(mixture, weights, scale):
    return {
        name: scale * weights[f"{name}.lora_B"] @ weights[f"{name}.lora_A"]
        for name in (key.removesuffix(".lora_A") for key in weights if key.endswith(".lora_A"))
    }


def test_with_room_enough_it_is_the_weighted_sum(mixture):
    gates = torch.tensor([0.7, 0.3]).expand(len(mixture.routers), 2)
    found = updates(mixture, merged(mixture, gates, ExpertSpec("new", 5, 5.0)), 1.0)
    first, second = (updates(mixture, mixture.weights(name), 2.0) for name in mixture.names)
    for name, update in found.items():
        assert torch.allclose(update, 0.7 * first[name] + 0.3 * second[name], atol=1e-4)


def test_with_less_room_nothing_is_nearer(mixture):
    gates = torch.tensor([0.5, 0.5]).expand(len(mixture.routers), 2)
    first, second = (updates(mixture, mixture.weights(name), 2.0) for name in mixture.names)
    for name, update in updates(mixture, merged(mixture, gates, ExpertSpec("new", 2, 2.0)), 1.0).items():
        values = torch.linalg.svdvals((first[name] + second[name]) / 2)
        missed = torch.linalg.matrix_norm((first[name] + second[name]) / 2 - update)
        assert float(missed) == pytest.approx(float(values[2:].square().sum().sqrt()), rel=1e-4)


def test_rows_of_a_are_of_length_one_and_surplus_rank_is_fresh(mixture):
    gates = torch.tensor([1.0, 0.0]).expand(len(mixture.routers), 2)
    weights = merged(mixture, gates, ExpertSpec("new", 8, 8.0), torch.Generator().manual_seed(0))
    for name, weight in weights.items():
        if name.endswith("lora_A"):
            assert torch.allclose(weight[:5].norm(dim=1), torch.ones(5), atol=1e-4)
            assert (weight[5:].norm(dim=1) > 0.3).all()
        else:
            assert not weight[:, 5:].any()
