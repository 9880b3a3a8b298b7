from __future__ import annotations

import pytest
import torch

from molex_adapt import Run
from molex_adapt.errors import RecipeError


@pytest.mark.parametrize("seed", [2**53 + 1, -(2**60), 10**5000], ids=["one more", "negative", "huge"])
def test_a_seed_that_the_history_cannot_hold_is_refused_at_once(seed):
    with pytest.raises(RecipeError, match="beyond 9007199254740992; choose a smaller one"):
        Run(seed=seed)


def test_other_seeds_are_taken():
    assert [Run(seed=seed).seed for seed in (0, -3, 2**53)] == [0, -3, 2**53]


def test_a_part_of_a_batch_holds_something():
    with pytest.raises(RecipeError, match="0 utterances cannot pass at once"):
        Run(micro_batch=0)


@pytest.mark.parametrize(("asked", "why"), [("cpu:x", "is not a device"), ("cuda:2", "there are 2 cards")])
def test_a_device_that_is_not_there_is_refused(monkeypatch, asked, why):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert str(Run(device="cuda:1").find_device()) == "cuda:1"
    with pytest.raises(RecipeError, match=why):
        Run(device=asked).find_device()


@pytest.mark.parametrize(
    ("local", "asked", "found"), [("1", "auto", "cuda:1"), ("2", "cuda", "cuda:0"), ("1", "cuda:0", "cuda:0")]
)
def test_several_processes_take_cards_in_turn_unless_told(monkeypatch, local, asked, found):
    for name, value in {"RANK": local, "WORLD_SIZE": "3", "LOCAL_RANK": local}.items():
        monkeypatch.setenv(name, value)
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert str(Run(device=asked).find_device()) == found
    assert [str(card) for card in taken] == ([found] if asked != "cuda:0" else [])
