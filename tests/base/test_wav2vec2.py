"""What some models of wav2vec 2.0's kind have beside the blocks: adapters for languages, and a downsampling one."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, Data2VecAudioConfig, Wav2Vec2Config, Wav2Vec2ForCTC

from molex_adapt import Registry
from molex_adapt.base import load_base, weights_hash
from molex_adapt.errors import RegistryError
from tests.base.test_encoder import ours, waves
from tests.families import SIZES, config_of


@pytest.fixture
def mms(tmp_path):
    """A recogniser's checkpoint with its own language inside, and a file with another one."""
    config = config_of("mms", "layer", True)
    config.vocab_size = 8
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, other = Wav2Vec2ForCTC(config).eval(), Wav2Vec2ForCTC(config)
    folder = tmp_path / "mms"
    model.save_pretrained(folder)
    save_file(
        {name: weight.data for name, weight in other._get_adapters().items()},
        folder / "adapter.swh.safetensors",
    )
    return folder, model


def test_the_language_inside_a_checkpoint_is_part_of_the_blocks_and_others_are_not_read(mms, tmp_path):
    folder, model = mms
    base = load_base(folder)
    assert base.identity.sha256 == weights_hash(model.wav2vec2)
    states, _ = ours(base, *waves(6_400))
    inside = [name for name in base.model.state_dict() if ".adapter_layer.linear_1." in name]
    assert inside == [
        f"encoder.layers.{at}.adapter_layer.linear_1.{what}" for at in (0, 1) for what in ("weight", "bias")
    ]
    with torch.no_grad():
        for block in base.blocks:
            block.adapter_layer.linear_2.bias.add_(1)
    assert float((ours(base, *waves(6_400))[0][-1] - states[-1]).abs().max()) > 0.1
    # Nor does a registry keep them: it embeds what was loaded.
    kept = Registry.create(tmp_path / "registry", str(folder)).store.base_folder
    assert [path.name for path in sorted(kept.glob("*.safetensors"))] == ["model.safetensors"]
    assert load_base(kept).identity.sha256 == base.identity.sha256


def test_another_language_is_taken_by_saving_it_with_transformers(mms, tmp_path):
    folder, model = mms
    Wav2Vec2ForCTC.from_pretrained(folder, target_lang="swh", ignore_mismatched_sizes=True).save_pretrained(
        tmp_path / "swahili"
    )
    name = "encoder.layers.1.adapter_layer.linear_1.weight"
    wanted = load_file(folder / "adapter.swh.safetensors")[f"wav2vec2.{name}"]
    assert torch.equal(load_base(tmp_path / "swahili").model.get_parameter(name), wanted)
    assert not torch.equal(wanted, model.wav2vec2.get_parameter(name))


def test_a_checkpoint_without_the_language_that_its_config_asks_for_is_refused(mms):
    folder, _ = mms
    weights = {
        name: w for name, w in load_file(folder / "model.safetensors").items() if "adapter_layer" not in name
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RegistryError, match=r"lacks 12 of the weights .* encoder.layers.0.adapter_layer"):
        load_base(folder)


@pytest.mark.parametrize(
    ("kind", "config"), [("wav2vec2", Wav2Vec2Config), ("data2vec-audio", Data2VecAudioConfig)]
)
def test_frames_are_counted_before_an_adapter_that_downsamples(tmp_path, kind, config):
    AutoModel.from_config(config(**SIZES[kind], add_adapter=True)).save_pretrained(tmp_path)
    base = load_base(tmp_path)
    states, frames = ours(base, *waves(6_400, 4_000))
    assert (frames, states[-1].shape) == ([19, 12], (2, 19, 32))


def test_whether_waves_are_normalised_is_as_the_kind_was_trained(tiny_folder_of, tmp_path):
    assert load_base(tiny_folder_of("data2vec-audio")).normalised
    assert not load_base(tiny_folder_of("unispeech-sat", "group")).normalised
    folder = shutil.copytree(tiny_folder_of("unispeech-sat"), tmp_path / "base")
    assert load_base(folder).normalised
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    assert not load_base(folder).normalised
