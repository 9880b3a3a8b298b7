"""Statistics of the spectrum, and how features carry them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molex_adapt import Run
from molex_adapt.base import load_base
from molex_adapt.data import read
from molex_adapt.detector import Detector
from molex_adapt.errors import ExpertError
from molex_adapt.features import Features, concatenate, extract, pad, source_id
from molex_adapt.low_level import STATISTICS, Spectrum
from molex_adapt.prefix_cache import PrefixCache
from molex_adapt.registry.checks import check_exemplars
from molex_adapt.registry.exemplars import features_to_arrays


def waves(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def test_statistics_do_not_depend_on_padding_or_level():
    spectrum, rows = Spectrum(), waves(16_000, 9_000, 700, 100)
    together = spectrum(*pad(rows))
    assert together.shape == (4, STATISTICS)
    assert torch.isfinite(together).all()
    for row, found in zip(rows, together, strict=True):
        torch.testing.assert_close(spectrum(*pad([row]))[0], found, atol=2e-5, rtol=0)
        torch.testing.assert_close(spectrum(*pad([row * 0.01]))[0], found, atol=2e-3, rtol=0)
    assert torch.isfinite(spectrum(torch.zeros(1, 800), torch.tensor([800]))).all()


def test_statistics_are_those_of_the_spectrum():
    time = np.arange(16_000) / 16_000
    tone = (0.1 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    found = Spectrum()(*pad([tone]))[0]
    assert int(found[:257].argmax()) == 32  # 1000 Hz of 16000 in 512
    assert found[257 : 257 + 257][32] < 0.01  # a tone does not vary
    assert int(found[514 : 514 + 64].argmax()) in (7, 8)


def test_pauses_do_not_count():
    speech = waves(16_000)[0]
    paused = np.concatenate([speech[:8000], np.full(8000, 1e-6, np.float32), speech[8000:]])
    # The mean power, and with it the floor, halves; noise is far above the floor.
    alone, between = Spectrum()(*pad([speech]))[0], Spectrum()(*pad([paused]))[0]
    assert (alone[257:514] - between[257:514]).abs().max() < 0.3


def test_features_carry_statistics_and_the_cache_keeps_them(
    recorded, tmp_path, monkeypatch, tiny_folder_of, tiny_recipe
):
    detector = Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}))
    table = read(recorded(tmp_path / "data", bona_fide=3, buzz=3))
    run = Run(cache=tmp_path / "cache")
    without, _ = extract(Detector(load_base(tiny_folder_of()), tiny_recipe()), table, run)
    assert without.statistics is None
    first, _ = extract(detector, table, run)
    monkeypatch.setattr(Spectrum, "forward", None)
    again, _ = extract(detector, table, run)
    assert first.statistics.shape == (6, STATISTICS)
    assert torch.equal(first.statistics, again.statistics)
    assert first.digest() == again.digest() != without.digest()
    assert torch.equal(first.pick([4]).statistics, first.statistics[4:5])
    cache = PrefixCache.standard(run.cache)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 12
    assert cache.info().recordings == 6
    cache.clear()
    assert not list((tmp_path / "cache").rglob("*.npy"))
    pooled = concatenate([first, without]).statistics
    assert pooled[6:].isnan().all()
    assert torch.equal(pooled[:6], first.statistics)


def test_damaged_statistics_of_exemplars_are_refused():
    real = torch.arange(60) < 30
    features = Features(
        tuple(torch.randn(12, 16).half() for _ in range(60)),
        real,
        tuple(source_id(str(at)) for at in range(60)),
        tuple(None if label else "buzz" for label in real.tolist()),
        torch.randn(60, STATISTICS),
    )
    arrays = features_to_arrays(features, "check", ["buzz"])
    check_exemplars(arrays, "here")
    for damaged, fault in (
        (arrays["check.statistics"][1:], "not one row for each of 60"),
        (arrays["check.statistics"] * np.float16(np.nan), "NaN or infinite"),
    ):
        with pytest.raises(ExpertError, match=fault):
            check_exemplars(arrays | {"check.statistics": damaged}, "here")
