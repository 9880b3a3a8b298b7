"""Router rows of all experts together, in closed form."""

from dataclasses import replace

import pytest
import torch

from molex_adapt import Run
from molex_adapt.errors import ExpertError
from molex_adapt.routing import collect
from molex_adapt.train.adapt import retrain_routers
from molex_adapt.train.loop import Stage
from molex_adapt.train.losses import gate_logits
from molex_adapt.train.old import OldDomain
from molex_adapt.train.reads import reads_of
from molex_adapt.train.remembering import remember
from molex_adapt.train.solving import OWN, RIDGE, DomainReads, known_reads, solve_if_better, solve_rows

OLD = ("world", "opus", "gsm")


@pytest.fixture
def made(detector_of, features_of, tiny_recipe):
    """A detector with three experts, and the speech of two of their domains."""

    def make(**router):
        detector = detector_of(tiny_recipe(router={"top_k": 3} | router), *OLD)
        return detector, {"world": features_of(40, channel=3), "opus": features_of(40, 1, "a", 5)}

    return make


def old_of(detector, speech) -> dict[str, OldDomain]:
    return {name: OldDomain(name, None, remember(detector, clips, 2.0)) for name, clips in speech.items()}


def mean_share(detector, clips, row: int, label: bool) -> float:
    found = collect(detector, clips).probabilities[:, :, row]
    return float(found[clips.bona_fide == label].mean())


def test_a_single_expert_shares_with_the_frozen_base(detector_of, features_of, tiny_recipe):
    detector, speech = detector_of(tiny_recipe(head={"readout": True}), "world"), features_of(40, channel=3)
    known = known_reads(detector, old_of(detector, {"world": speech}), {}, 2.0)
    for router in detector.mixture.routers:
        router.rows.table[:, -1] -= 9 * router.width**0.5  # as shut gates are on bona fide speech
    assert solve_rows(detector, known)
    own, other = (mean_share(detector, speech, 0, label) for label in (False, True))
    assert own > 0.5 > 0.1 > other
    # By ridge regression the mean log-odds are short of what is aimed at, and not by much.
    logits = collect(detector, speech).probabilities[~speech.bona_fide].logit().mean()
    assert OWN - 2 < float(logits) < OWN
    absolute = detector_of(tiny_recipe(), "world")
    assert not solve_rows(absolute, known_reads(absolute, old_of(absolute, {"world": speech}), {}, 2.0))


@pytest.mark.parametrize("routing", ["utterance", "frame"])
def test_each_gate_opens_for_its_own_attack(made, state, changed, routing):
    detector, speech = made(routing=routing)
    before = state(detector)
    assert solve_rows(detector, known_reads(detector, old_of(detector, speech), {}, 2.0))
    assert changed(before, detector) == {"row world", "row opus"}  # nothing is known of gsm
    for row, name in enumerate(speech):
        other = next(clips for key, clips in speech.items() if key != name)
        own = mean_share(detector, speech[name], row, False)
        assert own > 2 * mean_share(detector, speech[name], row, True)
        assert own > 2 * mean_share(detector, other, row, False)


def test_it_is_ridge_regression_on_the_targets(made):
    detector, speech = made()
    known = known_reads(detector, old_of(detector, speech), {}, 2.0)
    before = [router.rows.table.clone().double() for router in detector.mixture.routers]
    solve_rows(detector, known)
    # What is drawn from the Gaussians is solved as recordings would be.
    generator = torch.Generator().manual_seed(0)
    real = [each.bona_fide.draw(20_000, generator).double() for each in known]
    forged = [each.spoof.draw(20_000, generator).double() for each in known]
    router = detector.mixture.routers[0]
    scale = router.width**0.5

    def padded(reads):
        return torch.nn.functional.pad(reads[:, 0], (0, 1), value=1.0)

    level = torch.stack([(padded(reads) @ before[0].T / scale).mean(0) for reads in real]).mean(0)
    gram = sum(padded(reads).T @ padded(reads) / 80_000 for reads in (*real, *forged))
    right = sum(padded(reads).mean(0)[:, None] * level / 4 for reads in real)
    for row, reads in enumerate(forged):
        target = level.clone()
        target[row] = max(level[row], level[[at for at in range(3) if at != row]].logsumexp(0) + OWN)
        right = right + padded(reads).mean(0)[:, None] * target / 4
    gram[:-1, :-1] += RIDGE * torch.eye(router.width)
    expected = torch.linalg.solve(gram, right).T[:2] * scale
    for row in range(2):
        for reads in forged:
            found = padded(reads) @ router.rows.table[row].double() / scale
            torch.testing.assert_close(found, padded(reads) @ expected[row] / scale, atol=0.1, rtol=0.05)


