"""The sums against averages written out, whatever the batches, the padding and the shards."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from molex_adapt.analysis import Tally
from molex_adapt.mixture import Router
from molex_adapt.recipe import RouterOptions
from tests.mixture.test_waiting import NoWaiting

BLOCKS, EXPERTS = 2, 4


def routed(seed: int, count: int, rest: bool = False, **options: object):
    """Decisions of two blocks for so many utterances, their mask and their rows."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(1, 7, (count,), generator=generator)
    mask = torch.arange(6)[None] < frames[:, None]
    x = torch.randn(count, 6, 8, generator=generator)
    x[~mask] = torch.nan if options.get("routing") == "utterance" else 99.0
    x = x.nan_to_num(0.0)
    found = []
    for block in range(BLOCKS):
        router = Router(8, RouterOptions.model_validate({"top_k": 2, **options}), rest)
        rows = torch.Generator().manual_seed(100 + block)
        router.extend(torch.randn(EXPERTS, 9, generator=rows) * 3)
        found.append(router.eval()(x, mask))
    return found, mask, torch.randint(0, 3, (count,), generator=generator)


def written_out(routings, mask, rows, row: int):
    """Averages of one row, utterance by utterance and frame by frame."""
    parts = {name: [] for name in ("gates", "before", "chosen", "first", "entropy", "together")}
    for at in (rows == row).nonzero()[:, 0].tolist():
        blocks = {name: [] for name in parts}
        for routing in routings:
            own = mask[at].nonzero()[:, 0].tolist() if routing.gates.shape[1] > 1 else [0]
            gates = routing.gates[at, own].double()
            chosen = (gates > 0).double()
            every = torch.cat([gates, 1 - gates.sum(-1, keepdim=True)], -1).clamp(min=0)
            logits = routing.logits[at, own].double()
            if routing.rest:
                logits = torch.cat([logits, torch.zeros(len(own), 1)], -1)
            first = torch.nn.functional.one_hot(every.argmax(-1), EXPERTS + 1)[:, :EXPERTS]
            blocks["gates"].append(gates.mean(0))
            blocks["before"].append(logits.softmax(-1)[:, :EXPERTS].mean(0))
            blocks["chosen"].append(chosen.mean(0))
            blocks["first"].append(first.double().mean(0))
            bits = torch.special.entr(every).sum(-1) / torch.log(torch.tensor(2.0))
            blocks["entropy"].append(bits.mean())
            blocks["together"].append((chosen.T @ chosen) / len(own))
        for name, values in blocks.items():
            parts[name].append(torch.stack(values))
    means = {name: torch.stack(values).mean(0) for name, values in parts.items()}
    return means | {"together": means["together"].mean(0)}


@pytest.mark.parametrize("rest", [False, True])
@pytest.mark.parametrize("routing", ["utterance", "frame"])
def test_averages_are_those_over_valid_frames_of_every_utterance(routing, rest):
    routings, mask, rows = routed(0, 20, rest, routing=routing)
    tally = Tally.empty(3, BLOCKS, EXPERTS)
    means = tally.add(routings, mask, rows)
    found = tally.grouped([[0], [1], [2]])
    assert found.counts.tolist() == torch.bincount(rows, minlength=3).tolist()
    for row in range(3):
        for name, expected in written_out(routings, mask, rows, row).items():
            torch.testing.assert_close(getattr(found, name)[row], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(means.gates.double()[rows == 1].mean(0), found.gates[1], atol=1e-6, rtol=0)


def test_groups_weigh_every_utterance_alike():
    routings, mask, rows = routed(1, 12, routing="frame")
    tally = Tally.empty(3, BLOCKS, EXPERTS)
    tally.add(routings, mask, rows)
    both, one, other = (tally.grouped([part]) for part in ([0, 2], [0], [2]))
    expected = (one.gates * one.counts + other.gates * other.counts) / both.counts
    torch.testing.assert_close(both.gates, expected)
    torch.testing.assert_close(
        both.gates.sum(-1), torch.ones(1, BLOCKS, dtype=torch.float64), atol=1e-7, rtol=0
    )


def test_shards_merge_to_the_very_sums_of_one_pass_in_any_order():
    parts = [routed(seed, 5 + seed, routing="frame") for seed in range(4)]
    whole = Tally.empty(3, BLOCKS, EXPERTS)
    shards = [Tally.empty(3, BLOCKS, EXPERTS) for _ in range(2)]
    for part in parts:
        whole.add(*part)
    for at, part in reversed(list(enumerate(parts))):
        shards[at % 2].add(*part)
    merged = shards[1].merge(shards[0])
    for part in fields(Tally):
        assert torch.equal(getattr(merged, part.name), getattr(whole, part.name)), part.name
    assert int(merged.gates.sum()) > 0


@pytest.mark.parametrize("routing", ["utterance", "frame"])
def test_nothing_waits_for_the_device(routing):
    parts = routed(0, 6, routing=routing)
    tally = Tally.empty(3, BLOCKS, EXPERTS)
    with NoWaiting() as watch:
        tally.add(*parts)
    assert watch.heard > 20


@pytest.mark.parametrize("rest", [True, False])
def test_an_expert_that_is_withdrawn_does_not_act_though_top_k_holds_it(rest):
    router = Router(8, RouterOptions.model_validate({"top_k": 4}), rest)
    router.extend(torch.randn(EXPERTS, 9, generator=torch.Generator().manual_seed(0)))
    router.withdraw(1)
    router.withdraw(3)
    x, mask = torch.randn(5, 6, 8), torch.ones(5, 6, dtype=torch.bool)
    tally = Tally.empty(1, 1, EXPERTS)
    tally.add([router.eval()(x, mask)], mask, torch.zeros(5, dtype=torch.int64))
    assert tally.grouped([[0]]).chosen[0, 0].tolist() == [1.0, 0.0, 1.0, 0.0]
