from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from molex_adapt.errors import DataError
from molex_adapt.pretrain import targets
from molex_adapt.pretrain.corpus import Stream
from molex_adapt.pretrain.targets import make_targets, mfcc
from molex_adapt.progress import Silent
from molex_adapt.recipe import PretrainRecipe


@pytest.fixture
def streams(sound) -> list[Stream]:
    return [Stream("ann", "wide", sound(at, 1.0)[: 50 * 320]) for at in range(3)]


@pytest.mark.parametrize("samples", [640, 16_000, 16_319, 700_000])
def test_mfcc_every_20_ms(sound, samples):
    found = mfcc(np.resize(sound(0), samples))
    assert found.shape == (samples // 320, 39)
    assert np.isfinite(found).all()


def test_mfcc_tell_sounds_apart_and_stand_silence(sound):
    silence, noise, buzz = (
        mfcc(wave) for wave in (np.zeros(8_000, np.float32), sound(0), sound(0, buzz=900.0))
    )
    assert np.isfinite(silence).all()
    assert not silence[2:-2, 13:].any()
    assert np.abs(noise.mean(0) - buzz.mean(0)).max() > 1


def test_units_of_every_codebook_are_aligned_with_frames(streams, monkeypatch):
    asked = []

    def teacher(given, layers, _progress):
        asked.append(layers)
        return [torch.randn(item.frames, len(layers), 6).half() * 3 + 1 for item in given]

    monkeypatch.setattr(targets, "hear_with_teacher", teacher)
    recipe = PretrainRecipe(targets=("mfcc", "teacher_units", "teacher"), units=5, teacher_layers=(2, 4))
    found = make_targets(streams, recipe, 2, Silent())
    assert asked == [(2, 4)]
    assert found.codebook_sizes == (5, 5, 5)
    assert [item.shape for item in found.units] == [(50, 3)] * 3
    assert [item.shape for item in found.layers] == [(50, 2, 6)] * 3
    assert int(torch.cat(found.units).max()) < 5
    assert len(torch.cat(found.units)[:, 0].unique()) > 1
    fitted = torch.cat([item.float() for item in found.layers[:2]])
    assert abs(float(fitted.mean())) < 0.2
    assert float(fitted.std()) == pytest.approx(1, abs=0.2)


def test_units_alone_and_none(streams):
    found = make_targets(streams, PretrainRecipe(units=4), 2, Silent())
    assert (found.codebook_sizes, found.layers[0].shape) == ((4,), (50, 0, 0))
    again = make_targets(streams, PretrainRecipe(units=4), 2, Silent())
    assert all(torch.equal(one, other) for one, other in zip(found.units, again.units, strict=True))


def test_too_little_speech_for_so_many_units(streams):
    with pytest.raises(DataError, match="100 frames of speech cannot make 101 units"):
        make_targets(streams, PretrainRecipe(units=101), 2, Silent())


@pytest.mark.parametrize(("package", "kind"), [("sklearn.cluster", "mfcc"), ("distillmos", "teacher")])
def test_a_missing_package_is_named_with_its_command(streams, monkeypatch, package, kind):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match="pip install"):
        make_targets(streams, PretrainRecipe(targets=(kind,), units=4), 2, Silent())
