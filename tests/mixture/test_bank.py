from __future__ import annotations

import pytest
import torch

from molex_adapt.mixture.bank import Bank


@pytest.fixture
def bank() -> Bank:
    generator = torch.Generator().manual_seed(0)
    made = Bank(5, 4, torch.device("cpu"))
    for rank, scale in ((2, 1.0), (3, 2.0), (1, 0.5)):
        a, b = torch.randn(rank, 5, generator=generator), torch.randn(4, rank, generator=generator)
        made.extend([(a, b)], [scale])
    return made


def check(bank: Bank) -> None:
    for at, (a, b) in enumerate(zip(bank.a, bank.b, strict=True)):
        assert torch.equal(bank.stacked_a[at, : len(a)], a)
        assert torch.equal(bank.stacked_b[at, : len(a)], b.T)
        assert not bool(bank.stacked_a[at, len(a) :].any()) and not bool(bank.stacked_b[at, len(a) :].any())


def test_experts_are_padded_to_the_largest_rank_that_is_there(bank):
    assert (len(bank), bank.rank, bank.scales.tolist()) == (3, 3, [1.0, 2.0, 0.5])
    check(bank)
    bank.remove(1)
    assert (len(bank), bank.rank, bank.scales.tolist()) == (2, 2, [1.0, 0.5])
    check(bank)


def test_training_an_expert_changes_the_stack(bank):
    bank.a[1].requires_grad_(True)
    assert bank.trained() == [1]
    with torch.no_grad():
        assert bank.trained() == []
    optimiser = torch.optim.AdamW([bank.a[1]], lr=0.1)
    bank.a[1].square().sum().backward()
    before = bank.stacked_a.clone()
    optimiser.step()
    assert not torch.equal(bank.stacked_a[1], before[1])
    assert torch.equal(bank.stacked_a[0], before[0])
    check(bank)


def test_the_rounded_copy_is_kept_until_an_expert_changes(bank):
    first, _ = bank.stacked(torch.bfloat16)
    assert torch.equal(first, bank.stacked_a.bfloat16())
    assert bank.stacked(torch.bfloat16)[0] is first
    with torch.no_grad():
        bank.b[2].add_(1)
    assert torch.equal(bank.stacked(torch.bfloat16)[1], bank.stacked_b.bfloat16())
    bank.remove(0)
    assert bank.stacked(torch.bfloat16)[0].shape == bank.stacked_a.shape
    assert bank.stacked(torch.float32)[0] is bank.stacked_a


def test_conversion_keeps_the_views(bank):
    bank.b[0].requires_grad_(True)
    bank.double()
    assert bank.a[0].dtype == bank.stacked_a.dtype == torch.float64
    assert not any(own.requires_grad for own in bank.a)
    assert [own.requires_grad for own in bank.b] == [True, False, False]
    with torch.no_grad():
        bank.a[2].fill_(7)
    check(bank)


def test_a_loaded_state_reaches_the_stack(bank):
    other = Bank(5, 4, torch.device("cpu"))
    other.extend(
        [(torch.zeros_like(a), torch.zeros_like(b)) for a, b in zip(bank.a, bank.b, strict=True)], [1, 1, 1]
    )
    other.load_state_dict(bank.state_dict())
    assert torch.equal(other.stacked_b, bank.stacked_b)
    check(other)


def test_only_experts_that_are_asked_for_become_parameters(bank):
    assert not list(bank.parameters())
    opened = bank.a[1]
    assert [own is opened for own in bank.parameters()] == [True]
    opened.requires_grad_(True)
    bank.remove(0)
    assert bank.trained() == [0] and len(list(bank.parameters())) == 1


def test_stacked_experts_are_taken_as_they_are_and_widened_for_training(bank):
    half = Bank(5, 4, torch.device("cpu"))
    a, b = bank.stacked_a.half(), bank.stacked_b.half()
    half.adopt(a, b, bank.ranks, [1.0, 2.0, 0.5])
    assert half.stacked_a is a and half.scales.tolist() == [1.0, 2.0, 0.5]
    check(half)
    half.extend([(torch.ones(2, 5), torch.ones(4, 2))], [1.0])
    assert half.stacked_a.dtype == torch.float32 and torch.equal(half.stacked_a[:3], a.float())
    half.adopt(a, b, bank.ranks, [1.0, 2.0, 0.5])
    half.widen()
    assert half.stacked_b.dtype == torch.float32 and torch.equal(half.stacked_b, b.float())
    check(half)


def test_what_was_derived_from_weights_moves_with_them(bank):
    """A device without values stands in for a card."""
    bank.stacked(torch.bfloat16), bank.scales_without([1])
    bank.to("meta")
    assert {tensor.device.type for tensor in (*bank.stacked(torch.bfloat16), bank.scales_without([1]))} == {
        "meta"
    }


def test_scales_are_those_of_the_experts_there_are(bank):
    assert bank.scales_without([1]).tolist() == [1.0, 0.0, 0.5]
    a, b = torch.zeros(2, 5), torch.zeros(4, 2)
    bank.remove(0)
    bank.extend([(a, b)], [4.0])  # as many as before
    assert bank.scales_without([1]).tolist() == [2.0, 0.0, 4.0]
    assert bank.scales_without([0, 2]).tolist() == [0.0, 0.5, 0.0]
