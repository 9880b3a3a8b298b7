from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from molex_adapt import Run
from molex_adapt.calibration import Calibration
from molex_adapt.errors import DataError
from molex_adapt.mixture import ExpertSpec
from molex_adapt.train import adapt, loop, pools
from molex_adapt.train.adapt import add_expert, retrain_routers, round_to_half, train_first
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.old import OldDomain

OLD = ("world", "opus")


@pytest.fixture
def old(features_of) -> dict[str, OldDomain]:
    """Two old domains with exemplars, and one that keeps none."""
    return {
        name: OldDomain(
            name, Exemplars(features_of(5, at, name, 4 + at), features_of(4, 9 + at, name, 4 + at))
        )
        for at, name in enumerate(OLD)
    } | {"kept nothing": OldDomain("world", None)}


def test_a_first_mixture(detector_of, domain_of, tiny_recipe, state):
    detector = detector_of(tiny_recipe(joint={"steps": 60, "evaluate_every": 20}))
    domains = {"buzz": domain_of(), "hum": domain_of("hum", 5, 1)}
    result = train_first(detector, domains, detector.recipe, Run())
    assert detector.mixture.names == result.experts == ["buzz", "hum"]
    assert set(result.after) == {"buzz", "hum"}
    assert result.before == {}
    assert detector.calibration.scale > 0
    assert detector.calibration.scale != 1
    assert len(result.exemplars["hum"].replay) == 8
    assert set(result.exemplars["hum"].check.attacks) == {None, "hum"}
    assert result.seconds["expert"] > 0
    # Different experts for different domains, from one seed.
    weights = state(detector)
    assert not torch.equal(
        weights["expert buzz encoder.layers.0.feed_forward.output_dense.lora_A"],
        weights["expert hum encoder.layers.0.feed_forward.output_dense.lora_A"],
    )
    assert min(rates.eer for rates in result.after.values()) < 0.3


def test_a_first_mixture_that_tells_nothing_is_active_and_says_so(detector_of, domain_of, tiny_recipe):
    detector = detector_of(tiny_recipe(joint={"steps": 1, "evaluate_every": 1}))
    data = domain_of()
    turned = replace(data, test=replace(data.test, bona_fide=~data.test.bona_fide))
    result = train_first(detector, {"buzz": turned}, detector.recipe, Run())
    assert result.refused == []
    assert any(line.startswith("buzz: nobody can tell that it is detected") for line in result.remarks)


def test_experts_that_share_a_domain(detector_of, domain_of, tiny_recipe):
    detector = detector_of(tiny_recipe())
    result = train_first(detector, {"buzz": domain_of()}, detector.recipe, Run(), ["buzz-1", "buzz-2"])
    assert detector.mixture.names == ["buzz-1", "buzz-2"]
    assert (set(result.after), set(result.exemplars)) == ({"buzz"}, {"buzz-1", "buzz-2"})


def test_domains_keep_different_recordings_of_the_bona_fide_speech_they_share(
    detector_of, domain_of, tiny_recipe
):
    detector = detector_of(tiny_recipe(exemplars={"replay": 4}))
    shared = domain_of(count=8)
    result = train_first(detector, {"buzz": shared, "hum": shared}, detector.recipe, Run())
    kept = {name: set(item.replay.sources) for name, item in result.exemplars.items()}
    assert kept["buzz"] != kept["hum"]
    sharing = train_first(detector_of(detector.recipe), {"a": shared}, detector.recipe, Run(), ["a-1", "a-2"])
    assert sharing.exemplars["a-1"].replay.sources == sharing.exemplars["a-2"].replay.sources


def test_the_seed_decides_a_first_mixture_to_the_bit(detector_of, domain_of, tiny_recipe, state):
    made = []
    for seed in (4, 4, 5):
        detector = detector_of(tiny_recipe())
        torch.manual_seed(len(made))  # whatever ran before
        train_first(detector, {"buzz": domain_of()}, detector.recipe, Run(seed=seed))
        made.append(state(detector))
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
    assert not torch.equal(made[0]["head classify.weight"], made[2]["head classify.weight"])


def test_a_further_expert(detector_of, domain_of, tiny_recipe, old, state, changed):
    recipe = tiny_recipe(router_stage={"steps": 0})
    detector = detector_of(recipe, *OLD)
    before = state(detector)
    result = add_expert(detector, "new", "buzz", domain_of(), old, 0.5, recipe, Run())
    assert changed(before, detector) == set()  # the router stage had no steps
    assert detector.mixture.names == [*OLD, "new"]
    assert set(result.before) == set(result.after) == set(result.changes) == {*OLD, "buzz"}
    assert result.not_measured == ["kept nothing"]
    assert result.threshold == 0.5
    assert set(result.stages) == {"expert", "router"}
    assert set(result.seconds) == {"expert", "router", "evaluate"}
    assert result.exemplars["new"].replay.attacks.count("buzz") == 4


def test_the_router_stage_says_that_it_brought_nothing(detector_of, domain_of, tiny_recipe, old, monkeypatch):
    monkeypatch.setattr(loop, "_judge", lambda *given: None)  # no evaluation is better than the start
    recipe = tiny_recipe(router_stage={"steps": 2}, training={"router_learning_rate": 0.1})
    detector = detector_of(recipe, *OLD)
    rows = [row.clone() for name in OLD for row in detector.mixture.router_rows(name)]
    result = add_expert(detector, "new", "buzz", domain_of(), old, 0.0, recipe, Run())
    assert result.stages["router"].best_step == 0
    assert result.remarks[-1] == "the router stage brought nothing on the development split and was not kept"
    now = [row for name in OLD for row in detector.mixture.router_rows(name)]
    assert len(now) == 4
    assert all(torch.equal(a, b) for a, b in zip(rows, now, strict=True))


