"""What the former mixture is asked before a new expert comes."""

from __future__ import annotations

import pytest

from molex_adapt import Run
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.former import Former, ask_former
from molex_adapt.train.judgement import Adapted
from molex_adapt.train.old import OldDomain
from molex_adapt.train.remembering import remember


@pytest.mark.parametrize("names", [(), ("world",)])
def test_the_new_domains_real_speech_is_held_to_the_threshold_as_well(
    detector_of, domain_of, features_of, tiny_recipe, names
):
    detector = detector_of(tiny_recipe(), *names)
    old = {name: OldDomain(name, Exemplars(features_of(8, 5), features_of(4, 6))) for name in names}
    data, result = domain_of("buzz"), Adapted(["new"], 0.0)
    former = ask_former(detector, "buzz", data, old, detector.recipe, Run(), result)
    assert list(former.sets) == list(former.scored) == [*names, "buzz"]
    assert former.development[0] is data.dev
    assert len(former.development) == 1 + len(names)
    assert [pool.expert for pool in former.replay] == list(range(len(names)))
    assert former.alone is False and former.rehearsed is None
    # Of a mixture without experts there is nothing to hold.
    assert list(former.held.sets) == ([*names, "buzz"] if names else [])
    if names:
        assert former.held.sets["buzz"].bona_fide.all()
        assert len(former.held.sets["buzz"]) == int(data.dev.bona_fide.sum())


@pytest.mark.parametrize("replay", [0, 4])
def test_statistics_of_all_old_domains_hold_the_place_of_exemplars(
    detector_of, domain_of, features_of, tiny_recipe, replay
):
    recipe = tiny_recipe(exemplars={"replay": replay})
    detector = detector_of(recipe, "world", "opus")
    kept = remember(detector, features_of(8), 2.0)
    exemplars = Exemplars(features_of(8, 5), features_of(4, 6))
    old = {name: OldDomain(name, exemplars, kept) for name in ("world", "opus")}
    data = domain_of("buzz")

    def ask(old) -> Former:
        return ask_former(detector, "buzz", data, old, recipe, Run(), Adapted(["new"], 0.0))

    former = ask(old)
    assert former.alone is (replay == 0)
    assert len(former.replay) == (2 if replay else 0)
    assert len(former.development) == (3 if replay else 1)
    assert former.rehearsed.shape[1:] == (2, 32)
    assert ask({**old, "opus": OldDomain("opus", exemplars)}).alone is False
    given = Exemplars(
        exemplars.replay.pick([]), exemplars.check
    )  # an attack to measure on, known by no expert
    assert ask({**old, "given": OldDomain(None, given)}).alone is (replay == 0)
    # The readout's share and the scale stay where the new domain alone would decide them.
    before, former = detector.calibration, ask({"world": OldDomain("world", None, kept)})
    former.settle(detector, Adapted(["new"], 0.0))
    assert former.alone and detector.calibration == before
