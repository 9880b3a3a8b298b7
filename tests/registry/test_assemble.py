from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from molex_adapt.base import load_base, weights_hash
from molex_adapt.cache import packed_files
from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.digest import sha256
from molex_adapt.errors import ExpertError, MolexError, RegistryError
from molex_adapt.features import Features, source_id
from molex_adapt.head import Head
from molex_adapt.mixture import ExpertSpec
from molex_adapt.recipe import Recipe, dump
from molex_adapt.registry import (
    BaseRecord,
    DataRecord,
    ExpertRecord,
    GenerationDraft,
    NewExpert,
    Store,
    files,
    packed,
)
from molex_adapt.registry.assemble import (
    build_detector,
    expert_arrays,
    head_arrays,
    open_base,
    router_arrays,
)
from molex_adapt.registry.exemplars import arrays_to_features, features_to_arrays
from molex_adapt.registry.identity import weights_digest
from molex_adapt.registry.layout import generation_folder, read_generation
from tests.families import tolerance

RECIPE = Recipe.model_validate(
    {
        "lora": {"rank": 2, "alpha": 4},
        "head": {"width": 8},
        "router": {"top_k": 2},
        "precision": "fp32",
    }
)


def randomised(detector: Detector, name: str, rank: int) -> None:
    """Add an expert with random weights that float16 holds exactly, and random router rows."""
    detector.mixture.add(ExpertSpec(name, rank, 4.0))
    with torch.no_grad():
        for weight in detector.mixture.expert_parameters(name):
            weight.copy_((torch.randn_like(weight) * 0.3).half().float())
        for row in detector.mixture.router_rows(name):
            row.normal_()


def new_expert(detector: Detector, name: str, base: BaseRecord) -> NewExpert:
    spec = detector.mixture.specs[detector.mixture.index(name)]
    record = ExpertRecord(
        name=name,
        domain=name,
        rank=spec.rank,
        alpha=spec.alpha,
        targets=list(RECIPE.lora.targets),
        blocks=2,
        base=base,
        data=DataRecord(digest="00", counts={}),
        recipe=dump(RECIPE),
        seed=0,
    )
    return NewExpert(record, expert_arrays(detector, name))


@pytest.fixture
def made(tiny_base_folder: Path, tmp_path: Path) -> tuple[Detector, Store]:
    """A detector with two experts of unlike rank, and the registry it was saved to."""
    torch.manual_seed(1)
    base = load_base(tiny_base_folder)
    record = BaseRecord(id="tiny", revision="local", sha256=base.identity.sha256, embedded=True)
    store = Store.create(tmp_path / "registry", record, tiny_base_folder)
    detector = Detector(base, RECIPE, Calibration(2.0, -0.5))
    randomised(detector, "world", rank=2)
    randomised(detector, "opus", rank=3)
    for router in detector.mixture.routers:
        router.centre.normal_()
        router.spread.uniform_(0.5, 2)
    draft = GenerationDraft(
        parent=None,
        experts=["world", "opus"],
        new_experts=[new_expert(detector, name, record) for name in ("world", "opus")],
        router=router_arrays(detector),
        head=head_arrays(detector),
        recipe=dump(RECIPE),
        calibration=(2.0, -0.5),
    )
    store.add_generation(draft, activate=True)
    return detector, store


@pytest.fixture
def speech() -> tuple[torch.Tensor, torch.Tensor]:
    wave = torch.randn(2, 8_000, generator=torch.Generator().manual_seed(2)) * 0.1
    wave[1, 6_000:] = 0
    return wave, torch.tensor([8_000, 6_000])


def test_a_saved_detector_scores_bit_for_bit_the_same(made, speech):
    detector, store = made
    again = build_detector(store)
    assert again.mixture.names == ["world", "opus"]
    assert torch.equal(again.score(*speech), detector.score(*speech))
    assert again.base.identity.id == "tiny"
    assert not any(weight.requires_grad for weight in again.parameters())
    assert store.verify() == []


def test_every_generation_can_be_built_and_a_base_used_again(made, speech):
    detector, store = made
    store.remove("world")
    base = open_base(store)
    shrunk = build_detector(store, base=base)
    assert shrunk.mixture.names == ["opus"]
    detector.mixture.remove("world")
    assert torch.equal(shrunk.score(*speech), detector.score(*speech))
    assert build_detector(store, 1).mixture.names == ["world", "opus"]


