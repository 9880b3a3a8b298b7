"""What measures the domains and the shipped detector's views."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile

from molex_adapt import Registry, Run
from molex_adapt.data import read
from molex_adapt.errors import DataError
from molex_adapt.features import extract
from molex_adapt.shipped import registry_path
from molex_adapt.simulate.shaping import band_limited
from tools.wideband import shortcuts, views
from tools.wideband.spectra import RATE


def test_shortcuts_find_what_gives_the_answer_away(tmp_path):
    noise, rows = np.random.default_rng(0), [["path", "label", "attack", "speaker", "source", "split"]]

    def write(name: str, label: str, attack: str, seconds: float, cut: bool) -> None:
        size = int(seconds * RATE)
        wave = 0.1 * noise.standard_normal(size) * np.repeat([1, 0.02, 1], size // 3 + 1)[:size]
        if cut:
            wave = band_limited(wave.astype(np.float32), 0, 3000)
        soundfile.write(tmp_path / f"{name}.wav", np.clip(wave, -1, 1), RATE)
        rows.append([f"{name}.wav", label, attack, "a", name, "dev"])

    for at in range(20):
        seconds = float(noise.uniform(1, 2))
        write(f"r{at}", "bonafide", "", seconds, cut=False)
        write(f"longer{at}", "spoof", "longer", 3.0, cut=False)
        write(f"narrow{at}", "spoof", "narrow", float(noise.uniform(1, 2)), cut=True)
        write(f"same{at}", "spoof", "same", float(noise.uniform(1, 2)), cut=False)
    with (tmp_path / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    table = read(tmp_path / "all.csv")
    kept = [item.attack for item in shortcuts.at_most(iter(table), 7)]
    assert {name: kept.count(name) for name in kept} == {None: 7, "longer": 7, "narrow": 7, "same": 7}
    judged = dict(shortcuts.probes(table, lambda wave: wave.size / RATE))  # a judge who likes length
    assert judged["longer"]["quality"] == judged["longer"]["duration"] == 0
    found = dict(shortcuts.probes(table))
    assert "quality" not in found["same"]
    assert found["longer"]["duration"] == 0 and found["longer"]["spectrum"] > 0.2
    assert found["narrow"]["band"] < 0.05 and found["narrow"]["spectrum"] < 0.05
    assert min(found["same"].values()) >= shortcuts.EVIDENCE


def test_views_add_up(recorded, tmp_path, tiny_folder_of, tiny_recipe):
    registry = Registry.open(registry_path())
    table = read(recorded(tmp_path / "data", bona_fide=4, buzz=3, hum=3))
    features, _ = extract(registry.detector(), table, Run())
    scores = views.scores_of(registry, features)
    np.testing.assert_allclose(scores["mixture"] + scores["readout"], scores["both"])
    assert np.abs(scores["readout"]).max() > 0.1
    names, rates = zip(*views.rows(scores, features), strict=True)
    assert names == ("buzz", "hum", "mean")
    np.testing.assert_allclose(np.mean(rates[:2], axis=0), rates[2])
    other = Registry.create(tmp_path / "other", str(tiny_folder_of()))
    other.add_expert(
        recorded(tmp_path / "more", bona_fide=12, buzz=12),
        accept=True,
        domain="buzz",
        recipe=tiny_recipe(),
        run=Run(workers=1),
    )
    with pytest.raises(DataError, match="no readout"):
        views.scores_of(other, features)
