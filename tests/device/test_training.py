"""Training on a device: the CPU's gradients, nothing that waits, checkpoints that go on."""

from __future__ import annotations

import pytest
import torch

from molex_adapt.errors import MolexError
from molex_adapt.features import Features
from molex_adapt.run import Run
from molex_adapt.train import checkpoints, loop
from molex_adapt.train.loop import fit
from molex_adapt.train.losses import balance_loss, domain_loss, logits_and_loss
from molex_adapt.train.pools import Pool, Sampler
from molex_adapt.train.stages import append_expert, expert_stage, joint_stage, router_stage

ROUTINGS = ["utterance", "frame"]


def whole_loss(detector, features: Features) -> torch.Tensor:
    """Every loss there is, of one batch."""
    batch = Sampler([Pool(features, 1.0, 1)], 8, 10, 0).draw(detector.device)
    value = logits_and_loss(detector, batch, 1.0)[1]
    value = value + domain_loss(detector, batch) + balance_loss(detector, batch)
    return value + detector.mixture.orthogonality()


def opened(detector) -> list[torch.Tensor]:
    weights = [*detector.mixture.expert_parameters("e1"), *detector.mixture.router_rows("e1")]
    weights += detector.head.parameters()
    for weight in weights:
        weight.requires_grad_(True)
    return weights


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("experts", [3, 12])
def test_gradients_are_those_of_the_cpu(device, detector_on, kept, routing, experts):
    found = []
    for where in ("cpu", device):
        detector = detector_on(where, experts, routing=routing)
        weights = opened(detector)
        value = whole_loss(detector, kept)
        found.append([value, *torch.autograd.grad(value, weights)])
    for own, expected in zip(*reversed(found), strict=True):
        torch.testing.assert_close(own.cpu(), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("experts", [3, 12])
def test_no_step_waits_for_a_device_or_mixes_two(detector_on, kept, monkeypatch, routing, experts):
    """On a device that holds no values, reading one is an error; and so is mixing its tensors with the CPU's."""
    # autocast knows no such device; in float32 it is switched off anyway
    known = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda device, *given, **more: known("cpu", *given, **more))
    detector = detector_on("cpu", experts, routing=routing)
    detector = detector.to("meta")
    weights = opened(detector)
    detector.train()
    optimiser = torch.optim.AdamW(weights)
    for _ in range(2):
        value = whole_loss(detector, kept)
        value.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
    assert value.device.type == "meta"
    assert all(weight.is_meta for weight in weights)


def test_that_device_shows_what_waits_and_what_mixes():
    there = torch.zeros(3, device="meta")
    with pytest.raises(RuntimeError, match="meta"):
        there.sum().item()
    with pytest.raises(RuntimeError, match="device"):
        there + torch.zeros(3)
    with pytest.raises((RuntimeError, NotImplementedError)):
        there.cpu()


def stage_recipe(tiny_recipe, routing: str):
    stage = {"steps": 6, "evaluate_every": 3}
    return tiny_recipe(
        router={"top_k": 2, "routing": routing},
        data={"crop_seconds": 0.2},
        joint=stage | {"orthogonality": 0.1},
        expert=stage,
    )


@pytest.mark.parametrize("routing", ROUTINGS)
def test_every_stage_learns(device, detector_on, kept, tiny_recipe, routing):
    recipe = stage_recipe(tiny_recipe, routing)
    detector = detector_on(device, 2, routing=routing)
    stages = [
        fit(detector, make(detector, [Pool(kept, 1.0, 1)], [kept], recipe))
        for make in (joint_stage, router_stage)
    ]
    append_expert(detector, "new", recipe, 0)
    stages.append(fit(detector, expert_stage(detector, "new", [Pool(kept, 1.0, 2)], kept, recipe)))
    assert [stage.steps for stage in stages] == [6, 3, 6]
    assert stages[0].loss_best < stages[0].loss_before
    assert {weight.device.type for weight in detector.parameters()} == {device.type}


def test_a_stage_goes_on_where_it_was_stopped(device, detector_on, kept, tiny_recipe, tmp_path, monkeypatch):
    """To the bit on the CPU; on a card the gradients of attention are summed in no fixed order."""
    recipe = stage_recipe(tiny_recipe, "utterance")

    class Folder:
        """A run's checkpoints, in memory."""

        def __init__(self) -> None:
            self.found: dict = {}

        def read(self, stage):
            return self.found.get(stage)

        def write(self, stage, arrays, rest):
            self.found[stage] = {name: array.copy() for name, array in arrays.items()}, rest

    def trained(stop: int | None, folder: Folder) -> list[torch.Tensor]:
        detector = detector_on(device, 2)
        step, taken = loop._differentiate, []

        def stopped(*given):
            taken.append(1)
            if len(taken) == stop:
                raise KeyboardInterrupt
            step(*given)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "_differentiate", stopped)
            stage = expert_stage(detector, "e1", [Pool(kept, 1.0, 1)], kept, recipe)
            fit(detector, stage, Run(), checkpoints.Checkpoints(folder, every=0.0))
        weights = [*detector.mixture.expert_parameters("e1"), *detector.mixture.router_rows("e1")]
        return [weight.detach().cpu() for weight in weights]

    whole, broken = trained(None, Folder()), Folder()
    with pytest.raises(KeyboardInterrupt):
        trained(5, broken)
    assert broken.found["expert"][1]["standing"]["step"] == 4
    exact = device.type == "cpu"
    for own, expected in zip(trained(None, broken), whole, strict=True):
        torch.testing.assert_close(own, expected, atol=0 if exact else 1e-3, rtol=0 if exact else 1e-3)


def test_a_loss_that_is_no_number_stops_the_stage(device, detector_on, kept, tiny_recipe):
    recipe = stage_recipe(tiny_recipe, "utterance")
    detector = detector_on(device, 2)
    broken = Features(
        tuple(clip * torch.inf for clip in kept.clips), kept.bona_fide, kept.sources, kept.attacks
    )
    before = [weight.detach().clone() for weight in detector.mixture.expert_parameters("e1")]
    with pytest.raises(MolexError, match="expert stage diverged: the loss became nan"):
        fit(detector, expert_stage(detector, "e1", [Pool(broken, 1.0, 1)], kept, recipe))
    after = detector.mixture.expert_parameters("e1")
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
