from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from molex_adapt.calibration import Calibration
from molex_adapt.mixture import Routing
from molex_adapt.train.losses import (
    balance_loss,
    detection_loss,
    development_loss,
    domain_loss,
    drift_loss,
    gate_logits,
    logits_and_loss,
    logits_of,
    twin_loss,
)
from molex_adapt.train.pools import Batch


def test_both_classes_weigh_alike_whatever_their_numbers():
    logit, label = torch.tensor([2.0, -1.0, 0.5, 3.0]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    each = F.binary_cross_entropy_with_logits(logit, label, reduction="none")
    assert float(detection_loss(logit, label)) == pytest.approx(float((each[0] + each[1:].mean()) / 2))
    assert float(detection_loss(logit[1:], label[1:])) == pytest.approx(float(each[1:].mean()))


def test_a_recording_is_ranked_above_its_forged_copy():
    logit, twin = torch.tensor([2.0, -1.0, 0.5, 3.0]), torch.tensor([-1, -1, 1, 0])
    expected = (F.softplus(torch.tensor(0.5 + 1.0)) + F.softplus(torch.tensor(3.0 - 2.0))) / 2
    assert float(twin_loss(logit, twin)) == pytest.approx(float(expected))
    assert float(twin_loss(logit, torch.full((4,), -1))) == 0.0
    shifted = twin_loss(logit + torch.tensor([5.0, 7.0, 7.0, 5.0]), twin)  # what both share cancels out
    assert float(shifted) == pytest.approx(float(expected))


@pytest.mark.parametrize("shrinkage", [1.0, 0.25])
def test_experts_learn_what_the_readout_leaves_unsolved(shrinkage):
    """In training what they say counts in full."""

    class Mixture:
        head = SimpleNamespace(shrinkage=shrinkage)

        def logit(self, features, frames):
            return features[:, 0, 0]

    logit, told = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([3.0, -1.0, -9.0])
    label, twin = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([-1, 0, -1])
    both = Batch(logit[:, None, None], torch.ones(3), label, torch.full((3,), -1), twin, told)
    found, value = logits_and_loss(Mixture(), both, 0.5)
    assert torch.equal(found, logit)
    whole = logit / shrinkage + told
    expected = detection_loss(whole, label) + 0.5 * twin_loss(whole, twin)
    torch.testing.assert_close(value, expected)


class Routed:
    """Stands in for a detector whose routers have just decided."""

    def __init__(self, logits: torch.Tensor, rest: bool = False) -> None:
        self.mixture, self.rest = self, rest
        self.names = list("abcdefgh"[: logits.shape[-1]])
        weights, chosen = logits.softmax(-1).topk(2)
        self.routings = [Routing(chosen, weights, logits, rest)]
        self.routers = [SimpleNamespace(withdrawn=torch.zeros(len(self.names), dtype=torch.bool))]


def batch(frames: list[int], expert: list[int], width: int = 3) -> Batch:
    count = len(frames)
    zeros = torch.zeros(count)
    return Batch(
        torch.zeros(count, width, 1),
        torch.tensor(frames),
        zeros,
        torch.tensor(expert),
        torch.full((count,), -1),
        zeros,
    )


def test_domain_loss_leads_known_spoofs_only_and_not_by_padding():
    logits = torch.randn(3, 1, 4, generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(logits[[0, 2], 0], torch.tensor([3, 1]))
    found = domain_loss(Routed(logits), batch([3, 3, 3], [3, -1, 1]))
    torch.testing.assert_close(found, expected)
    assert float(domain_loss(Routed(logits), batch([3, 3, 3], [-1, -1, -1]))) == 0.0
    by_frame = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(by_frame[:, :2].mean(1), torch.tensor([2]))
    torch.testing.assert_close(domain_loss(Routed(by_frame), batch([2], [2])), expected)


def test_beside_a_rest_bona_fide_speech_is_led_to_no_expert():
    logits = torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(0))
    rows = batch([3] * 4, [2, -1, 0, -1])
    rows.bona_fide[:] = torch.tensor([0.0, 1.0, 0.0, 1.0])
    own = torch.cat([logits[:, 0], torch.zeros(4, 1)], 1).log_softmax(1)
    expected = -(own[0, 2] + own[2, 0]) / 4 - (own[1, 3] + own[3, 3]) / 4
    torch.testing.assert_close(domain_loss(Routed(logits, rest=True), rows), expected)
    rows.expert[:] = -1  # several experts share a domain: nothing says whose its speech is
    assert float(domain_loss(Routed(logits, rest=True), rows)) == 0.0


@pytest.mark.parametrize("rest", [False, True])
def test_routing_drifts_where_shares_change(detector_of, tiny_recipe, rest):
    detector = detector_of(tiny_recipe(head={"readout": rest}), "world", "opus")
    width = detector.base.width
    reads = torch.randn(5, 2, width, generator=torch.Generator().manual_seed(0))
    before = [
        gate_logits(router, read).detach()
        for router, read in zip(detector.mixture.routers, reads.unbind(1), strict=True)
    ]
    assert float(drift_loss(detector, reads, before)) == pytest.approx(0.0, abs=1e-6)
    for router in detector.mixture.routers:
        router.rows.table[:, -1] += 2 * width**0.5  # all alike: only the rest's share is another
    drift = float(drift_loss(detector, reads, before))
    assert drift > 0.05 if rest else drift == pytest.approx(0.0, abs=1e-5)


def test_balance_is_averaged_over_blocks():
    even = Routed(torch.zeros(4, 1, 2))
    assert float(balance_loss(even, batch([3] * 4, [0] * 4))) == pytest.approx(1.0)


def calibrated_loss(real, forged):
    """Of bona fide logits and of each domain's forged ones, domains alike, by the definition."""
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in forged])
    real, fake = real.double().numpy(), torch.cat(forged).double().numpy()
    found = Calibration.fit(real, fake, weights=(np.ones(len(real)), weights))
    losses = np.logaddexp(0, -found.apply(real)).mean(), np.logaddexp(0, found.apply(fake)) @ weights
    return (losses[0] + losses[1] / len(forged)) / 2


