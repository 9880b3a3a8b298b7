from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from molex_adapt import Run, prefix_cache
from molex_adapt.base import load_base
from molex_adapt.cache import cache_root
from molex_adapt.cli.app import program
from molex_adapt.data import read
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError, RecipeError
from molex_adapt.features import batches as module
from molex_adapt.features import extract, states_of
from molex_adapt.prefix_cache import PrefixCache, clear_cache
from tests.families import KINDS

KEY = "ab" + "0" * 62


@pytest.fixture
def cache(tmp_path, monkeypatch) -> PrefixCache:
    monkeypatch.setenv("MOLEX_CACHE", str(tmp_path / "my cache é"))
    return PrefixCache.standard()


@pytest.fixture
def detector(tiny_base_folder, tiny_recipe) -> Detector:
    return Detector(load_base(tiny_base_folder), tiny_recipe())


def clip(frames: int = 3) -> np.ndarray:
    return np.arange(frames * 4, dtype=np.float16).reshape(frames, 4)


def test_what_goes_in_comes_out(cache):
    assert cache.load(KEY, 4) is None
    cache.store(KEY, clip())
    assert np.array_equal(cache.load(KEY, 4), clip())
    info = cache.info()
    assert (info.recordings, info.folder) == (1, cache.folder)
    assert info.bytes > clip().nbytes
    cache.clear()
    assert cache.info().recordings == cache.info().bytes == 0


def test_only_what_the_cache_made_is_deleted(cache):
    cache.store(KEY, clip())
    theirs = [
        cache.folder / "en" / "a.npy",
        cache.folder / "ab" / "speech.wav",
        cache.folder.parent / "experts" / "x.safetensors",
    ]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_text("precious")
    rest = cache.folder / "ab" / ".staging-0123.npy"
    rest.touch()
    ran = CliRunner().invoke(program(), ["cache", "clear"])
    assert ran.exit_code == 0
    assert cache.info().recordings == 0
    assert not rest.exists()
    PrefixCache(cache.folder, limit=0).trim()
    assert all(path.read_text() == "precious" for path in theirs)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"garbage" * 9, None])
def test_a_damaged_file_is_a_miss_and_goes(cache, content):
    cache.store(KEY, clip())
    path = next(cache.folder.glob("??/*"))
    path.write_bytes(path.read_bytes()[:-5] if content is None else content)
    assert cache.load(KEY, 4) is None
    assert not path.exists()


def test_features_of_another_width_or_type_are_a_miss(cache):
    for values in (clip(), clip().astype(np.float32)[:, :2], np.array(["x" * 9], dtype=object).astype("U9")):
        cache.store(KEY, values)
        assert cache.load(KEY, 2) is None


def test_the_least_recently_used_go_first(cache):
    keys = [f"{number:02x}" + "0" * 62 for number in range(4)]
    for age, key in enumerate(keys):
        cache.store(key, clip(100))
        os.utime(cache._path(key), (age, age))
    cache.load(keys[0], 4)
    cache.limit = cache.info().bytes // 2
    cache.trim()
    assert [cache.load(key, 4) is not None for key in keys] == [True, False, False, True]


def test_a_folder_that_cannot_be_written_keeps_nothing_and_says_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MOLEX_CACHE", str(tmp_path / "file"))
    cache = PrefixCache.standard()
    cache.store(KEY, clip())
    assert cache.load(KEY, 4) is None


def refused(*_, **__) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_cache_that_may_only_be_read_is_used(cache, monkeypatch):
    cache.store(KEY, clip())
    monkeypatch.setattr(os, "utime", refused)
    assert np.array_equal(cache.load(KEY, 4), clip())


def test_what_may_not_be_deleted_stays_and_only_the_command_says_so(cache, monkeypatch):
    for key in (KEY, "cd" + "0" * 62):
        cache.store(key, clip())
    monkeypatch.setattr(Path, "unlink", refused)
    assert cache.load(KEY, 2) is None
    PrefixCache(cache.folder, limit=0).trim()
    assert len(cache.clear()) == cache.info().recordings == 2
    with pytest.raises(DataError, match=r"\.npy cannot be deleted \(and 1 more\)\..* by MOLEX_CACHE"):
        clear_cache()


def test_beside_what_may_not_be_deleted_as_much_goes_as_must(cache, monkeypatch):
    keys = [f"{number:02x}" + "0" * 62 for number in range(3)]
    for age, key in enumerate(keys):
        cache.store(key, clip(100))
        os.utime(cache._path(key), (age, age))
    plain = Path.unlink
    monkeypatch.setattr(
        Path, "unlink", lambda path, **how: refused() if path.stem == keys[0] else plain(path, **how)
    )
    cache.limit = 2 * cache.info().bytes // 3
    cache.trim()
    assert [cache.holds(key) for key in keys] == [True, False, True]


def test_many_writers_of_one_key_leave_it_whole(cache):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: (cache.store(KEY, clip(500)), cache.load(KEY, 4))[1], range(64)))
    assert all(np.array_equal(values, clip(500)) for values in found)
    assert cache.info().recordings == 1


