"""No speech is kept by default, and old domains are measured on recordings that are given."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from molex_adapt import Registry, Run
from molex_adapt.api.training import Training
from molex_adapt.data import read
from molex_adapt.errors import DataError
from molex_adapt.recipe import ExemplarOptions
from molex_adapt.registry.exemplars import arrays_to_remembered
from molex_adapt.train import acceptance

HOW = Run(workers=1, device="cpu")


def test_no_speech_is_kept_and_old_domains_are_measured_on_what_is_given(
    made, tmp_path, tiny_recipe, monkeypatch
):
    shutil.rmtree(tmp_path / "bare", ignore_errors=True)
    shutil.copytree(made.path, tmp_path / "bare")
    registry = Registry.open(tmp_path / "bare")
    recipe = registry.recipe().model_copy(update={"exemplars": ExemplarOptions()})
    report = registry.add_expert(made.hum, accept=True, domain="hum", recipe=recipe, run=HOW)
    kept = registry.store.exemplar_tensors("hum")
    assert set(kept) == {"heard.train", "heard.dev"}
    remembered = arrays_to_remembered(registry.store.routing_tensors("hum"))
    assert remembered.spoof.utterances > 1
    report = registry.add_expert(made.hum, accept=True, domain="third", recipe=recipe, run=HOW)
    assert report.not_measured == ["hum"]
    assert report.voices == {}
    monkeypatch.setattr(acceptance, "FEWEST", 1)
    buzz = read(made.buzz)
    buzz = buzz.with_utterances(replace(item, speaker="ann") for item in buzz)
    report = registry.add_expert(
        made.hum, accept=True, domain="fourth", recipe=recipe, check=[buzz, made.hum], run=HOW
    )
    assert {"buzz", "hum"} <= set(report.change) and report.not_measured == ["third"]
    assert list(report.voices) == ["ann"] and report.voices["ann"].bona_fide > 0
    assert any(remark.startswith("hum is measured on") for remark in report.remarks)
    assert registry.store.verify() == []
    with pytest.raises(DataError, match="'hum' is the new domain"):
        registry.add_expert(made.hum, domain="hum", name="again", check=[made.hum], run=HOW)


def test_what_is_not_there_to_check_on_is_said_before_any_features(made, tmp_path, monkeypatch):
    monkeypatch.setattr(Training, "prepare", lambda *_: pytest.fail("features were made first"))
    with pytest.raises(DataError, match="nosuch does not exist"):
        Registry.open(made.path).add_expert(made.hum, domain="new", check=[tmp_path / "nosuch"], run=HOW)