@pytest.mark.parametrize("relative", [True, False])
def test_a_head_beside_a_readout_is_the_kind_that_was_stored(made, speech, relative):
    """A readout and a head that is not relative are those of earlier registries."""
    detector, store = made
    recipe = RECIPE.model_copy(update={"head": RECIPE.head.model_copy(update={"readout": True})})
    head = Head(detector.base.width, 3, recipe.head, relative)
    draft = GenerationDraft(
        parent=1,
        experts=["world", "opus"],
        router=router_arrays(detector),
        head={name: value.detach().numpy() for name, value in head.state_dict().items()},
        recipe=dump(recipe),
    )
    store.add_generation(draft, activate=True)
    again = build_detector(store)
    assert (again.head.relative, again.mixture.rest) == (relative, relative)
    assert all(router.rest == relative for router in again.mixture.routers)
    shares = again.score_and_shares(*speech)[1].sum(1)
    assert bool((shares < 0.99).all() if relative else torch.allclose(shares, torch.ones(2)))


@pytest.fixture
def packing(monkeypatch, tmp_path) -> Path:
    """Packs even two experts; the folder of packed files."""
    monkeypatch.setenv("MOLEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packed, "WORTHWHILE", 2)
    return tmp_path / "cache" / "experts"


def test_packed_experts_score_bit_for_bit_the_same(made, speech, packing):
    detector, store = made
    for _ in range(2):
        loaded = build_detector(store)
        assert torch.equal(loaded.score(*speech), detector.score(*speech))
    (file,) = packing.iterdir()
    assert loaded.mixture.tables()["encoder.layers.0.feed_forward.output_dense"][0].dtype == torch.float16
    randomised(loaded, "third", 3)
    for name in ("world", "opus"):
        for key, weight in detector.mixture.weights(name).items():
            assert torch.equal(loaded.mixture.weights(name)[key], weight)
    file.write_bytes(file.read_bytes()[:-1])
    assert torch.equal(build_detector(store).score(*speech), detector.score(*speech))


def test_packed_experts_that_may_only_be_read_are_used(made, packing, monkeypatch):
    _, store = made
    build_detector(store)

    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "utime", refused)
    assert packed.load(store.path, store.generation()) is not None


def test_packed_experts_do_not_hide_a_changed_file(made, packing):
    _, store = made
    build_detector(store)
    adapter = store.path / "experts" / "opus" / "adapter_model.safetensors"
    content = bytearray(adapter.read_bytes())
    content[-1] ^= 1
    adapter.write_bytes(bytes(content))
    with pytest.raises(RegistryError, match="opus"):
        build_detector(store)


def test_few_packed_files_are_kept_and_none_where_the_folder_cannot_be_written(made, packing, monkeypatch):
    _, store = made
    monkeypatch.setattr(packed, "KEPT", 1)
    build_detector(store)
    adapter = store.path / "experts" / "opus" / "adapter_model.safetensors"
    os.utime(adapter, (1, 1))
    build_detector(store)
    assert len(packed_files()) == 1
    monkeypatch.setenv("MOLEX_CACHE", str(adapter))
    assert build_detector(store).mixture.names == ["world", "opus"]


@pytest.mark.parametrize("name", ["world", "opus"])
def test_plain_peft_loads_an_expert_and_hears_the_same(made, speech, tiny_base_folder, name):
    from peft import PeftModel
    from transformers import AutoModel

    detector, store = made
    plain = PeftModel.from_pretrained(
        AutoModel.from_pretrained(tiny_base_folder), store.expert_folder(name)
    ).eval()
    wave, lengths = speech
    mask = torch.arange(wave.shape[1])[None] < lengths[:, None]
    with torch.no_grad():
        theirs = plain(wave, attention_mask=mask.long(), output_hidden_states=True)
        features, frames = detector.base.prefix(wave, lengths)
        with detector.mixture.forcing(name):
            ours = detector.mixture.hidden_states(features, frames)
        bare = AutoModel.from_pretrained(tiny_base_folder).eval()(wave, attention_mask=mask.long())
    # Releases of transformers differ in whether the last of hidden_states is normalised; last_hidden_state always is.
    ours[-1] = detector.base.model.encoder.layer_norm(ours[-1])
    expected = [*theirs.hidden_states[:-1], theirs.last_hidden_state]
    assert len(expected) == len(ours) == 3
    for row, count in enumerate(frames.tolist()):
        for left, right in zip(expected, ours, strict=True):
            torch.testing.assert_close(left[row, :count], right[row, :count], atol=tolerance("wavlm"), rtol=0)
        assert (expected[-1] - bare.last_hidden_state)[row, :count].abs().max() > 1e-2, "the expert acts"


def test_the_digest_without_torch_is_the_hash_with_torch(tiny_base_folder, tmp_path):
    base = load_base(tiny_base_folder)
    assert weights_digest(tiny_base_folder) == base.identity.sha256 == weights_hash(base.model)
    # The shipped base is stored in half precision; its hash is that of the values as they are loaded.
    base.model.half().save_pretrained(tmp_path / "half")
    assert weights_digest(tmp_path / "half") == load_base(tmp_path / "half").identity.sha256