@pytest.mark.parametrize("limit", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_size_is_refused(monkeypatch, limit):
    monkeypatch.setenv("MOLEX_CACHE_GIB", limit)
    with pytest.raises(RecipeError, match=r"MOLEX_CACHE_GIB='.*' is not a size"):
        PrefixCache.standard()


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_extraction_computes_nothing_and_is_the_same(
    cache, tiny_folder_of, tiny_recipe, recorded, tmp_path, monkeypatch, kind
):
    detector = Detector(load_base(tiny_folder_of(kind)), tiny_recipe())
    table = read(recorded(tmp_path / "data", bona_fide=4, buzz=3))
    first, _ = extract(detector, table)
    assert cache.info().recordings == len(first) == 7
    assert all(clip.any() for clip in first.clips)
    monkeypatch.setattr(module, "hear", lambda *_: pytest.fail("decoded again"))
    again, failed = extract(detector, table)
    assert failed == ()
    assert all(torch.equal(one, other) for one, other in zip(first.clips, again.clips, strict=True))
    assert (again.sources, again.attacks) == (first.sources, first.attacks)
    assert torch.equal(again.bona_fide, first.bona_fide)


def test_another_recording_or_window_is_another_entry_and_another_precision_is_not(cache, detector, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    keys = [
        cache.key(one, detector.base, 4.0),
        cache.key(other, detector.base, 4.0),
        cache.key(one, detector.base, 5.0),
    ]
    assert len(set(keys)) == 3
    detector.base.compute_in("bf16")
    assert cache.key(one, detector.base, 4.0) == keys[0]
    assert cache.key(tmp_path / "none", detector.base, 4.0) is None


def test_off_is_off(monkeypatch, detector, recorded, tmp_path):
    monkeypatch.setenv("MOLEX_CACHE", "off")
    cache = PrefixCache.standard()
    assert cache.folder is None
    assert cache.key(tmp_path, detector.base, 4.0) is None
    cache.clear()
    assert cache.info().recordings == 0
    assert len(extract(detector, read(recorded(tmp_path / "data", bona_fide=2, buzz=2)))[0]) == 4


def test_the_commands_show_and_delete(cache):
    cache.store(KEY, clip())
    run = CliRunner().invoke
    shown = json.loads(run(program(), ["cache", "info", "--json"]).stdout)
    assert shown == {
        "folder": str(cache.folder),
        "recordings": 1,
        "bytes": shown["bytes"],
        "limit": 20 * 2**30,
        "packed": 0,
        "packed_bytes": 0,
    }
    packed = cache_root() / "experts" / f"{KEY}.safetensors"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(b"1234")
    assert json.loads(run(program(), ["cache", "info", "--json"]).stdout)["packed_bytes"] == 4
    assert "MiB of at most 20.0 GiB" in run(program(), ["cache", "info"]).stdout
    assert json.loads(run(program(), ["cache", "clear", "--json"]).stdout)["recordings"] == 1
    assert cache.info().recordings == 0 and not packed.exists()


def test_a_run_may_name_a_cache_of_its_own_or_none(cache, detector, recorded, tmp_path):
    table, own = read(recorded(tmp_path / "data", bona_fide=2, buzz=2)), tmp_path / "own"
    assert len(extract(detector, table, Run(cache="off"))[0]) == 4
    assert len(extract(detector, table, Run(cache=own))[0]) == 4
    assert PrefixCache.standard(own).info().recordings == 4
    assert cache.info().recordings == 0


@pytest.mark.parametrize("resident", [True, False])
def test_pooled_states_are_computed_once_whatever_else_is_missing(
    cache, tiny_folder_of, tiny_recipe, recorded, tmp_path, monkeypatch, resident
):
    detector = Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}))
    table = read(recorded(tmp_path / "data", bona_fide=4, buzz=3))
    one, _ = extract(detector, table.select(label="spoof"), resident=resident, states=True)
    first, _ = extract(detector, table, resident=resident, states=True)
    assert first.states.shape == (7, detector.pooled_width) and first.states.isfinite().all()
    assert torch.equal(one.states, first.states[~first.bona_fide])
    together = states_of(detector, first)  # in one batch
    torch.testing.assert_close(first.states, together, atol=2e-3, rtol=2e-3)
    alone, _ = extract(detector, table, Run(cache="off"), states=True)
    assert torch.equal(alone.states, first.states)
    assert extract(detector, table, resident=resident)[0].states is None
    monkeypatch.setattr(Detector, "pooled_states", lambda *_: pytest.fail("computed again"))
    again, _ = extract(detector, table, resident=resident, states=True)
    assert torch.equal(again.states, first.states)
    assert cache.info().recordings == 7
    monkeypatch.undo()
    monkeypatch.setenv("MOLEX_CACHE", str(cache.folder.parent))
    detector.base.compute_in("bf16")
    assert not torch.equal(extract(detector, table, states=True)[0].states, first.states)
    # Whatever is kept of a recording goes when the cache is cleared, and counts towards its limit.
    kept = list(cache.folder.rglob("*.npy"))
    assert len(kept) == 4 * 7 and cache.info().bytes == sum(path.stat().st_size for path in kept)
    assert cache.clear() == [] and not list(cache.folder.rglob("*.npy"))


def test_without_a_readout_no_states_are_computed(cache, detector, recorded, tmp_path):
    table = read(recorded(tmp_path / "data", bona_fide=2, buzz=2))
    assert extract(detector, table, states=True)[0].states is None
    assert len(list(cache.folder.rglob("*.npy"))) == 4


def test_what_another_process_deletes_meanwhile_is_not_counted(cache, monkeypatch, tmp_path):
    there = tmp_path / "there"
    there.write_bytes(b"four")
    monkeypatch.setattr(prefix_cache, "packed_files", lambda: [tmp_path / "gone", there])
    report = prefix_cache.cache_report()
    assert (report.packed, report.packed_bytes) == (1, 4)
