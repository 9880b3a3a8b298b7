"""The gradient of a batch that passes in parts is that of one pass, with all losses, dropout and noise."""

from __future__ import annotations

import pytest
import torch

from molex_adapt.run import Run
from molex_adapt.train.loop import fit
from molex_adapt.train.losses import balance_loss, domain_loss, logits_and_loss
from molex_adapt.train.opening import gate_loss
from molex_adapt.train.parts import _parts, differentiate_in_parts
from molex_adapt.train.pools import Pool, Sampler
from molex_adapt.train.stages import joint_stage


@pytest.mark.parametrize("routing", ["utterance", "frame"])
@pytest.mark.parametrize(("most", "precision"), [(3, "fp32"), (8, "fp32"), (99, "fp32"), (3, "bf16")])
def test_parts_have_the_gradient_of_the_whole(
    detector_of, features_of, tiny_recipe, routing, most, precision
):
    recipe = tiny_recipe(router={"routing": routing, "noise": 0.5, "top_k": 2})
    detector = detector_of(recipe, "world", "opus", "lpc")
    detector.base.compute_in(precision)
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
    near = {"atol": 1e-6, "rtol": 1e-4} if precision == "fp32" else {"atol": 2e-2, "rtol": 2e-2}
    torch.testing.assert_close(found, expected.detach(), **near)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 0.01
    for weight, gradient in zip(weights, gradients, strict=True):
        torch.testing.assert_close(weight.grad, gradient, **near)


def test_a_stage_in_parts_ends_as_one_in_whole_batches(
    detector_of, features_of, tiny_recipe, state, monkeypatch
):
    recipe = tiny_recipe(router={"noise": 0.5}, joint={"orthogonality": 0.1})
    found, widest = [], []
    for most in (None, 3):
        detector, rows = detector_of(recipe, "world", "opus"), [0]
        stage = joint_stage(detector, [Pool(features_of(8), 1.0, 1)], [features_of(4, 1)], recipe)
        said = detector.logit

        def counted(clips, frames, said=said, rows=rows, detector=detector):
            rows.append(len(clips) if detector.training else 0)
            return said(clips, frames)

        monkeypatch.setattr(detector, "logit", counted)
        assert fit(detector, stage, Run(micro_batch=most)).best_step
        found.append(state(detector))
        widest.append(max(rows))
    assert widest == [8, 3]
    for key, value in found[0].items():
        if key != "head attend.2.bias":  # attention does not feel it: its gradient is rounding alone
            torch.testing.assert_close(found[1][key], value, atol=1e-5, rtol=1e-5, msg=key)


@pytest.mark.parametrize("size", [1, 2, 7, 32])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("most", [None, 1, 3])
def test_every_row_of_a_batch_is_computed_once(monkeypatch, size, count, most):
    monkeypatch.setenv("WORLD_SIZE", str(count))
    rows = []
    for rank in range(count):
        monkeypatch.setenv("RANK", str(rank))
        parts, mine = _parts(size, most)
        assert parts, "its chance would not move on"
        assert all(0 < part.stop - part.start <= (most or size) for part in parts)
        rows += [row for part in parts for row in range(part.start, part.stop) if mine]
    assert rows == list(range(size))