def test_bona_fide_speech_is_routed_as_before_on_average(made):
    detector, speech = made()
    router = detector.mixture.routers[0]
    router.rows.table[:, -1] += torch.tensor([4.0, -3.0, 0.0]) * router.width**0.5
    reads = [reads_of(detector, clips.pick(clips.of_class(True)))[:, :1] for clips in speech.values()]

    def mean_logits():
        return gate_logits(router, torch.cat(reads)[:, 0]).mean(0)

    before = mean_logits()
    solve_rows(detector, known_reads(detector, old_of(detector, speech), {}, 2.0))
    torch.testing.assert_close(mean_logits(), before, atol=1.0, rtol=0.0)


def test_withdrawn_experts_stay_shut(made, state, changed):
    detector, speech = made()
    detector.mixture.withdraw("opus")
    before = state(detector)
    solve_rows(detector, known_reads(detector, old_of(detector, speech), {}, 2.0))
    assert changed(before, detector) == {"row world"}
    assert detector.mixture.has_withdrawn("opus")


def test_exemplars_serve_where_no_statistics_are_kept(made):
    detector, speech = made()
    kept = known_reads(detector, old_of(detector, speech), {}, 2.0)
    exemplars = {
        name: OldDomain(name, type("Kept", (), {"replay": clips})()) for name, clips in speech.items()
    }
    for one, other in zip(kept, known_reads(detector, exemplars, {}, 2.0), strict=True):
        torch.testing.assert_close(one.spoof.mean, other.spoof.mean)
    assert known_reads(detector, {"world": OldDomain("world", None)}, {}, 2.0) == []


def test_statistics_by_another_standardisation_are_read_alike(made):
    detector, speech = made()
    kept = remember(detector, speech["world"], 2.0)
    expected = DomainReads.of(detector, 0, kept)
    for router in detector.mixture.routers:
        router.centre += 0.3
        router.spread *= 1.7
    moved = DomainReads.of(detector, 0, kept)
    here = DomainReads.of(detector, 0, remember(detector, speech["world"], 2.0))
    # The first block's: the second one's input depends on the first's gates.
    torch.testing.assert_close(moved.spoof.mean[0], here.spoof.mean[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(moved.spoof.mean, expected.spoof.mean, atol=1e-2)


@pytest.mark.parametrize("missing", ["experts", "attacks", "bona fide"])
def test_there_is_nothing_to_solve(made, detector_of, tiny_recipe, state, changed, missing):
    detector, speech = made()
    domains = known_reads(detector, old_of(detector, speech), {}, 2.0)
    if missing == "experts":
        detector = detector_of(tiny_recipe(), "world")
    elif missing == "attacks":
        domains = [DomainReads(None, each.bona_fide, each.spoof) for each in domains]
    else:
        domains = [DomainReads(each.row, None, each.spoof) for each in domains]
    before = state(detector)
    assert not solve_rows(detector, domains)
    assert changed(before, detector) == set()


def test_recordings_go_before_what_is_kept(made, domain_of):
    detector, speech = made()
    data = {"world": domain_of("world", 7)}
    found = known_reads(detector, old_of(detector, speech), data, 2.0)
    expected = DomainReads.of(detector, 0, remember(detector, data["world"].train, 2.0))
    assert [each.row for each in found] == [0, 1]
    torch.testing.assert_close(found[0].spoof.mean, expected.spoof.mean)


@pytest.mark.parametrize("falls", [True, False])
def test_solved_rows_stay_where_the_development_loss_falls(made, state, changed, falls):
    detector, speech = made()
    domains, before = known_reads(detector, old_of(detector, speech), {}, 2.0), state(detector)
    losses = iter([0.5, 0.4 if falls else 0.6])
    stage = Stage("router", [], None, None, lambda: next(losses), None, 1)
    fitted = solve_if_better(detector, domains, stage)
    if falls:
        assert (fitted.steps, fitted.loss_before, fitted.loss_best) == (0, 0.5, 0.4)
        assert changed(before, detector) == {"row world", "row opus"}
    else:
        assert fitted is None
        assert changed(before, detector) == set()


def test_statistics_of_another_base_are_refused(made):
    detector, speech = made()
    old = old_of(detector, speech)
    kept = old["opus"].remembered
    narrow = replace(kept, centre=kept.centre[:, 1:], spread=kept.spread[:, 1:])
    with pytest.raises(ExpertError, match="statistics of opus are of .* Restore the expert's folder"):
        known_reads(detector, {**old, "opus": OldDomain("opus", None, narrow)}, {}, 2.0)


def test_the_routers_alone_say_how_they_were_solved(made, domain_of):
    detector, _ = made()
    data = {name: domain_of(name, channel, count=16) for name, channel in (("world", 3), ("opus", 5))}
    old = {name: OldDomain(name, None) for name in data}
    before = [router.rows.table.clone() for router in detector.mixture.routers]
    result = retrain_routers(detector, data, old, 0.0, detector.recipe, Run())
    assert result.stages["router"].steps == 0
    assert any("solved in closed form: the development loss fell from" in remark for remark in result.remarks)
    for router, rows in zip(detector.mixture.routers, before, strict=True):
        assert torch.equal(router.rows.table[2], rows[2])
        assert not torch.equal(router.rows.table[:2], rows[:2])
