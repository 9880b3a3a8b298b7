"""What is kept of a domain's routing holds its gates shut when a later expert comes."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from molex_adapt.registry.exemplars import arrays_to_remembered, remembered_to_arrays
from molex_adapt.routing import collect
from molex_adapt.train.losses import drift_loss, gate_logits
from molex_adapt.train.old import OldDomain
from molex_adapt.train.opening import MARGIN, gate_loss, open_gates
from molex_adapt.train.pools import Pool, Sampler
from molex_adapt.train.reads import reads_of
from molex_adapt.train.remembering import rehearsed, remember
from molex_adapt.train.stages import append_expert

OLD = ("world", "opus")


def share(detector, clips, row: int, label: bool) -> float:
    found = collect(detector, clips).probabilities[:, :, row]
    return float(found[clips.bona_fide == label].mean())


def test_what_is_kept_is_what_routers_read(detector_of, features_of, tiny_recipe):
    detector = detector_of(tiny_recipe(), *OLD)
    clips = features_of(30)
    kept = remember(detector, clips, 2.0)
    for label, found in ((True, kept.bona_fide), (False, kept.spoof)):
        reads = reads_of(detector, clips.pick(clips.of_class(label)))
        torch.testing.assert_close(found.mean, reads.mean(0), atol=1e-5, rtol=1e-4)
        assert found.utterances == 30
    back = arrays_to_remembered(remembered_to_arrays(kept))
    torch.testing.assert_close(back.spoof.mean, kept.spoof.mean, atol=2e-3, rtol=1e-3)
    assert remember(detector, clips.pick([0, *clips.of_class(False)]), 2.0).bona_fide is None


def test_gates_stay_closed_on_domains_without_exemplars(detector_of, features_of, tiny_recipe):
    recipe = tiny_recipe(router={"top_k": 3})
    shares = {}
    own, old = features_of(40, channel=3), features_of(40, 1, "a", 3)
    for at in old.of_class(False):  # the old attack is the new one and something else
        old.clips[at][:, 5] += 3.0
    for kept in (False, True):
        detector = detector_of(recipe, *OLD)
        known = {"a": OldDomain("world", None, remember(detector, old, 2.0) if kept else None)}
        append_expert(detector, "new", recipe, seed=0)
        drawn = rehearsed(detector, known, seed=0)
        assert (drawn is not None) is kept
        open_gates(detector, 2, [Pool(own, 1.0, 2)], crop=99, seed=0, rehearsed=drawn)
        shares[kept] = (share(detector, own, 2, False), share(detector, old, 2, False))
    assert shares[True][0] > 0.5
    assert shares[True][1] < 0.5 * shares[False][1]


def test_the_losses_see_what_is_rehearsed(detector_of, features_of, tiny_recipe):
    detector = detector_of(tiny_recipe(), *OLD)
    drawn = rehearsed(detector, {"a": OldDomain("world", None, remember(detector, features_of(20), 2.0))}, 0)
    batch = Sampler([Pool(features_of(20, channel=3), 1.0, 1)], 8, 99, 0).draw(torch.device("cpu"))
    detector.logit(batch.features, batch.frames)
    routers = detector.mixture.routers
    logits = [gate_logits(router, drawn[:, at]) for at, router in enumerate(routers)]
    more = torch.stack([F.softplus(each[:, 1] - each[:, 0] + MARGIN).mean() / 2 for each in logits]).mean()
    torch.testing.assert_close(gate_loss(detector, batch, 1, drawn), gate_loss(detector, batch, 1) + more)
    before = [gate_logits(router, drawn[:, at]) for at, router in enumerate(routers)]
    assert float(drift_loss(detector, drawn, before)) < 1e-6
    former = [logits.softmax(-1) for logits in before]
    routers[0].rows[0][-1] += 3.0
    now = [gate_logits(router, drawn[:, at]).softmax(-1) for at, router in enumerate(routers)]
    expected = torch.stack(
        [(old * (old / new).log()).sum(-1).mean() for old, new in zip(former, now, strict=True)]
    ).mean()
    torch.testing.assert_close(drift_loss(detector, drawn, before), expected)
