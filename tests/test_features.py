from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import soundfile
import torch

from molex_adapt import Run
from molex_adapt.base import load_base
from molex_adapt.data import Table, Utterance, read
from molex_adapt.detector import Detector
from molex_adapt.features import (
    OnlineFeatures,
    batches,
    concatenate,
    crop_at,
    extract,
    length_batches,
    logits_of,
    pad,
    score_table,
    source_id,
    states_of,
    unmoved,
)
from molex_adapt.prefix_cache import PrefixCache
from molex_adapt.shipped import registry_path


@pytest.fixture
def detector(tiny_folder_of, tiny_recipe) -> Detector:
    return Detector(load_base(tiny_folder_of()), tiny_recipe(data={"window_seconds": 0.65}))


@pytest.fixture
def table(recorded, tmp_path) -> Table:
    folder = recorded(tmp_path / "data", bona_fide=4, buzz=3)
    broken = folder / "bonafide" / "bonafide000.wav"
    broken.write_bytes(b"RIFF")
    return read(folder)


def test_features_of_a_table(detector, table):
    features, failed = extract(detector, table, Run(workers=2))
    assert [item.path for item in failed] == [str(table[0].path)]
    assert features.attacks == (None,) * 3 + ("buzz",) * 3
    assert features.bona_fide.tolist() == [True] * 3 + [False] * 3
    assert features.sources == tuple(source_id(item.source) for item in table)[1:]
    assert all(clip.dtype == torch.float16 and clip.shape[1] == 16 for clip in features.clips)
    wave, _ = soundfile.read(table[1].path, dtype="float32")
    expected, frames = detector.base.prefix(*pad(detector.prepare(wave)[:1]))
    torch.testing.assert_close(features.clips[0].float(), expected[0, : int(frames[0])], atol=5e-3, rtol=1e-3)
    assert features.pick([5, 0]).attacks == ("buzz", None)
    assert len(concatenate([features, features])) == 12
    assert len(concatenate([])) == 0
    assert set(features.of_attacks(["hum"]).attacks) == {None}
    assert {len(clip) for clip in features.cut(0.2).clips} == {10}


@pytest.mark.parametrize("base", ["embedded", "group"])
def test_kept_features_do_not_depend_on_what_was_computed_beside_them(
    base, tiny_folder_of, tiny_recipe, tmp_path
):
    folder = registry_path() / "base" if base == "embedded" else tiny_folder_of("wav2vec2", "group", False)
    rng = np.random.default_rng(0)
    items = []
    for at, samples in enumerate([16_000, 20_000, 20_000, 30_001, 25_000, 31_000]):
        soundfile.write(tmp_path / f"{at}.wav", 0.1 * rng.standard_normal(samples), 16_000)
        items.append(Utterance(tmp_path / f"{at}.wav", "bonafide"))
    detector = Detector(load_base(folder), tiny_recipe())
    together, _ = extract(detector, Table(tuple(items), "made up"))
    for at, item in enumerate(items):
        alone, _ = extract(detector, Table((item,), "made up"))
        assert torch.equal(alone.clips[0], together.clips[at]), at


def test_scores_of_a_table_are_averaged_over_windows_by_length(detector, table):
    scored, failed = score_table(detector, table, Run(workers=1))
    assert [item.utterance for item in scored] == list(table)[1:]
    assert len(failed) == 1
    for item in scored:
        wave, _ = soundfile.read(item.utterance.path, dtype="float32")
        assert item.seconds == pytest.approx(len(wave) / 16_000)
        windows = detector.prepare(wave)
        scores = [float(detector.score(*pad([window]))) for window in windows]
        expected = np.average(scores, weights=[len(window) for window in windows])
        assert item.score == pytest.approx(float(expected), abs=1e-5)
    assert {len(detector.prepare(soundfile.read(item.path)[0])) for item in list(table)[1:]} == {1, 2}


def test_what_is_no_speech_is_not_scored_and_the_rest_is_listened_to(detector, table):
    wave, _ = soundfile.read(table[1].path, dtype="float32")
    soundfile.write(table[2].path, 0 * wave, 16_000)
    soundfile.write(table[3].path, np.stack([wave, -wave], axis=1), 16_000)
    soundfile.write(table[4].path, np.stack([0 * wave, wave], axis=1), 16_000)
    scored, failed = score_table(detector, table, Run(workers=2))
    assert [item.utterance for item in scored] == [table[1], table[5], table[6]]
    assert all(0.4 < item.heard.speech_seconds <= item.seconds for item in scored)
    reasons = {item.path: item.reason for item in failed}
    for at, name in {2: "digital silence", 3: "channels in anti-phase", 4: "dead channel"}.items():
        assert reasons[str(table[at].path)].startswith(f"{table[at].path}: {name}")
    assert not any(item.by_rule for item in failed)


