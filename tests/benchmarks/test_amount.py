"""How many recordings an expert needs: what is drawn, what is measured, and how the page shows it."""

from __future__ import annotations

import csv
from itertools import combinations

import numpy as np
import pytest

from benchmarks import amount
from benchmarks.plan import Cell, read_plan
from benchmarks.report.amount import amount as section
from benchmarks.report.found import Found
from benchmarks.results import Results
from molex_adapt import Registry, Run
from molex_adapt.data import Table
from molex_adapt.train import withdrawal


@pytest.fixture
def domains(recorded, tmp_path):
    """Recordings and copies of them by one attack, a manifest of each as tools.wideband.domains writes it."""
    folder = recorded(tmp_path / "made", bona_fide=30, hum=30)
    splits = ["train"] * 14 + ["dev"] * 8 + ["test"] * 8
    for name, place, label in (("bonafide", "bonafide", "bonafide"), ("hum", "spoof/hum", "spoof")):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", "attack", "speaker", "source", "split"])
            for at, split in enumerate(splits):
                attack = "" if label == "bonafide" else name
                path = f"{place}/{place.split('/')[-1]}{at:03}.wav"
                writer.writerow([path, label, attack, f"{split}{at % 2}", f"s{at}", split])
    return folder


def sources(table: Table, label: str, split: str) -> set[str | None]:
    return {item.source for item in table if (item.label, item.split) == (label, split)}


def test_a_smaller_set_is_part_of_a_larger_one_and_what_measures_is_the_same(domains):
    few, many = (amount.chosen(domains, "hum", count, seed=0) for count in (4, 10))
    assert len(sources(few, "spoof", "train")) == 4
    for table in (few, many):
        for split in ("train", "dev", "test"):
            assert sources(table, "spoof", split) == sources(table, "bonafide", split)
    assert sources(few, "spoof", "train") < sources(many, "spoof", "train")
    for split in ("dev", "test"):
        assert sources(few, "spoof", split) == sources(many, "spoof", split) != set()
    with pytest.raises(ValueError, match="has 14 training copies by hum, 15 are needed"):
        amount.chosen(domains, "hum", 15, seed=0)


def test_the_readout_alone_is_measured_beside_the_expert(
    domains, recorded, tmp_path, tiny_folder_of, tiny_recipe, monkeypatch
):
    recipe = tiny_recipe(
        head={"readout": True}, expert={"learning_rate": 0.02}
    )  # six steps that change scores
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of()))
    old = recorded(tmp_path / "old", bona_fide=16, buzz=16)
    registry.train(old, domain="buzz", recipe=recipe, run=Run(device="cpu", workers=1))
    monkeypatch.setattr(amount, "SHIPPED", tmp_path / "registry")
    plan = read_plan("amount")
    monkeypatch.setattr(type(plan), "resolved", lambda self, method: recipe)
    better = withdrawal.ReadoutAlone.better
    [(_, found)] = amount.measure(plan, [Cell("hum", (10,))], domains)
    assert withdrawal.ReadoutAlone.better is better
    assert (tmp_path / "registry" / "generations" / "1").is_dir()
    assert not (tmp_path / "registry" / "generations" / "2").exists()  # it was a copy that learnt
    assert found["train"] == 10 and found["steps"] > 0
    assert set(found["eer"]) == set(found["refused"]) == {"before", "readout", "expert"}
    assert found["test"] == [8, 8]
    change, low, high = found["change"]
    assert change == pytest.approx(found["eer"]["expert"] - found["eer"]["readout"])
    assert low <= change <= high
    assert found["withdrawn"] == bool(found["why_withdrawn"])
    # What the report calls "after" is one of the two.
    table, own = amount.chosen(domains, "hum", 10, 0), Registry.open(tmp_path / "registry")
    tested = Table(tuple(item for item in table if item.split == "test"), "test")
    run = Run(device="cpu", precision="fp32")
    scores = [item.score for item in own.score(tested, run=run).scores]
    with amount.watched() as seen:
        report = own.add_expert(table, domain="hum", recipe=recipe, run=run)
    three = [stage["hum"].scores for stage in (seen.before, seen.alone, seen.trained)]
    assert sorted(three[0]) == pytest.approx(sorted(scores), abs=1e-3)
    assert all(np.abs(one - other).max() > 1e-4 for one, other in combinations(three, 2))
    assert found["refused_for"] == list(report.refused)
    stands = "readout" if found["withdrawn"] else "expert"
    assert report.after["hum"].eer == pytest.approx(found["eer"][stands])
    assert report.before["hum"].eer == pytest.approx(found["eer"]["before"])


def test_the_page_shows_it():
    plan = read_plan("amount")
    results = Results.of(plan)
    figures = {
        "eer": {"before": 0.4, "readout": 0.2, "expert": 0.15},
        "change": [-0.05, -0.08, -0.01],
        "refused": {"before": 0.08, "readout": 0.09, "expert": 0.1},
        "why_withdrawn": "",
        "test": [400, 300],
        "train": 200,
        "steps": 80,
        "withdrawn": False,
        "refused_for": ["voice a: 3 % were refused: now 9", "world: 6.2 points worse"],
    }
    results.add(plan, plan.cells[0], figures)
    about, *lines = section(Found("amount", plan, results))
    assert "EER on 300 forged and 400 real recordings" in about
    assert (
        "| phase_vocoder, 200 and as many real ones | 40.0 → 20.0 → 15.0 | -5.0 [-8.0, -1.0] | 8.0 → 9.0 → 10.0 | 80 | "
        "at work | refused for voice a, world |"
    ) in lines
