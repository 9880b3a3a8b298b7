"""Router rows under another standardisation and beside other rows: the arithmetic alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molex_adapt.conventions import CLOSED_GATE
from molex_adapt.hub.router_rows import (
    GATE,
    brought_rows,
    made_rows,
    mean_rows,
    re_express,
)

WIDTH, BLOCKS = 6, 2


def router(experts: int, seed: int, *, standard: int | None = None) -> dict[str, np.ndarray]:
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(seed if standard is None else standard)
    found = {}
    for block in range(BLOCKS):
        found[f"blocks.{block}.rows"] = rng.normal(size=(experts, WIDTH + 1)).astype(np.float32)
        found[f"blocks.{block}.centre"] = fixed.normal(size=WIDTH).astype(np.float32)
        found[f"blocks.{block}.spread"] = fixed.uniform(0.3, 3, size=WIDTH).astype(np.float32)
    return found


def logits(found: dict[str, np.ndarray], block: int, rows: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """What `molex_adapt.mixture.routers.Router` makes of a routing input, in double precision."""
    centre, spread = (found[f"blocks.{block}.{part}"].astype(np.float64) for part in ("centre", "spread"))
    read = (heard - centre) / spread
    return (read @ rows[:, :-1].astype(np.float64).T + rows[:, -1]) / np.sqrt(WIDTH)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_re_expressed_rows_give_the_same_logits(seed, experts):
    old, new = router(experts, seed), router(experts, seed + 1)
    heard = np.random.default_rng(seed).normal(size=(5, WIDTH)) * 3
    for block in range(BLOCKS):
        rows = old[f"blocks.{block}.rows"]
        parts = [[found[f"blocks.{block}.{part}"] for part in ("centre", "spread")] for found in (old, new)]
        moved = re_express(rows, tuple(parts[0]), tuple(parts[1]))
        np.testing.assert_allclose(
            logits(new, block, moved, heard), logits(old, block, rows, heard), rtol=0, atol=1e-10
        )
        assert np.array_equal(re_express(rows, tuple(parts[0]), tuple(parts[0])), rows)


def test_the_same_mixture_gets_its_row_back_to_the_bit():
    sent = router(3, 1)
    own = {key: array[1:] if key.endswith("rows") else array for key, array in sent.items()}
    found = brought_rows(own, ["b", "c"], sent, ["a", "b", "c"])
    assert (found.source, found.shared) == ("carried", 2)
    for block in range(BLOCKS):
        assert np.array_equal(found.values[block], sent[f"blocks.{block}.rows"][0])


def test_shared_experts_settle_the_level():
    """Every row shifted alike is the same router: the pulled row must shift with them, whatever the standardisation."""
    sent, own = router(3, 1), router(2, 2)
    heard = np.random.default_rng(0).normal(size=(20, WIDTH))
    for block in range(BLOCKS):
        name = f"blocks.{block}"
        old, new = ([found[f"{name}.{part}"] for part in ("centre", "spread")] for found in (sent, own))
        shift = np.random.default_rng(5).normal(size=WIDTH + 1)
        own[f"{name}.rows"] = (re_express(sent[f"{name}.rows"], tuple(old), tuple(new))[1:] + shift).astype(
            np.float32
        )
    found = brought_rows(own, ["b", "c"], sent, ["a", "b", "c"])
    assert found.source == "carried"
    for block in range(BLOCKS):
        together = np.vstack([found.values[block], own[f"blocks.{block}.rows"]])
        there = logits(sent, block, sent[f"blocks.{block}.rows"], heard)
        here = logits(own, block, together, heard)
        np.testing.assert_allclose(
            here - here.mean(1, keepdims=True), there - there.mean(1, keepdims=True), atol=1e-5
        )


def test_rows_that_were_trained_since_are_recognised():
    sent = router(3, 1)
    own = {key: array[1:].copy() if key.endswith("rows") else array for key, array in sent.items()}
    own["blocks.1.rows"][0] += 0.5
    assert brought_rows(own, ["b", "c"], sent, ["a", "b", "c"]).source == "aligned"


def test_without_shared_experts_the_mean_stands_in():
    sent, own = router(3, 1), router(2, 2, standard=1)
    found = brought_rows(own, ["x", "y"], sent, ["a", "b", "c"])
    assert (found.source, found.shared) == ("centred", 0)
    rows = own["blocks.0.rows"].mean(0) + sent["blocks.0.rows"][0] - sent["blocks.0.rows"].mean(0)
    np.testing.assert_allclose(found.values[0], rows, atol=1e-6)
    alone = {key: array[:1] if key.endswith("rows") else array for key, array in sent.items()}
    found = brought_rows(own, ["x", "y"], alone, ["a"])
    assert found.source == "mean"
    np.testing.assert_allclose(found.values[1], mean_rows(own).values[1], atol=1e-6)


def test_beside_a_rest_rows_keep_the_level_they_were_trained_with():
    sent, own = router(3, 1), router(2, 2)
    found = brought_rows(own, ["x", "y"], sent, ["a", "b", "c"], rest=True)
    assert (found.source, found.shared) == ("carried", 0)
    heard = np.random.default_rng(3).normal(size=(5, WIDTH))
    for block in range(BLOCKS):
        expected = logits(sent, block, sent[f"blocks.{block}.rows"][:1], heard)
        np.testing.assert_allclose(logits(own, block, found.values[block][None], heard), expected, atol=1e-5)
    again = brought_rows(own, ["b", "c"], sent, ["a", "b", "c"], rest=True)
    assert again.shared == 2  # experts that both have still settle what was trained since


@pytest.mark.parametrize("rest", [False, True])
def test_made_rows_rise_from_the_middle_to_the_domain(rest):
    own = router(3, 2)
    means = np.random.default_rng(1).normal(size=(BLOCKS, WIDTH)) * 4
    found = made_rows(own, means, np.full((BLOCKS, WIDTH), 0.5), rest)
    assert found is not None
    for block in range(BLOCKS):
        centre, spread = own[f"blocks.{block}.centre"], own[f"blocks.{block}.spread"]
        heard = np.stack([centre, centre + spread * means[block]]).astype(np.float64)
        others = 0 if rest else logits(own, block, own[f"blocks.{block}.rows"], heard).mean(1)
        above = logits(own, block, found.values[block][None], heard)[:, 0] - others
        np.testing.assert_allclose(above, [-GATE, GATE], atol=1e-4)


def test_a_domain_in_the_middle_of_everything():
    own = router(3, 2)
    assert made_rows(own, np.zeros((BLOCKS, WIDTH)), np.ones((BLOCKS, WIDTH))) is None
    near = made_rows(own, np.full((BLOCKS, WIDTH), 1e-3), np.ones((BLOCKS, WIDTH)))
    assert near is not None
    steep = (near.values[0] - own["blocks.0.rows"].mean(0))[:-1] / np.sqrt(WIDTH)
    assert np.linalg.norm(steep) == pytest.approx(2 * GATE, rel=1e-4)  # never steeper, however near


def test_an_expert_that_is_withdrawn_is_no_part_of_the_mean():
    own, sent = router(4, 1), router(3, 2)
    acting = {key: array[:2] if key.endswith("rows") else array for key, array in own.items()}
    for found, closed in ((own, (2, 3)), (sent, (2,))):
        for block in range(BLOCKS):
            found[f"blocks.{block}.rows"][list(closed), -1] -= CLOSED_GATE * WIDTH**0.5
    for found, alone in ((mean_rows(own), mean_rows(acting)), (made_rows_of(own), made_rows_of(acting))):
        assert all(map(np.array_equal, found.values, alone.values))
    without = {key: array[:2] if key.endswith("rows") else array for key, array in sent.items()}
    brought = [
        brought_rows(mine, [], theirs, names)
        for mine, theirs, names in ((own, sent, ["a", "b", "c"]), (acting, without, ["a", "b"]))
    ]
    assert all(map(np.array_equal, brought[0].values, brought[1].values))
    # A shared expert that is withdrawn on one side says nothing of the level.
    found = brought_rows(own, ["x", "y", "c", "z"], router(3, 2), ["a", "b", "c"])
    assert found.shared == 0 and np.abs(found.values[0]).max() < 10


def made_rows_of(own: dict[str, np.ndarray]):
    return made_rows(own, np.ones((BLOCKS, WIDTH)), np.ones((BLOCKS, WIDTH)))