def test_company_and_workers_do_not_change_scores(detector, table):
    together, _ = score_table(detector, table, Run(workers=3))
    for item in together:
        (alone,), _ = score_table(detector, Table((item.utterance,), "one"))
        assert item.score == pytest.approx(alone.score, abs=1e-5)


def test_kept_features_score_as_the_first_window_and_need_no_prefix_again(
    detector, table, tmp_path, monkeypatch
):
    run = Run(cache=tmp_path / "cache")
    features, failed = extract(detector, table, run)
    first = logits_of(detector, features)
    assert (len(features), len(failed)) == (len(table) - 1, 1)
    for item, logit in zip(list(table)[1:], first, strict=True):
        window = detector.prepare(soundfile.read(item.path, dtype="float32")[0])[0]
        assert float(detector.calibrate(logit)) == pytest.approx(
            float(detector.score(*pad([window]))), abs=0.01
        )
    monkeypatch.setattr(detector.base, "prefix", None)
    assert torch.equal(logits_of(detector, extract(detector, table, run)[0]), first)


def test_prefixes_computed_anew_are_those_kept(detector, table):
    items = tuple(
        Utterance(item.path, item.label, item.attack, item.source, seconds=0.6) for item in list(table)[1:]
    )
    online = OnlineFeatures(detector, items)
    assert (len(online), online.bona_fide.tolist()) == (6, [True] * 3 + [False] * 3)
    # A crop as long as the recording is the recording.
    clips, frames = online.batch([0, 3], 100, [0.2, 0.9])
    kept, _ = extract(detector, Table(items, "x"))
    assert frames.tolist() == [len(kept.clips[at]) for at in (0, 3)]
    for row, at in enumerate((0, 3)):
        torch.testing.assert_close(clips[row, : frames[row]].half(), kept.clips[at], atol=5e-3, rtol=1e-3)
    cropped, frames = online.batch([0, 3, 4], 12, [0.0, 0.5, 0.99])
    assert (cropped.shape, frames.tolist()) == ((3, 14, 16), [12, 12, 12])
    assert not cropped[:, 12:].any()


def test_recordings_of_all_lengths_make_few_shapes(detector, tmp_path, monkeypatch):
    items, shapes = [], []
    for at in range(12):
        wave = 0.1 * np.random.default_rng(at).standard_normal(9_000 + 300 * at)
        soundfile.write(tmp_path / f"{at}.wav", wave, 16_000)
        label, attack = ("spoof", "buzz") if at % 2 else ("bonafide", None)
        items.append(Utterance(tmp_path / f"{at}.wav", label, attack, str(at)))
    table, run = Table(tuple(items), "x"), detector.base.family.run
    monkeypatch.setattr(
        detector.base.family,
        "run",
        lambda features, mask: (shapes.append(features.shape[1]), run(features, mask)),
    )
    features, _ = extract(detector, table)
    for at in range(len(features)):
        logits_of(detector, features.pick([at]))
        score_table(detector, Table((items[at],), "x"))
    assert len({len(clip) for clip in features.clips}) > 6
    assert len(shapes) > 20 and len(set(shapes)) < 9


def test_crops_lie_inside_and_short_clips_stay_whole():
    clip = torch.arange(10)[:, None].float()
    starts = [int(crop_at(clip, 7, place)[0, 0]) for place in (0.0, 0.24, 0.26, 0.74, 0.76, 0.9999)]
    assert starts == [0, 0, 1, 2, 3, 3]
    assert crop_at(clip, 10, 0.5) is clip
    assert crop_at(clip, 11, 0.5) is clip


def test_batches_are_of_like_length_and_within_budget():
    lengths = [5.0, 1.0, 3.0, 9.0, 3.0, 1.0, 20.0]
    groups = list(length_batches(lengths, 9.0))
    assert sorted(at for group in groups for at in group) == list(range(7))
    assert all(max(lengths[at] for at in group) * len(group) <= 9 or len(group) == 1 for group in groups)
    assert groups[0] == [1, 5, 2]
    assert list(length_batches([], 9.0)) == []


