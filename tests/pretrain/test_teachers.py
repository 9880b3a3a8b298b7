from __future__ import annotations

import numpy as np
import pytest
import torch

from molex_adapt.base import load_base, normalise
from molex_adapt.errors import DataError
from molex_adapt.pretrain import targets
from molex_adapt.pretrain.corpus import Stream
from molex_adapt.pretrain.run import save_untrained
from molex_adapt.pretrain.targets import make_targets
from molex_adapt.pretrain.teachers import hear_with_base
from molex_adapt.progress import Silent
from molex_adapt.recipe import PretrainRecipe

SMALL = {"hidden": 32, "blocks": 2, "heads": 2, "ffn": 32, "conv_channels": 8}


@pytest.fixture
def former(tmp_path):
    save_untrained(tmp_path / "former", PretrainRecipe.model_validate(SMALL), 0)
    return tmp_path / "former"


@pytest.fixture
def streams(sound) -> list[Stream]:
    return [
        Stream("ann", "wide", np.resize(sound(at, 1.0), frames * 320)) for at, frames in enumerate([40, 620])
    ]


def test_a_former_base_is_heard_frame_by_frame_in_pieces_of_ten_seconds(former, streams):
    heard = hear_with_base(streams, former, 2)
    assert [states.shape for states in heard] == [(40, 32), (620, 32)]
    base, wave = load_base(former), normalise(streams[1].wave[: 500 * 320])
    with torch.no_grad():
        states = base.hidden_states(*base.prefix(torch.from_numpy(wave)[None], torch.tensor([len(wave)])))
    # The last frames see the padding.
    np.testing.assert_allclose(heard[1][:400], states[2][0, :400], atol=1e-2)


def test_a_second_round_predicts_its_units(former, streams):
    recipe = PretrainRecipe(targets=("mfcc", "former_units"), units=4, former_base=former, former_block=1)
    found = make_targets(streams, recipe, 2, Silent())
    assert found.codebook_sizes == (4, 4)
    assert [item.shape for item in found.units] == [(40, 2), (620, 2)]
    assert not torch.equal(found.units[1][:, 0], found.units[1][:, 1])


def test_a_block_that_the_former_base_does_not_have(former, streams):
    with pytest.raises(DataError, match="blocks 1 to 2"):
        hear_with_base(streams, former, 3)


def test_targets_do_not_hear_a_former_base_unasked(streams, monkeypatch):
    monkeypatch.setattr(targets, "hear_with_base", lambda *_args: pytest.fail("nobody asked for it"))
    make_targets(streams, PretrainRecipe(units=4), 2, Silent())
