"""What the former mixture is asked before a new expert comes."""

from __future__ import annotations

import pytest

from molex_adapt import Run
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.former import ask_former
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
    assert former.development is data.dev
    assert [pool.expert for pool in former.replay] == list(range(len(names)))
    assert (former.calibration is None) is (not names) and former.rehearsed is None
    # Of a mixture without experts there is nothing to hold.
    assert list(former.held.sets) == ([*names, "buzz"] if names else [])
    if names:
        assert former.held.sets["buzz"].bona_fide.all()
        assert len(former.held.sets["buzz"]) == int(data.dev.bona_fide.sum())


def test_exemplars_and_statistics_stand_for_old_domains_together(
    detector_of, domain_of, features_of, tiny_recipe
):
    detector = detector_of(tiny_recipe(), "world", "opus")
    kept = remember(detector, features_of(8), 2.0)
    exemplars = Exemplars(features_of(8, 5), features_of(4, 6))
    old = {
        "world": OldDomain("world", exemplars, kept),
        "opus": OldDomain("opus", None, kept),
        "given": OldDomain(None, Exemplars(exemplars.replay.pick([]), exemplars.check)),
    }
    former = ask_former(
        detector, "buzz", domain_of("buzz"), old, detector.recipe, Run(), Adapted(["new"], 0.0)
    )
    assert [pool.expert for pool in former.replay] == [0]  # what is given to measure on is not trained on
    assert former.rehearsed.shape[1:] == (2, 32)
    assert list(former.sets) == ["world", "given", "buzz"]
    # The readout's share and the scale stay where the new domain alone would decide them.
    before = detector.calibration
    assert former.settle(detector, 0.0) == []
    assert detector.calibration == before