def test_another_base_is_refused_and_both_are_named(made):
    _, store = made
    path = store.base_folder / "model.safetensors"
    weights = files.read_tensors(path, store.path)
    name = sorted(weights)[0]
    path.write_bytes(files.dump_tensors(weights | {name: weights[name] + 1}))
    with pytest.raises(RegistryError, match=rf"tiny@local .*sha256 {store.base.sha256[:8]}") as caught:
        build_detector(store)
    assert str(caught.value).count("sha256") == 2


def test_a_base_behind_a_link_is_refused(made, tmp_path):
    _, store = made
    (store.base_folder / "model.safetensors").rename(tmp_path / "elsewhere")
    (store.base_folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RegistryError, match="is a symbolic link"):
        build_detector(store)


def rewrite(store: Store, name: str, content: bytes) -> None:
    """Replace a file of generation 1 together with its hash."""
    folder = generation_folder(store.path, 1)
    (folder / name).write_bytes(content)
    record = read_generation(store.path, 1)
    changed = record.model_copy(update={"files": record.files | {name: sha256(content)}})
    (folder / "generation.yaml").write_bytes(files.dump_record(changed))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            {"head": {"width": 10_000}},
            "attend.0.bias has shape .4,.; .* need .5000,.",
        ),
        ({"head": {"width": 8}, "router": {"top": 1}}, "did you mean 'top_k'"),
        (
            {"lora": {"targets": ["feed_forward.output_dense"]}, "head": {"width": 8}},
            "does not fit",
        ),
        ({"lora": {"targets": ["nowhere"]}, "head": {"width": 8}}, "not a linear layer"),
    ],
)
def test_a_recipe_that_does_not_fit_its_generation(made, recipe, message):
    _, store = made
    rewrite(store, "recipe.yaml", yaml.safe_dump(recipe).encode())
    with pytest.raises(MolexError, match=message):
        build_detector(store)


def test_router_and_head_of_another_base_are_refused(made):
    _, store = made
    router = store.router_tensors()
    wide = {name: np.concatenate([value, value[..., :1]], axis=-1) for name, value in router.items()}
    rewrite(store, "router.safetensors", files.dump_tensors(wide))
    with pytest.raises(RegistryError, match="routes 2 blocks of width 33; base tiny.* 2 of width 32"):
        build_detector(store)
    rewrite(store, "router.safetensors", files.dump_tensors(router))
    rewrite(store, "head.safetensors", files.dump_tensors({"w": np.zeros(3, np.float32)}))
    with pytest.raises(RegistryError, match="head.safetensors: attend.0.bias has shape None"):
        build_detector(store)


def test_weights_beyond_half_precision_are_refused_when_saved(made):
    detector, store = made
    randomised(detector, "loud", rank=2)
    with torch.no_grad():
        detector.mixture.expert_parameters("loud")[0][0, 0] = 1e6
    expert = new_expert(detector, "loud", store.base)
    draft = GenerationDraft(
        1, ["world", "opus", "loud"], router_arrays(detector), head_arrays(detector), dump(RECIPE)
    )
    with pytest.raises(ExpertError, match="1 of 64 values of .* are NaN or infinite"):
        store.add_generation(GenerationDraft(**(vars(draft) | {"new_experts": [expert]})), activate=True)


def test_exemplars_come_back(tmp_path):
    features = Features(
        (torch.randn(3, 5).half(), torch.randn(1, 5).half(), torch.randn(4, 5).half()),
        torch.tensor([True, False, False]),
        tuple(source_id(name) for name in ("speaker/one", "speaker/two", "speaker/two")),
        (None, "A07", "unlisted"),
    )
    arrays = features_to_arrays(features, "replay", ["A01", "A07"])
    path = tmp_path / "exemplars.safetensors"
    path.write_bytes(files.dump_tensors(arrays))
    found = arrays_to_features(files.read_tensors(path, tmp_path), "replay", ["A01", "A07"])
    assert found is not None
    assert all(torch.equal(left, right) for left, right in zip(found.clips, features.clips, strict=True))
    assert torch.equal(found.bona_fide, features.bona_fide)
    assert found.attacks == (None, "A07", None)
    assert found.sources == features.sources
    assert found.sources[0] != found.sources[1] == found.sources[2]
    del arrays["replay.sources"]
    nameless = arrays_to_features(arrays, "replay", ["A01", "A07"])
    assert nameless is not None and len(set(nameless.sources)) == 3
    assert arrays_to_features(arrays, "check", []) is None


def test_no_exemplars_at_all_are_exemplars_too():
    from molex_adapt.registry.checks import check_exemplars

    nothing = Features((), torch.zeros(0, dtype=torch.bool), (), ())
    arrays = features_to_arrays(nothing, "check", [])
    check_exemplars(arrays, "here")
    found = arrays_to_features(arrays, "check", [])
    assert found is not None
    assert len(found) == 0
