"""The gradient of a batch that passes in parts is that of one pass, with all losses, dropout and noise."""

from __future__ import annotations

import pytest
import torch

from molex_adapt.train.losses import balance_loss, domain_loss, logits_and_loss
from molex_adapt.train.opening import gate_loss
from molex_adapt.train.parts import differentiate_in_parts
from molex_adapt.train.pools import Pool, Sampler


@pytest.mark.parametrize("routing", ["utterance", "frame"])
@pytest.mark.parametrize("most", [3, 8, 99])
def test_parts_have_the_gradient_of_the_whole(detector_of, features_of, tiny_recipe, routing, most):
    recipe = tiny_recipe(router={"routing": routing, "noise": 0.5, "top_k": 2})
    detector = detector_of(recipe, "world", "opus", "lpc")
    batch = Sampler([Pool(features_of(8), 1.0, 1)], 8, 12, 0).draw(detector.device)
    weights = [w for name in ("world", "opus") for w in detector.mixture.expert_parameters(name)]
    weights += [*detector.mixture.router_rows("opus"), *detector.head.parameters()]
    for weight in weights:
        weight.requires_grad_(True)
    detector.train()

    def loss(given):
        value = logits_and_loss(detector, given, 1.0)[1] + balance_loss(detector, given)
        value = value + domain_loss(detector, given) + gate_loss(detector, given, 1)
        return value + 0.1 * detector.mixture.orthogonality()

    torch.manual_seed(3)
    expected = loss(batch)
    gradients = torch.autograd.grad(expected, weights)
    after = torch.rand(1)
    torch.manual_seed(3)
    found = differentiate_in_parts(detector, batch, loss, weights, most)
    assert torch.equal(torch.rand(1), after), "the next batch meets other chance"
    assert float(found) == pytest.approx(float(expected.detach()), abs=1e-6)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 0.01
    for weight, gradient in zip(weights, gradients, strict=True):
        torch.testing.assert_close(weight.grad, gradient, atol=1e-6, rtol=1e-4)
