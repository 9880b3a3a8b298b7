from __future__ import annotations

import pytest
import torch

from molex_adapt.errors import ExpertError
from molex_adapt.features import Features
from molex_adapt.routing import collect
from molex_adapt.train import stages
from molex_adapt.train.loop import fit
from molex_adapt.train.pools import Pool
from molex_adapt.train.stages import (
    append_expert,
    expert_stage,
    joint_stage,
    router_stage,
    standardise_routers,
)

OLD = ("world", "opus")


def inverted(features: Features) -> Features:
    """The same with both classes exchanged: whatever training gains is a loss here."""
    return Features(features.clips, ~features.bona_fide, features.sources, features.attacks)


def test_the_expert_stage_moves_the_new_expert_and_nothing_old(
    detector_of, features_of, tiny_recipe, state, changed
):
    recipe = tiny_recipe(router={"domain_loss": 0.5})
    detector = detector_of(recipe, *OLD)
    before = state(detector)
    append_expert(detector, "new", recipe, seed=0)
    fresh = state(detector)
    pools = [Pool(features_of(8, channel=3), 1.0, 2), Pool(features_of(4), 1.0, 0)]
    fitted = fit(detector, expert_stage(detector, "new", pools, features_of(8, 1, channel=3), recipe))
    assert fitted.best_step > 0
    assert fitted.loss_best < fitted.loss_before
    assert changed(before, detector) == set()
    assert changed(fresh, detector) == {"expert new", "row new"}
    assert not any(weight.requires_grad for weight in detector.parameters())


def test_the_gates_of_a_first_expert_open_for_its_attack(detector_of, features_of, tiny_recipe):
    recipe = tiny_recipe(head={"readout": True})
    detector, clips = detector_of(recipe), features_of(8, channel=3)
    append_expert(detector, "new", recipe, seed=0)
    assert float(collect(detector, clips).gates.std()) < 1e-6  # nothing is known yet
    joint_stage(detector, [Pool(clips, 1.0, 0)], [clips], recipe)
    shares = collect(detector, clips).gates.mean((1, 2))
    own, other = shares[~clips.bona_fide], shares[clips.bona_fide]
    assert float(own.min()) > 0.6 and float(other.max()) < 0.3


def test_the_router_stage_moves_rows_and_nothing_else(detector_of, features_of, tiny_recipe, state, changed):
    quiet = {"noise": 0, "load_balance": 0, "domain_loss": 0}
    recipe = tiny_recipe(router_stage={"steps": 9}, router=quiet)
    detector = detector_of(recipe, *OLD)
    before = state(detector)
    pools = [Pool(features_of(8), 1.0, 0), Pool(features_of(8, 2, "b", 5), 1.0, 1)]
    fitted = fit(detector, router_stage(detector, pools, [features_of(8)], recipe))
    assert fitted.best_step > 0
    assert changed(before, detector) == {"row world", "row opus"}


def test_the_router_stage_keeps_the_start_where_nothing_is_better(
    detector_of, features_of, tiny_recipe, state, changed
):
    recipe = tiny_recipe(
        router_stage={"steps": 12}, training={"router_learning_rate": 0.1}, router={"load_balance": 0}
    )
    detector = detector_of(recipe, *OLD)
    before = state(detector)
    pools = [Pool(features_of(8), 1.0)]
    fitted = fit(detector, router_stage(detector, pools, [inverted(features_of(8))], recipe))
    assert (fitted.best_step, fitted.loss_best) == (0, fitted.loss_before)
    assert fitted.steps == 12
    assert changed(before, detector) == set()


def test_the_joint_stage_moves_all_but_the_base(detector_of, features_of, tiny_recipe, state, changed):
    recipe = tiny_recipe()
    detector = detector_of(recipe, *OLD)
    before = state(detector)
    pools = [Pool(features_of(8), 1.0, 0), Pool(features_of(8, 2, "b", 5), 1.0, 1)]
    fitted = fit(detector, joint_stage(detector, pools, [features_of(8, 1)], recipe))
    assert fitted.loss_best < fitted.loss_before
    moved = changed(before, detector)
    assert moved == {"expert world", "expert opus", "row world", "row opus", "head", "router"}


def note(reads: list[tuple[torch.Tensor, torch.Tensor]]):
    return lambda module, args: reads.append((module.read(*args), args[1]))


def test_routers_read_standardised_input(detector_of, features_of, tiny_recipe):
    for routing in ("utterance", "frame"):
        detector = detector_of(tiny_recipe(router={"routing": routing}), *OLD)
        pool = Pool(features_of(40), 1.0)
        standardise_routers(detector, [pool])
        router = detector.mixture.routers[1]
        reads: list[tuple[torch.Tensor, torch.Tensor]] = []
        handle = router.register_forward_pre_hook(note(reads))
        features = features_of(40)
        for index in range(80):
            clip = features.clips[index][None].float()
            detector.logit(clip, torch.tensor([clip.shape[1]]))
        handle.remove()
        read = torch.cat([item[mask] if routing == "frame" else item[:, 0] for item, mask in reads])
        standard = (read - router.centre) / router.spread
        assert float(standard.mean(0).abs().max()) < 0.5
        assert 0.6 < float(standard.std(0).mean()) < 1.5


def test_the_seed_decides_a_fresh_expert(detector_of, tiny_recipe):
    recipe = tiny_recipe()
    drawn = []
    for seed in (0, 0, 1):
        detector = detector_of(recipe, *OLD)
        append_expert(detector, "new", recipe, seed)
        drawn.append(detector.mixture.expert_parameters("new")[0])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_dead_layer_leaves_no_expert_behind(detector_of, tiny_recipe):
    recipe = tiny_recipe(lora={"targets": ["attention.k_proj"]})
    detector = detector_of(recipe)
    with pytest.raises(ExpertError, match="no effect on the output"):
        append_expert(detector, "new", recipe, 0)
    assert detector.mixture.names == []


@pytest.mark.parametrize(("every", "heard"), [(3, 64), (1000, 125)])
def test_evaluations_far_apart_hear_more(detector_of, features_of, tiny_recipe, monkeypatch, every, heard):
    asked = []
    monkeypatch.setattr(
        stages, "development_loss", lambda detector, sets, utterances: asked.append(utterances)
    )
    recipe = tiny_recipe(joint={"evaluate_every": every})
    joint_stage(detector_of(recipe, *OLD), [Pool(features_of(4), 1.0)], [features_of(4)], recipe)
    assert asked == [heard]
