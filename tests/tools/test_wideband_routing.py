"""Routing statistics for experts that were trained before there were any."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace

import pytest

from molex_adapt import Registry, Run
from molex_adapt.data import read
from molex_adapt.data.manifest import write_manifest
from molex_adapt.registry import layout
from molex_adapt.registry.exemplars import arrays_to_remembered
from tools.wideband import routing


@pytest.fixture
def sets(tmp_path, recorded):
    """What domains.py writes: bona fide recordings, and a set of copies; some of each are of the test voices."""
    made = read(recorded(tmp_path / "made", bona_fide=12, buzz=12))
    folder = tmp_path / "domains"
    folder.mkdir()
    for name, label in (("bonafide", "bonafide"), ("buzz", "spoof")):
        rows = made.select(label=label).utterances
        rows = [
            replace(item, source=f"{at}", split="train" if at < 8 else "test") for at, item in enumerate(rows)
        ]
        write_manifest(made.with_utterances(rows), folder / f"{name}.csv")
    return folder


def test_training_rows_are_of_training_voices_and_the_recordings_they_were_made_of(sets):
    rows = routing.training_rows([sets], "buzz")
    assert {(item.source, item.label) for item in rows} == {
        (f"{at}", label) for at in range(8) for label in ("bonafide", "spoof")
    }
    assert routing.training_rows([sets], "hum") is None


def test_beside_speech_that_was_made_of_texts_stand_real_recordings_of_training_voices(sets, tmp_path):
    made = read(sets / "buzz.csv")
    spoken = tmp_path / "spoken"
    spoken.mkdir()
    texts = [replace(item, source=f"text{at}", attack="pico") for at, item in enumerate(made)][:5]
    write_manifest(made.with_utterances(texts), spoken / "pico.csv")
    rows = routing.training_rows([sets, spoken], "pico")
    labels = [item.label for item in rows]
    assert (labels.count("spoof"), labels.count("bonafide")) == (5, 8)
    assert {item.split for item in rows} == {"train"}


def test_few_of_many_are_evenly_spaced():
    assert list(routing.evenly(range(10), 4)) == [0, 3, 6, 9]
    assert list(routing.evenly(range(3), 4)) == [0, 1, 2] and list(routing.evenly([], 4)) == []


def test_an_expert_gets_statistics_and_the_registry_stays_whole(
    tmp_path, sets, tiny_folder_of, tiny_recipe, recorded, monkeypatch, capsys
):
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of()))
    registry.add_expert(
        recorded(tmp_path / "data", bona_fide=12, buzz=12),
        domain="buzz",
        recipe=tiny_recipe(),
        run=Run(workers=1, device="cpu"),
    )
    path = layout.expert_folder(registry.store.path, "buzz") / layout.ROUTING
    former = path.read_bytes()
    arguments = ["routing", str(sets), "--registry", str(tmp_path / "registry")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--experts", "hum"])
    with pytest.raises(SystemExit):
        routing.main()
    assert "no expert hum; there are buzz" in capsys.readouterr().err and path.read_bytes() == former
    monkeypatch.setattr(sys, "argv", arguments)
    routing.main()
    assert path.read_bytes() != former and "buzz: 16 recordings" in capsys.readouterr().out
    store = Registry.open(tmp_path / "registry").store
    assert store.verify() == []
    assert arrays_to_remembered(store.routing_tensors("buzz")).spoof.utterances == 8
    shutil.rmtree(sets)
    with pytest.raises(SystemExit, match="none of the sets of buzz"):
        routing.main()