def test_without_exemplars_nothing_old_is_measured(detector_of, domain_of, features_of, tiny_recipe):
    recipe = tiny_recipe()
    detector = detector_of(recipe, *OLD)
    nothing = features_of(0)
    old = {"world": OldDomain("world", Exemplars(nothing, nothing)), "opus": OldDomain("opus", None)}
    result = add_expert(detector, "new", "buzz", domain_of(), old, 0.0, recipe, Run())
    assert result.not_measured == ["world", "opus"]
    assert set(result.after) == {"buzz"}


def test_routers_alone(detector_of, domain_of, tiny_recipe, old, state, changed):
    recipe = tiny_recipe(
        router_stage={"steps": 20, "evaluate_every": 10}, training={"router_learning_rate": 0.1}
    )
    detector = detector_of(recipe, *OLD)
    before = state(detector)
    result = retrain_routers(detector, {"opus": domain_of("opus", 4)}, old, 0.0, recipe, Run())
    assert changed(before, detector) == {"row world", "row opus"}
    assert result.experts == []
    assert set(result.after) == set(OLD)
    assert result.after["opus"].bona_fide == 8  # measured on the data given, not on the four exemplars
    assert result.not_measured == ["kept nothing"]


def test_recordings_of_a_domain_decide_and_not_its_exemplars(
    detector_of, domain_of, tiny_recipe, old, monkeypatch
):
    """Development loss and calibration: exemplars were trained on."""
    seen = []
    inner = adapt.score_development
    monkeypatch.setattr(
        adapt, "score_development", lambda detector, sets: (seen.append(sets), inner(detector, sets))[1]
    )
    given = domain_of("opus", 5)
    fresh = domain_of("hum", 2)
    detector = detector_of(tiny_recipe(), *OLD)
    retrain_routers(detector, {"opus": given, "hum": fresh}, old, 0.0, detector.recipe, Run())
    (held,) = seen
    assert set(held) == {*OLD, "hum"}
    assert all(each.bona_fide.all() for each in held.values())
    assert len(held["opus"]) == given.dev.bona_fide.sum() and len(held["hum"]) == fresh.dev.bona_fide.sum()


def test_routers_that_are_retrained_leave_the_scale_of_scores(detector_of, domain_of, tiny_recipe, old):
    """Scores are nats: what they claim is not fitted anew on the few recordings at hand."""
    detector = detector_of(tiny_recipe(), *OLD)
    detector.calibration = Calibration(0.7, -0.2)
    threshold = -100.0  # nothing is refused, so nothing has to rise
    retrain_routers(detector, {"opus": domain_of("opus", 5)}, old, threshold, detector.recipe, Run())
    assert detector.calibration == Calibration(0.7, -0.2)


def test_a_domain_that_keeps_one_class_is_not_measured(detector_of, domain_of, features_of, tiny_recipe, old):
    recipe = tiny_recipe()
    check = features_of(4)
    kept = Exemplars(features_of(5, 0, "world", 4), check.pick(check.of_class(True)))
    old = {**old, "world": OldDomain("world", kept)}
    added = add_expert(detector_of(recipe, *OLD), "new", "buzz", domain_of(), old, 0.0, recipe, Run())
    assert (set(added.after), added.not_measured) == ({"opus", "buzz"}, ["world", "kept nothing"])
    retrained = retrain_routers(detector_of(recipe, *OLD), {}, old, 0.0, recipe, Run())
    assert (set(retrained.after), retrained.not_measured) == ({"opus"}, ["world", "kept nothing"])


@pytest.mark.parametrize(
    ("replay", "check", "purpose"), [(0, 4, "retrain"), (1, 4, "retrain"), (4, 0, "measure")]
)
def test_routers_alone_need_something(
    detector_of, features_of, tiny_recipe, monkeypatch, replay, check, purpose
):
    monkeypatch.setattr(pools.Sampler, "draw", lambda *_: pytest.fail("trained"))
    detector = detector_of(tiny_recipe(), "world")
    old = {"world": OldDomain("world", Exemplars(features_of(replay), features_of(check, 1)))}
    with pytest.raises(DataError, match=f"no data to {purpose} .* of world, .* retrain-router DATA"):
        retrain_routers(detector, {}, old, 0.0, detector.recipe, Run())
    with pytest.raises(DataError, match="no data to retrain the routers on"):
        retrain_routers(detector, {}, {"world": OldDomain("world", None)}, 0.0, detector.recipe, Run())


def test_rounding_is_what_half_precision_holds(detector_of, tiny_recipe, state):
    detector = detector_of(tiny_recipe(), "world")
    detector.mixture.add(ExpertSpec("fine", 2, 4.0))
    before = state(detector)
    round_to_half(detector, ["fine"])
    after = state(detector)
    for key, value in after.items():
        expected = before[key].half().float() if key.startswith("expert fine") else before[key]
        assert torch.equal(value, expected)
    assert not torch.equal(
        before["expert fine encoder.layers.0.feed_forward.output_dense.lora_A"],
        after["expert fine encoder.layers.0.feed_forward.output_dense.lora_A"],
    )


@pytest.mark.parametrize("names", [(), OLD])
def test_the_first_expert_is_calibrated_and_further_ones_keep_its_scale(
    detector_of, domain_of, tiny_recipe, old, names
):
    recipe = tiny_recipe(expert={"steps": 40, "evaluate_every": 10})
    detector = detector_of(recipe, *names)
    known = {name: old[name] for name in names}
    result = add_expert(detector, "new", "buzz", domain_of(), known, 0.5, recipe, Run())
    assert result.threshold == 0.5  # frozen either way: a threshold is in nats
    assert (detector.calibration.scale == 1.0) is bool(names)
