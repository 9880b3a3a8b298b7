"""Published detectors from a hub, and experts that travel between registries on one of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from molex_adapt import Registry
from molex_adapt.errors import RegistryError
from tests.hub.repositories import CPU
from tests.published.fairseq_modules import written

pytestmark = pytest.mark.hub
CARD = b"---\nlicense: cc-by-nc-sa-4.0\ndatasets: [MLS]\n---\n"


def score(registry: Registry, generation: int | None = None) -> torch.Tensor:
    detector = registry.detector(generation, run=CPU)
    wave = 0.1 * torch.randn(9_000, generator=torch.Generator().manual_seed(0))
    return detector.score(torch.from_numpy(detector.prepare(wave.numpy())[0])[None], torch.tensor([9_000]))[0]


def folder_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_classifier_stays_on_the_hub_and_its_experts_travel(
    hub, classifier_of, recorded, tiny_recipe, tmp_path
):
    name, pushed, whole = hub.name("detector"), hub.name("buzz"), hub.name("mixture")
    hub.upload(name, folder_files(classifier_of()) | {"README.md": CARD})
    ours = Registry.create(tmp_path / "ours", name)
    base = ours.store.base
    commit = hub.api.model_info(name).sha
    assert (base.id, base.revision, base.embedded, ours.store.base_folder) == (name, commit, False, None)
    assert (base.published.licence, base.published.trained_on) == ("cc-by-nc-sa-4.0", ["MLS"])
    local = Registry.create(tmp_path / "local", str(classifier_of()))
    assert torch.equal(score(ours), score(local))

    data = recorded(tmp_path / "buzz", bona_fide=12, buzz=12)
    recipe = tiny_recipe(head={"readout": True})
    ours.add_expert(data, domain="buzz", recipe=recipe, accept=True, run=CPU)
    ours.hub.push("buzz", pushed)
    ours.hub.push(None, whole)
    theirs = Registry.create(tmp_path / "theirs", name, commit)
    report = theirs.pull(pushed, run=CPU)
    assert report.activated and any("the detector was as published" in line for line in report.remarks)
    assert torch.equal(score(theirs), score(ours)) and torch.equal(score(theirs, 0), score(local))
    assert theirs.store.generation().parent == 0
    mixture = Registry.pull_mixture(whole, tmp_path / "mixture")
    assert mixture.store.base == base and torch.equal(score(mixture), score(ours))

    # The same encoder under another head: the expert may join, and is told to have been trained for another.
    other = Registry.create(tmp_path / "other", name, bona_fide="fake")
    report = other.pull(pushed, run=CPU)
    assert any("trained under another head" in line for line in report.remarks)
    assert other.store.verify() == []


def test_an_antideepfake_detector_is_copied_from_the_hub(hub, tmp_path):
    name = hub.name("anti-deepfake")
    model = written(tmp_path / "made", {"num_attention_heads": 2})
    hub.upload(name, folder_files(tmp_path / "made") | {"README.md": CARD, "LICENSE-CHECKPOINT": b"Ask us."})
    registry = Registry.create(tmp_path / "registry", name)
    base = registry.store.base
    assert (base.id, base.revision, base.embedded) == (name, hub.api.model_info(name).sha, True)
    assert base.published.licence == "cc-by-nc-sa-4.0"
    assert (registry.store.base_folder / "LICENSE-CHECKPOINT").read_bytes() == b"Ask us."
    wave = 0.1 * torch.randn(9_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(wave[None])[0]
    torch.testing.assert_close(score(registry), logits[1] - logits[0], atol=1e-5, rtol=0)


def test_onnx_alone_is_refused_before_anything_is_loaded(hub, tmp_path):
    name = hub.name("exported")
    hub.upload(name, {"config.json": b'{"model_type": "wav2vec2"}', "onnx/model.onnx": b"onnx"})
    with pytest.raises(RegistryError, match=f"{name} holds an ONNX model and no safetensors"):
        Registry.create(tmp_path / "registry", name)


def test_a_bare_encoder_on_the_hub_is_a_base_as_ever(hub, tiny_base_folder, tmp_path):
    name = hub.name("encoder")
    hub.upload(name, folder_files(tiny_base_folder))
    store = Registry.create(tmp_path / "registry", name).store
    assert (store.active, store.base.published, store.base.id) == (None, None, name)