@pytest.mark.parametrize(("seconds", "most"), [(10.0, 4), (0.5, 8)])
def test_what_is_decoded_ahead_is_bounded_by_length_and_by_number(monkeypatch, seconds, most):
    """However many recordings wait: long ones by their length (30 s here), short ones by their number (8)."""
    monkeypatch.setattr(batches, "_READ_AHEAD", 8)
    monkeypatch.setattr(batches, "_SECONDS_AHEAD", 30.0)
    window = np.zeros(round(seconds * 16_000), np.float32)
    prepared: list[int] = []

    def prepare(item):
        prepared.append(int(item.path.name))
        return [window], None

    items = [Utterance(Path(str(at)), "bonafide") for at in range(40)]
    taken, ahead = [], []
    with ThreadPoolExecutor(1) as pool, batches._Ahead(pool, prepare, items) as futures:
        for index, future in futures:
            future.result()
            sleep(0.002)  # the pool goes on as far as it may
            taken.append(index)
            ahead.append(len(prepared) - index)
    assert taken == list(range(40)) == prepared
    assert most - 1 <= max(ahead) <= most


@pytest.mark.parametrize("workers", [1, 3])
def test_who_stops_early_waits_for_nobody(monkeypatch, workers):
    monkeypatch.setattr(batches, "_SECONDS_AHEAD", 1.0)
    window = np.zeros(32_000, np.float32)
    items = [Utterance(Path(str(at)), "bonafide") for at in range(40)]

    def stop_early():
        def prepare(item):
            return [window], None

        with ThreadPoolExecutor(workers) as pool, batches._Ahead(pool, prepare, items) as futures:
            for index, future in futures:
                future.result()
                if index == 3:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_early()


def test_what_does_not_move_is_computed_once(detector, table, monkeypatch):
    """And what is asked for together, in part or again has the logits that it has alone."""
    features, _ = extract(detector, table, Run(workers=1))
    alone, heard = logits_of(detector, features), list[int]()
    compute = detector.logit

    def counted(clips, frames):
        heard.append(len(clips))
        return compute(clips, frames)

    monkeypatch.setattr(detector, "logit", counted)
    with unmoved(detector):
        first = logits_of(detector, features.pick([4, 1]))
        whole = logits_of(detector, concatenate([features, features.pick([0])]))
        assert sum(heard) == len(features)
        assert torch.equal(first, whole[[4, 1]])
        assert torch.equal(whole[-1], whole[0])
        torch.testing.assert_close(whole[:-1], alone, rtol=1e-5, atol=1e-5)
        assert len(logits_of(detector, features.pick([]))) == 0
    logits_of(detector, features)
    assert sum(heard) == 2 * len(features)


def test_stored_clips_are_joined_and_picked_without_mapping_a_file(detector, table, tmp_path, monkeypatch):
    run = Run(workers=1, cache=str(tmp_path / "cache"))
    kept, _ = extract(detector, table, run)
    stored, _ = extract(detector, table, run, resident=False)
    mapped = []
    load = PrefixCache.load
    monkeypatch.setattr(
        PrefixCache, "load", lambda *given, **how: mapped.append(given) or load(*given, **how)
    )
    joined = concatenate([stored, kept, stored])
    part = joined.pick([0, len(kept), len(kept) + 1])
    digests = part.digest(), joined.pick([0, len(kept), len(kept)]).digest()
    assert digests[0] != digests[1]
    assert not mapped
    for clip, wanted in zip(joined.clips, [*kept.clips] * 3, strict=True):
        torch.testing.assert_close(clip, wanted, atol=0, rtol=0)
    assert isinstance(concatenate([kept, joined.pick([len(kept)])]).clips, tuple)  # all in memory again
    mapped.clear()
    shapes = []
    pooled = detector.pooled_states
    monkeypatch.setattr(
        detector, "pooled_states", lambda *given: shapes.append(len(given[0])) or pooled(*given)
    )
    states = states_of(detector, concatenate([stored, stored]))
    assert sum(shapes) == len(stored)  # a file that is there twice is heard once
    torch.testing.assert_close(states[: len(stored)], states[len(stored) :], atol=0, rtol=0)


def test_first_windows_do_not_keep_whole_recordings_in_memory(detector, tmp_path):
    """Of a base that takes waveforms as they are, windows are views of what was decoded."""
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(160_000) / 9), 16_000)
    detector.base.normalised = False
    run, long = Run(workers=1), [Utterance(tmp_path / "a.wav", "bonafide", None, "a")]
    (batch,) = batches.window_batches(detector, long, run, [], first_window=True)
    ((_, row),) = batch
    assert len(row) < 20_000 and row.base is None
