"""Joint training against one LoRA: who specialises, and what the page says of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.joint import Settings, apart, nearness, rates, specialised
from benchmarks.plan import Cell, read_plan
from benchmarks.report.found import Found
from benchmarks.report.joint import joint
from benchmarks.results import Results
from molex_adapt.routing import Gates

KINDS = {"one": ["a", "b", "c"], "other": ["d", "e", "f"]}


def routed(rows: dict[str, list[float]], each: int = 4) -> tuple[Gates, SimpleNamespace]:
    """Every attack with its gates, beside bona fide speech that is told from it but for one recording."""
    names = [name for name in rows for _ in range(each)]
    gates = torch.tensor([rows[name] for name in names])[:, None].repeat(1, 2, 1)
    real = torch.full((each, 2, gates.shape[-1]), 1 / gates.shape[-1])
    logits = torch.cat([torch.full((len(names),), -1.0), torch.ones(each)])
    logits[len(names)] = -2.0
    bona_fide = np.arange(len(names) + each) >= len(names)
    own = range(len(names), len(names) + each)
    sets = {name: np.array([at for at, other in enumerate(names) if other == name] + [*own]) for name in rows}
    both = torch.cat([gates, real])
    return Gates(logits, both, both), SimpleNamespace(bona_fide=bona_fide, sets=sets)


def test_attacks_of_a_family_are_near_where_they_are_routed_alike():
    alike = {name: [0.8, 0.2, 0.0] for name in "abc"} | {name: [0.1, 0.9, 0.0] for name in "def"}
    scored, test = routed(alike)
    found = specialised(scored, test, KINDS, 0)
    assert (found["dead"], found["least_share"]) == (1, 0.0)
    assert found["within"] == pytest.approx(0.0) and found["between"] > 0.5
    assert found["p"] == pytest.approx(0.1, abs=0.03)  # 2 of 20 divisions into three and three
    mixed = dict(zip("adbecf", alike.values(), strict=True))
    assert specialised(*routed(mixed), KINDS, 0)["p"] > 0.5
    assert rates(scored, test)["a"] == pytest.approx(0.25)


def test_distances_are_means_over_blocks_and_pairs():
    same, other = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]])
    distance = apart({"a": same, "b": other, "c": same})
    np.testing.assert_allclose(distance, [[0, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0]])
    assert nearness(distance, np.array(["x", "y", "x"])) == (0.0, 0.5)


def test_every_attack_of_the_plan_is_in_one_family():
    settings = read_plan("joint").settings_as(Settings)
    assert sorted(name for own in settings.families.values() for name in own) == sorted(settings.attacks)


def test_the_page_compares_the_same_seeds():
    plan = read_plan("joint")
    results = Results.of(plan)
    for name, rate in (("experts 0", 0.1), ("experts 1", 0.2), ("lora+active 1", 0.3)):
        method, seed = name.split()
        figures = {"seconds": 1.0, "weights": 2e6, "eer": {"world": rate, "lpc": rate + 0.02}}
        if method == "experts":
            figures |= {
                "dead": 0,
                "least_share": 0.04,
                "largest_share": 0.3,
                "within": 0.1,
                "between": 0.2,
                "p": 0.01 * (1 + int(seed)),
            }
        results.add(plan, Cell(method, (int(seed),)), figures)
    lines = joint(Found("joint", plan, results))
    rows = {line.split(" | ")[0].strip("| "): line for line in lines if line.startswith("|")}
    assert (
        "| 2 | 2.00 M | 16.0 (11.0 to 21.0) |  | 12 to 22 | 0 | 4 to 30 | 0.10, 0.20 | 0.0200 |"
        in rows["experts"]
    )
    (single,) = (line for name, line in rows.items() if name.startswith("lora+active: one LoRA"))
    assert "| 31.0 (31.0) | +10.0 |" in single or "| 31.0 (31.0 to 31.0) | +10.0 |" in single
