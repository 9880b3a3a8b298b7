"""How a recording is heard for training: as it is, and through chains of conditions that are drawn for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from molex_adapt import Run
from molex_adapt.base import load_base
from molex_adapt.data import Table, Utterance, read
from molex_adapt.detector import Detector
from molex_adapt.errors import AudioError
from molex_adapt.features import batches, extract, hearing, with_draws
from molex_adapt.features.hearing import hear, name_of_draw
from molex_adapt.simulate.drawn import Drawn


@pytest.fixture
def table(recorded, tmp_path) -> Table:
    return read(recorded(tmp_path / "data", bona_fide=3, buzz=3))


def test_what_went_through_a_condition_already_is_heard_as_it_is(table):
    rows = [replace(item, condition=name) for item, name in zip(table, (None, "none", "opus"), strict=False)]
    found = with_draws(table.with_utterances(tuple(rows)), 2)
    assert [(item.condition, item.draw) for item in found] == [
        *((None, draw) for draw in range(3)),
        *(("none", draw) for draw in range(3)),
        ("opus", 0),
    ]
    assert with_draws(table, 0) == table


def test_all_copies_of_a_recording_go_through_the_same_and_others_through_their_own(table):
    waves = [hear(replace(item, draw=1)) for item in table]
    assert all(
        np.array_equal(hear(replace(item, draw=1)), wave) for item, wave in zip(table, waves, strict=True)
    )
    names = [name_of_draw(replace(item, draw=1)) for item in table]
    by_source = {item.source: name for item, name in zip(table, names, strict=True)}
    assert names == [by_source[item.source] for item in table] and len(set(names)) == len(by_source) > 1
    item = replace(table[0], draw=1)
    assert name_of_draw(replace(item, draw=2)) != name_of_draw(item)
    copy = replace(table[1], source=item.source, draw=1)
    chains = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Drawn, "apply", lambda _, wave, rng: chains.append(rng.integers(2**60)) or wave)
        for each in (item, copy, replace(item, draw=2), replace(table[1], draw=1)):
            hear(each)
    assert chains[0] == chains[1] and len(set(chains)) == 3


def test_a_draw_changes_the_sound_and_is_of_16_bit(table, monkeypatch):
    for item in table:
        plain, drawn = hear(item), hear(replace(item, draw=1))
        size = min(len(plain), len(drawn))
        assert not np.allclose(plain[:size], drawn[:size], atol=1e-4)
        assert drawn.dtype == np.float32 and np.array_equal(drawn * 2**15, np.round(drawn * 2**15))
    monkeypatch.setattr(Drawn, "apply", lambda _, wave, rng: wave * 100)
    assert np.abs(hear(replace(table[0], draw=1))).max() <= 1


def test_what_a_codec_refuses_is_heard_as_it_is(table, monkeypatch):
    def refused(*_: object) -> None:
        raise AudioError("no such rate")

    monkeypatch.setattr(Drawn, "apply", refused)
    assert np.array_equal(hear(replace(table[0], draw=1)), hear(table[0]))


def test_a_part_goes_through_a_chain_by_itself(tmp_path, sound):
    path = tmp_path / "long.wav"
    soundfile.write(path, sound(1, 4.0, 0.0), 16_000)
    item = Utterance(path, "bonafide", source="a", draw=1)
    assert 0.9 < len(hear(item, start=1.0, duration=1.0)) / 16_000 < 1.2


def test_features_of_draws_have_a_place_of_their_own_in_the_cache(
    table, tiny_folder_of, tiny_recipe, monkeypatch, tmp_path
):
    detector = Detector(load_base(tiny_folder_of()), tiny_recipe())
    heard, plain = [], hearing.hear
    monkeypatch.setattr(batches, "hear", lambda item, **part: heard.append(item.draw) or plain(item, **part))
    run = Run(workers=1, cache=tmp_path / "cache")
    first, _ = extract(detector, with_draws(table, 2), run)
    assert sorted(heard) == [0] * 6 + [1] * 6 + [2] * 6
    assert not np.array_equal(first.clips[0].numpy(), first.clips[1].numpy())
    again, _ = extract(detector, with_draws(table, 2), run)
    assert len(heard) == 18 and all(map(np.array_equal, first.clips, again.clips))
    monkeypatch.setattr(hearing, "_pool", lambda: "other conditions")
    extract(detector, with_draws(table, 2), run)
    assert sorted(heard[18:]) == [1] * 6 + [2] * 6


def test_of_a_long_recording_a_draw_is_of_the_first_window_alone(
    tmp_path, sound, tiny_folder_of, tiny_recipe, monkeypatch
):
    detector = Detector(load_base(tiny_folder_of()), tiny_recipe(data={"window_seconds": 1.0}))
    soundfile.write(tmp_path / "long.wav", sound(1, 6.0, 0.0), 16_000)
    item = Utterance(tmp_path / "long.wav", "bonafide", source="a")
    sizes: list[int] = []
    monkeypatch.setattr(Drawn, "apply", lambda _, wave, rng: sizes.append(wave.size) or wave)
    found, _ = extract(detector, with_draws(Table((item,), ""), 1), Run(workers=1, cache="off"))
    assert len(found) == 2 and sizes == [16_000]


@pytest.mark.parametrize("seconds", [0.8, 1.0, 1.5, 3.05])
def test_a_drawn_copy_is_as_long_as_the_first_window_of_its_recording(
    seconds, tmp_path, sound, tiny_folder_of, tiny_recipe, monkeypatch
):
    detector = Detector(load_base(tiny_folder_of()), tiny_recipe(data={"window_seconds": 1.0}))
    soundfile.write(tmp_path / "long.wav", sound(1, seconds, 0.0), 16_000)
    table = Table((Utterance(tmp_path / "long.wav", "bonafide", source="a"),), "")
    monkeypatch.setattr(Drawn, "apply", lambda _, wave, rng: np.pad(wave, (0, 800)))  # as codecs do
    found, _ = extract(detector, with_draws(table, 1), Run(workers=1, cache="off"))
    assert len(found.clips[0]) == len(found.clips[1])
