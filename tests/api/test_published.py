"""From a published detector to experts and back: its head stays, its licence and its corpora go along."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from molex_adapt import Registry, Run
from molex_adapt.errors import RegistryError
from molex_adapt.hub.pack import pack_expert, pack_mixture
from molex_adapt.reports import StageReport

CPU = Run(workers=1, device="cpu", command="molex-adapt test")
WAVES = torch.randn(3, 9_000, generator=torch.Generator().manual_seed(0)), torch.tensor([9_000, 8_000, 5_000])
CARD = "---\nlicense: cc-by-nc-sa-4.0\ndatasets:\n- someone/MLS\n---\n# Detector\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory, recorded) -> dict[str, Path]:
    """Of two attacks."""
    folder = tmp_path_factory.mktemp("data")
    hum = recorded(folder / "hum", bona_fide=12, first=200, a=1, hum=12)
    shutil.rmtree(hum / "spoof" / "a")  # only there to give hum another pitch
    return {"buzz": recorded(folder / "buzz", bona_fide=12, buzz=12), "hum": hum}


@pytest.fixture(scope="module")
def detector(classifier_of, tmp_path_factory) -> Path:
    folder = Path(shutil.copytree(classifier_of(), tmp_path_factory.mktemp("published") / "detector"))
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture(scope="module")
def _published(detector) -> Path:
    Registry.create(detector.parent / "registry", str(detector), trained_on=["Buzz 2024", "someone/MLS"])
    return detector.parent / "registry"


@pytest.fixture
def published(_published, tmp_path) -> Registry:
    return Registry.open(shutil.copytree(_published, tmp_path / "registry"))


@dataclass(frozen=True)
class Grown:
    """A published detector with two experts and routers that were trained again, and its scores before all that."""

    registry: Registry
    before: torch.Tensor
    first: StageReport
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def grown(_published, data, tiny_recipe, tmp_path_factory) -> Grown:
    registry = Registry.open(shutil.copytree(_published, tmp_path_factory.mktemp("grown") / "registry"))
    before, files, recipe = scores(registry), files_of(registry), tiny_recipe()
    first = registry.add_expert(data["buzz"], domain="buzz", recipe=recipe, accept=True, run=CPU)
    registry.add_expert(data["hum"], domain="hum", licence="cc-by-4.0", accept=True, run=CPU)
    registry.retrain_router(data["hum"], recipe=recipe, accept=True, run=CPU)
    return Grown(registry, before, first, files)


def files_of(registry: Registry) -> dict[str, bytes]:
    """Of generation 0."""
    folder = registry.store.path / "generations" / "0"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def head_of(registry: Registry, generation: int) -> dict[str, bytes]:
    head = registry.store.head_tensors(generation)
    return {name: value.tobytes() for name, value in head.items() if not name.startswith("readout.")}


def scores(registry: Registry) -> torch.Tensor:
    return registry.detector(run=CPU).score(*WAVES)


def test_experts_are_added_under_the_published_head(grown):
    registry, report = grown.registry, grown.first
    assert (report.generation, report.activated) == (1, True)
    assert set(report.before) == {"buzz"}  # the detector's own figures stand beside the new ones
    assert any("nothing is kept of what the published detector learnt" in line for line in report.remarks)
    heads = [head_of(registry, number) for number in range(4)]
    assert heads[0] and all(head == heads[0] for head in heads)
    assert [item.parent for item in registry.store.history()] == [None, 0, 1, 2]
    centres = [registry.store.router_tensors(number)["blocks.0.centre"] for number in (1, 3)]
    assert np.abs(centres[0]).max() > 0 and np.array_equal(*centres)
    assert registry.store.verify() == []


def test_a_rollback_returns_the_detector_to_the_bit(grown, tmp_path):
    registry = Registry.open(shutil.copytree(grown.registry.store.path, tmp_path / "back"))
    assert not torch.equal(scores(registry), grown.before)
    assert registry.store.rollback(0).is_published
    assert torch.equal(scores(registry), grown.before)
    assert files_of(registry) == grown.files


def test_a_first_training_keeps_the_head_and_decides_the_rest(published, data, tiny_recipe):
    recipe = tiny_recipe(head={"readout": True}, router={"top_k": 2}, lora={"targets": ("attention.k_proj",)})
    report = published.train(data["buzz"], domain="buzz", experts=2, recipe=recipe, run=CPU)
    assert report.generation == 1 and head_of(published, 1) == head_of(published, 0)
    assert "readout.weights" in published.store.head_tensors(1)
    found = published.recipe()
    assert (found.head.readout, found.router.top_k, found.lora.targets) == (True, 2, ("attention.k_proj",))
    assert found.data.window_seconds == 60  # the detector's own, as the recipe states none
    with pytest.raises(RegistryError, match="has a mixture already"):
        published.train(data["hum"], domain="hum", recipe=recipe, run=CPU)


def test_training_after_another_threshold_says_how_to_begin(published, data, tiny_recipe):
    published.set_threshold(data["buzz"], refused=0.2, run=CPU)
    with pytest.raises(RegistryError, match="molex-adapt rollback 0, then train"):
        published.train(data["buzz"], domain="buzz", recipe=tiny_recipe(), run=CPU)
    published.store.rollback(0)
    assert published.train(data["buzz"], domain="buzz", recipe=tiny_recipe(), run=CPU).generation == 2


def test_an_expert_that_learnt_nothing_leaves_the_logits(published, data, tiny_recipe):
    before, still = scores(published), {"steps": 0}
    recipe = tiny_recipe(head={"readout": True}, expert=still, router_stage=still)
    published.add_expert(data["buzz"], domain="buzz", recipe=recipe, accept=True, run=CPU)
    detector = published.detector(run=CPU)
    assert detector.head.readout.has_learnt and not torch.equal(scores(published), before)
    logit = detector.logit(*detector.base.prefix(*WAVES))
    torch.testing.assert_close(logit, before, atol=1e-6, rtol=0)


def test_a_corpus_that_the_detector_learnt_from_is_a_warning(published, data, tmp_path):
    report = published.evaluate(data["hum"], run=CPU)
    assert report.trained_on == [] and report.as_dict()["trained_on"] == []
    known = Path(shutil.copytree(data["hum"], tmp_path / "mls_german"))
    report = published.evaluate(known, run=CPU)
    assert report.trained_on == report.as_dict()["trained_on"] == ["someone/MLS"]
    assert "detector was trained on someone/MLS, and this data is called after it" in report.remarks[0]
    own = Path(shutil.copytree(data["hum"], tmp_path / "Buzz_2024"))
    assert published.evaluate(own, run=CPU).trained_on == ["Buzz 2024"]


def test_licence_and_corpora_go_along(grown, detector, tmp_path):
    store = grown.registry.store
    found, records = store.base.published, store.experts()
    assert (found.licence, found.trained_on) == ("cc-by-nc-sa-4.0", ["Buzz 2024", "someone/MLS"])
    assert (store.base_folder / "README.md").read_text() == CARD
    assert [record.licence for record in records] == ["cc-by-nc-sa-4.0", "cc-by-4.0"]
    assert all(record.base.published == found for record in records)
    packages = [pack_expert(store, name, f"me/{name}", False) for name in ("buzz", "hum")]
    packages.append(pack_mixture(store, "me/mixture", False))
    cards = [package.files["README.md"].decode() for package in packages]
    cards += [(store.expert_folder("buzz") / "README.md").read_text()]
    for card in cards:
        assert "Its licence: cc-by-nc-sa-4.0" in card
        assert "It was trained on: Buzz 2024, someone/MLS." in card
    licences = [yaml.safe_load(card.split("---")[1])["license"] for card in cards]
    # What holds a head under one licence and an expert under another is under neither alone.
    assert licences == ["cc-by-nc-sa-4.0", "other", "other", "cc-by-nc-sa-4.0"]
    licenced = Registry.create(tmp_path / "licenced", str(detector), licence="mit")
    assert licenced.store.base.published.licence == "mit"


def test_nothing_of_a_published_detector_alone_is_pushed(published):
    from molex_adapt.errors import ExpertError

    with pytest.raises(ExpertError, match="has no experts, so there is nothing of its own to push"):
        pack_mixture(published.store, "me/mixture", False)


def test_the_command_line_tells_what_was_taken_in(detector, tmp_path, capsys):
    from molex_adapt.cli.app import main

    folder = str(tmp_path / "shown")
    with pytest.raises(SystemExit) as status:
        main(["init", str(detector), "--trained-on", "ASVspoof5", "--registry", folder, "--json"])
    assert not status.value.code
    made = json.loads(capsys.readouterr().out)
    assert (made["generation"], made["experts"]) == (0, [])
    assert made["base"]["published"]["trained_on"] == ["ASVspoof5", "someone/MLS"]
    for command in ("list", "show"):
        with pytest.raises(SystemExit):
            main([command, "--registry", folder, "--json"])
        assert json.loads(capsys.readouterr().out)["base"]["published"] == made["base"]["published"]
        with pytest.raises(SystemExit):
            main([command, "--registry", folder])
        shown = capsys.readouterr().out
        assert "cc-by-nc-sa-4.0" in shown and "ASVspoof5, someone/MLS" in shown and "'real'" in shown


def test_what_is_not_known_of_a_detector_is_said(classifier_of, tmp_path, capsys):
    from molex_adapt.cli.app import main

    with pytest.raises(SystemExit):
        main(["init", str(classifier_of()), "--registry", str(tmp_path / "registry")])
    remark = " ".join(capsys.readouterr().err.split())
    assert "licence (--licence ID) and the corpora that it was trained on (--trained-on NAME)" in remark
