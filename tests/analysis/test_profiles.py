"""Distances of routing profiles: known values, and tests that find what is there and not what is not."""

from __future__ import annotations

import numpy as np
import pytest

from molex_adapt.analysis.probe import probe
from molex_adapt.analysis.profiles import Kept, controls, distances, js_distance, permutation_p


def gates(rng, count: int, lean: float = 0.0) -> np.ndarray:
    """(count, 2, 3) gates that lean to the first expert."""
    logits = rng.normal(size=(count, 2, 3))
    logits[:, :, 0] += lean
    found = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return found.astype(np.float32)


def test_known_distances():
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert js_distance(one, other) == pytest.approx(1.0)
    assert js_distance(one, one) == pytest.approx(0.0, abs=1e-7)
    half = np.array([[0.5, 0.5]])
    # JSD(P, M) in bits: H(3/4, 1/4) - H(1/2, 1/2) / 2
    assert js_distance(one, half) == pytest.approx((0.811278124 - 0.5) ** 0.5)
    from scipy.spatial.distance import jensenshannon

    rng = np.random.default_rng(0)
    found = gates(rng, 2)
    expected = np.mean([jensenshannon(found[0, at], found[1, at], base=2) ** 2 for at in range(2)]) ** 0.5
    assert js_distance(found[0], found[1]) == pytest.approx(expected, abs=1e-6)


def test_what_experts_leave_to_the_frozen_base_is_a_share_like_theirs():
    rng = np.random.default_rng(0)
    whole = gates(rng, 2)
    assert js_distance(whole[0, :, :2], whole[1, :, :2]) == pytest.approx(js_distance(*whole), abs=1e-6)
    shut = np.zeros((2, 3))
    assert js_distance(shut, shut) == 0.0
    assert js_distance(shut, np.eye(3)[:2]) == pytest.approx(1.0)


@pytest.mark.parametrize("paired", [True, False])
def test_p_values_are_even_where_there_is_no_difference(paired):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        common = rng.normal(size=(20, 1, 3)) * paired  # what recordings of one source share
        both = np.exp(rng.normal(size=(2, 20, 2, 3)) + common)
        one, other = (both / both.sum(-1, keepdims=True)).astype(np.float32)
        names = tuple(map(str, range(20)))
        second = names if paired else tuple(f"x{name}" for name in names)
        found.append(permutation_p(Kept(one, names), Kept(other, second), rng, 99)[0])
    assert 0.02 <= np.mean(np.array(found) <= 0.05) <= 0.09
    assert 0.4 < np.mean(found) < 0.6


def test_shuffling_respects_sources():
    """Twenty copies of one recording each are no twenty recordings."""
    rng = np.random.default_rng(1)
    own = [np.repeat(gates(rng, 3), 20, axis=0) for _ in range(2)]
    names = [tuple(f"{side}{at // 20}" for at in range(60)) for side in "ab"]
    alone = [tuple(f"{side}{at}" for at in range(60)) for side in "ab"]
    honest = permutation_p(Kept(own[0], names[0]), Kept(own[1], names[1]), rng)[0]
    naive = permutation_p(Kept(own[0], alone[0]), Kept(own[1], alone[1]), rng)[0]
    assert naive <= 0.01 < honest


def test_one_source_cannot_be_tested():
    rng = np.random.default_rng(0)
    one = Kept(gates(rng, 1), ("a",))
    assert permutation_p(one, one, rng)[0] == 1.0


def test_distances_find_the_kind_that_differs_with_intervals_and_correction():
    rng = np.random.default_rng(2)
    names = tuple(map(str, range(40)))
    kept = {name: Kept(gates(rng, 40, lean), names) for name, lean in {"a": 0, "b": 0, "c": 2.5}.items()}
    found = {(item.one, item.other): item for item in distances(kept | {"none": Kept(gates(rng, 0), ())})}
    assert set(found) == {("a", "b"), ("a", "c"), ("b", "c")}
    for pair, item in found.items():
        low, high = item.ci
        assert 0 <= low <= item.distance <= high <= 1
        assert (item.p_corrected <= 0.05) == ("c" in pair)
        assert item.p_corrected >= item.p
        assert item.sources == (40, 40)
    assert found["a", "c"].ci[0] > found["a", "b"].ci[1]
    assert found["a", "b"].distance == pytest.approx(found["a", "b"].chance, abs=0.05)
    same = controls({"null": (kept["a"], kept["b"]), "bonafide, opus": (kept["c"], kept["a"])})
    assert [item.p > 0.05 for item in same] == [True, False]


def test_the_probe_reads_the_attack_only_where_routing_says_it():
    rng = np.random.default_rng(3)
    names = ["a"] * 60 + ["b"] * 60
    sources = [str(at % 60) for at in range(120)]
    telling = probe(np.concatenate([gates(rng, 60), gates(rng, 60, 2.5)]), names, sources)
    silent = probe(gates(rng, 120), names, sources)
    assert telling.accuracy > 0.8 and telling.p == pytest.approx(1 / 200)
    assert telling.accuracy > telling.highest_by_chance > telling.chance
    assert silent.accuracy < 0.62 and silent.p > 0.02
    assert abs(silent.chance - 0.5) < 0.08
    assert set(telling.by_attack) == {"a", "b"} and telling.utterances == 120


def test_the_probe_does_not_learn_from_the_source_that_it_predicts():
    """Each source has gates of its own and one kind of speech: who saw the source would know the kind."""
    rng = np.random.default_rng(4)
    own = gates(rng, 30)
    found = probe(np.repeat(own, 4, axis=0), ["a"] * 60 + ["b"] * 60, [str(at // 4) for at in range(120)])
    assert found.accuracy < 0.75 and found.p > 0.02


def test_nothing_to_probe():
    rng = np.random.default_rng(0)
    assert probe(gates(rng, 9), ["a"] * 9, list("abcdefghi")) is None
    assert probe(gates(rng, 8), ["a", "b"] * 4, list("aabbccdd")) is None
