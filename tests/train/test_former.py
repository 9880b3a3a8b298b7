"""What the former mixture is asked before a new expert comes."""

from __future__ import annotations

import pytest

from molex_adapt import Run
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.former import ask_former
from molex_adapt.train.judgement import Adapted
from molex_adapt.train.old import OldDomain


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
    assert list(former.replay_weights) == list(names)
    # Of a mixture without experts there is nothing to hold.
    assert list(former.held.sets) == ([*names, "buzz"] if names else [])
    if names:
        assert former.held.sets["buzz"].bona_fide.all()
        assert len(former.held.sets["buzz"]) == int(data.dev.bona_fide.sum())
