from __future__ import annotations

import pytest
import torch

from molex_adapt.pretrain.masked import MaskedPredictor, draw_mask
from molex_adapt.recipe import PretrainRecipe

SMALL = PretrainRecipe(
    hidden=32, blocks=1, heads=2, ffn=64, conv_channels=8, mask_probability=0.1, mask_frames=3
)


def mask(rows: int = 200, frames: int = 60, probability: float = 0.05, length: int = 7, seed: int = 0):
    return draw_mask(rows, frames, probability, length, torch.Generator().manual_seed(seed))


def test_masks_are_spans_and_every_row_has_one():
    found = mask()
    assert (found.shape, found.dtype) == ((200, 60), torch.bool)
    assert bool(found.any(1).all())
    for row in found:
        padded = torch.cat([torch.zeros(1), row.float(), torch.zeros(1)]).diff()
        starts, stops = (padded == 1).nonzero()[:, 0], (padded == -1).nonzero()[:, 0]
        assert all(stop - start >= 7 or stop == 60 for start, stop in zip(starts, stops, strict=True))
    assert bool(mask(probability=1e-9).any(1).all())


def test_the_share_is_what_the_probability_says():
    share = float(mask(2_000, 400).float().mean())
    assert share == pytest.approx(1 - (1 - 0.05) ** 7, abs=0.03)


def test_the_generator_decides():
    assert torch.equal(mask(seed=1), mask(seed=1))
    assert not torch.equal(mask(seed=1), mask(seed=2))


def test_losses_of_a_batch_reach_every_part():
    torch.manual_seed(0)
    model = MaskedPredictor(SMALL, (6, 4), 2, 5)
    units = torch.stack([torch.randint(6, (2, 25)), torch.randint(4, (2, 25))], -1)
    losses = model(torch.randn(2, 8_000), units, torch.randn(2, 25, 2, 5), torch.Generator().manual_seed(0))
    losses.total.backward()
    assert losses.total.isfinite()
    assert 0 <= losses.masked_accuracy <= 1
    assert losses.regression > 0
    without = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None or not bool(weight.grad.any())
    ]
    # A key's bias is the same for every frame that is attended to, so softmax takes it out.
    assert [name for name in without if "k_proj.bias" not in name] == []


def test_targets_may_be_layers_alone():
    model = MaskedPredictor(SMALL, (), 1, 5)
    units, layers = torch.zeros(2, 25, 0, dtype=torch.int64), torch.randn(2, 25, 1, 5)
    losses = model(torch.randn(2, 8_000), units, layers, torch.Generator().manual_seed(0))
    assert float(losses.total) == pytest.approx(4 * losses.regression, rel=1e-5)
    assert (losses.masked_accuracy, losses.unmasked_accuracy) == (0.0, 0.0)