def test_the_development_loss_gives_every_domain_one_voice(detector_of, features_of, tiny_recipe):
    detector = detector_of(tiny_recipe(), "world")
    small, large = features_of(2), features_of(12, 1)
    logits = [logits_of(detector, item) for item in (small, large)]
    real = torch.cat([own[item.bona_fide] for own, item in zip(logits, (small, large), strict=True)])
    forged = [own[~item.bona_fide] for own, item in zip(logits, (small, large), strict=True)]
    expected = calibrated_loss(real, forged)
    assert development_loss(detector, [small, large], 64)() == pytest.approx(expected, rel=1e-5)
    thinned = large.pick([0, 3, 6, 9, 12, 15, 18, 21])
    logits = logits_of(detector, thinned)
    expected = calibrated_loss(logits[thinned.bona_fide], [logits[~thinned.bona_fide]])
    assert development_loss(detector, [large], 4)() == pytest.approx(expected, rel=1e-5)


def test_a_share_of_the_development_loss_is_that_of_a_domain(detector_of, features_of, tiny_recipe):
    detector = detector_of(tiny_recipe(), "world")
    new, old = features_of(6), features_of(6, 1, channel=3, shift=-3.0)
    only = development_loss(detector, [new, old], 64, [1.0, 0.0])()
    other = development_loss(detector, [new, old], 64, [0.0, 1.0])()
    alike = development_loss(detector, [new, old], 64)()
    assert development_loss(detector, [new, old], 64, [3.0, 3.0])() == pytest.approx(alike)
    assert only != pytest.approx(other, rel=1e-3)
    weights = [(0.5, 0.5), (0.9, 0.1), (1.0, 0.0)]
    losses = [development_loss(detector, [new, old], 64, pair)() for pair in weights]
    assert losses[0] == pytest.approx(alike) and losses[2] == pytest.approx(only)
    assert abs(losses[1] - only) < abs(losses[0] - only)


def test_bona_fide_speech_that_domains_share_counts_once(detector_of, features_of, tiny_recipe):
    detector = detector_of(tiny_recipe(), "world")
    shared = features_of(6)
    logits = logits_of(detector, shared)
    real, forged = logits[shared.bona_fide], logits[~shared.bona_fide]
    expected = calibrated_loss(real, [forged, forged])
    assert development_loss(detector, [shared, shared], 64)() == pytest.approx(expected, rel=1e-5)
    only_real = shared.pick(shared.of_class(True))
    expected = float(F.softplus(-real).mean())  # nothing to calibrate on: logits as they are
    assert development_loss(detector, [only_real], 64)() == pytest.approx(expected)


def test_overconfidence_alone_does_not_count(detector_of, features_of, tiny_recipe):
    detector = detector_of(tiny_recipe(), "world")
    evaluate = development_loss(detector, [features_of(12)], 64)
    before = evaluate()
    with torch.no_grad():
        detector.head.classify.weight *= 20
        detector.head.classify.bias *= 20
    assert evaluate() == pytest.approx(before, rel=1e-3)


def test_logits_are_of_the_evaluation_mode_and_of_each_row_alone(detector_of, features_of, tiny_recipe):
    detector = detector_of(tiny_recipe(router={"noise": 2.0}), "world", "opus")
    features = features_of(6)
    detector.train()
    logits = logits_of(detector, features)
    assert detector.training
    assert torch.equal(logits_of(detector, features), logits)
    detector.eval()
    with torch.no_grad():
        alone = torch.cat(
            [detector.logit(clip[None].float(), torch.tensor([len(clip)])) for clip in features.clips]
        )
    torch.testing.assert_close(logits, alone, atol=1e-5, rtol=0)
    assert logits_of(detector, features.pick([])).shape == (0,)
