from __future__ import annotations

import csv
import hashlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from molex_adapt.data.manifest import read_manifest
from molex_adapt.data.table import Failed, Table
from molex_adapt.errors import DataError
from molex_adapt.plain import load_yaml
from molex_adapt.progress import Silent
from molex_adapt.run import Run
from molex_adapt.simulate import Finish, make_attack, simulate, worker_pool
from molex_adapt.simulate.shaping import active_level
from molex_adapt.text import storable

FINISH = (Finish(),)


def run(
    table, out, name="lpc", params=None, conditions=FINISH, seed=1, workers=1, progress=Silent(), **options
):
    how = Run(seed=seed, workers=workers, progress=progress)
    return simulate(make_attack(name, params or {}), table, out, conditions=conditions, run=how, **options)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Two processes that tests share: each takes seconds to start."""
    with worker_pool(2) as pool:
        yield pool


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Listener:
    def __init__(self):
        self.events = []

    def start(self, label, total):
        self.events.append(("start", total))

    def advance(self, steps=1):
        self.events.append(("advance", steps))

    def note(self, text):
        self.events.append(("note", text))

    def stop(self):
        self.events.append(("stop", 0))


def test_both_classes_and_what_made_them_are_written(recordings, tmp_path):
    listener = Listener()
    done = run(recordings, tmp_path / "out", progress=listener)
    assert (done.made, done.failed, done.skipped) == (6, (), ())
    table = read_manifest(done.manifest)
    assert table.counts() == {"bonafide": 6, "spoof": 6}
    assert table.attacks == ["lpc"]
    by_source = {}
    for row in table:
        assert soundfile.info(row.path).samplerate == 16_000
        by_source.setdefault(row.source, []).append((row.label, row.speaker, row.text))
    assert all(len(rows) == 2 and len({row[1:] for row in rows}) == 1 for rows in by_source.values())
    assert (tmp_path / "out" / "spoof" / "lpc" / "speaker0" / "take0.flac").exists()
    record = yaml.safe_load((tmp_path / "out" / "simulate.yaml").read_text())
    assert (record["attack"], record["seed"], record["conditions"][0]["codec"]) == ("lpc", 1, "g722")
    assert listener.events == [("start", 6), *[("advance", 1)] * 6, ("stop", 0)]


def test_classes_leave_with_the_same_level_and_band(recordings, tmp_path):
    for row in read_manifest(run(recordings, tmp_path / "out", "griffin_lim").manifest):
        wave, _ = soundfile.read(row.path)
        assert active_level(wave) == pytest.approx(-26, abs=0.3)
        power = np.abs(np.fft.rfft(wave)) ** 2
        edge = int(3600 / 8000 * power.size)
        assert power[edge:].mean() < 1e-6 * power[:edge].mean()


def test_a_run_goes_on_where_the_name_of_the_speech_is_no_utf_8(recordings, tmp_path):
    speech = Table(recordings.utterances, str(tmp_path / os.fsdecode(b"b\xff")))
    for _ in range(2):
        assert run(speech, tmp_path / "out", limit=2).made == 2
    said = load_yaml((tmp_path / "out" / "simulate.yaml").read_text(encoding="utf-8"))["speech"]
    assert said == storable(speech.root)


def test_a_folder_whose_name_is_no_utf_8_is_filled(recordings, tmp_path):
    out = tmp_path / os.fsdecode(b"o\xff")
    assert run(recordings, out, limit=2).made == 2
    assert digests(out / "spoof") == digests(
        run(recordings, tmp_path / "plain", limit=2).manifest.parent / "spoof"
    )


@pytest.mark.parametrize("name", ["griffin_lim", "codec2", "espeak"])
def test_workers_order_and_limit_change_no_byte(recordings, tmp_path, pool, name):
    one = run(recordings, tmp_path / "one", name)
    turned = Table(tuple(reversed(recordings.utterances)), recordings.root)
    run(turned, tmp_path / "two", name, workers=2, pool=pool)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    run(recordings, tmp_path / "some", name, limit=3)
    some = digests(tmp_path / "some" / "spoof")
    assert len(some) == 3
    assert some.items() <= digests(tmp_path / "one" / "spoof").items()
    assert one.made == 6


def test_a_smaller_limit_is_a_subset_and_the_seed_decides(recordings, tmp_path):
    chosen = {}
    for limit, seed in ((2, 1), (4, 1), (2, 2), (2, 3)):
        out = tmp_path / f"{limit}-{seed}"
        run(recordings, out, "null", limit=limit, seed=seed)
        chosen[limit, seed] = set(digests(out / "spoof"))
    assert chosen[2, 1] < chosen[4, 1]
    assert len({frozenset(chosen[2, seed]) for seed in (1, 2, 3)}) > 1


def test_another_seed_gives_other_forgeries_of_the_same_bona_fide(recordings, tmp_path):
    run(recordings, tmp_path / "a", "griffin_lim", {"iterations": 2}, limit=None)
    run(recordings, tmp_path / "b", "griffin_lim", {"iterations": 2}, seed=2)
    a, b = digests(tmp_path / "a"), digests(tmp_path / "b")
    for path in (path for path in a if path.endswith(".flac")):
        assert (a[path] == b[path]) == path.startswith("bonafide/")


def test_a_second_run_makes_only_what_is_missing(recordings, tmp_path):
    out = tmp_path / "out"
    run(recordings, out)
    before = digests(out)
    lost, kept = out / "spoof/lpc/speaker0/take0.flac", out / "spoof/lpc/speaker1/take1.flac"
    lost.unlink()
    os.utime(kept, ns=(2**60 * 2, 2**60 * 2))
    assert run(recordings, out).made == 6
    assert digests(out) == before
    assert kept.stat().st_mtime_ns == 2**60 * 2


def test_a_changed_recording_is_made_again(recordings, tmp_path):
    out = tmp_path / "out"
    run(recordings, out)
    before = digests(out)
    first = recordings[0].path
    wave, rate = soundfile.read(first)
    soundfile.write(first, wave[::-1], rate)
    later = (out / "spoof/lpc/speaker0/take0.flac").stat().st_mtime + 5
    os.utime(first, (later, later))
    run(recordings, out)
    changed = {path for path, digest in digests(out).items() if digest != before[path]}
    assert changed == {"bonafide/speaker0/take0.flac", "spoof/lpc/speaker0/take0.flac"}


def test_speech_of_another_folder_with_the_same_names_is_refused(recordings, tmp_path):
    """Its copies would be called copies of the recordings that were there first."""
    out, other = tmp_path / "out", tmp_path / "other"
    run(recordings, out)
    before = digests(out)
    shutil.copytree(recordings.root, other)
    there = [replace(item, path=other / item.path.relative_to(recordings.root)) for item in recordings]
    moved = Table(tuple(there), str(other))
    assert run(moved, out).made == 6  # the same recordings
    record = (out / "simulate.yaml").read_text()
    wave, rate = soundfile.read(recordings[0].path)
    soundfile.write(recordings[0].path, wave[: wave.size // 2], rate)
    with pytest.raises(DataError, match="was made of the speech in .*copies of other recordings"):
        run(recordings, out)
    assert {path: digest for path, digest in digests(out).items() if path != "simulate.yaml"} == {
        path: digest for path, digest in before.items() if path != "simulate.yaml"
    }
    assert (out / "simulate.yaml").read_text() == record


def test_where_there_is_no_more_room_the_run_stops_and_no_broken_file_stays(recordings, tmp_path):
    """Soundfile would hide it, and a file that breaks off would count as made."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="File too large.*take"):
            run(recordings, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for path in (tmp_path / "out").rglob("*.flac"):  # those that fit
        soundfile.read(path)
    assert run(recordings, tmp_path / "out").made == 6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "griffin_lim"}, "attack"),
        ({"params": {"order": 12}}, "order"),
        ({"seed": 5}, "seed"),
        ({"conditions": (Finish(codec="none"),)}, "codec"),
        ({"conditions": ()}, "conditions"),
        ({"bona_fide": False}, "bona_fide"),
    ],
)
def test_other_parameters_in_a_used_folder_are_refused(recordings, tmp_path, change, told):
    run(recordings, tmp_path / "out")
    before = digests(tmp_path / "out")
    with pytest.raises(DataError, match=told):
        run(recordings, tmp_path / "out", **change)
    assert digests(tmp_path / "out") == before


def test_a_folder_of_something_else_and_a_file_are_refused(recordings, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    with pytest.raises(DataError, match="not empty"):
        run(recordings, tmp_path / "mine")
    with pytest.raises(DataError, match="is a file"):
        run(recordings, tmp_path / "mine" / "thesis.txt")
    assert digests(tmp_path / "mine").keys() == {"thesis.txt"}


@pytest.mark.parametrize("place", ["", "new", ".."])
def test_what_is_made_lies_apart_from_what_is_read(recordings, tmp_path, place):
    speech = Path(recordings.root)
    before = digests(speech)
    with pytest.raises(DataError, match="which is read. Choose a folder apart"):
        run(recordings, speech / place)
    assert digests(speech) == before


def test_a_list_that_is_none_is_found_before_anything_is_made(recordings, tmp_path):
    run(recordings, tmp_path / "out")
    (tmp_path / "out" / "manifest.csv").write_text("my notes")
    before = digests(tmp_path / "out")
    with pytest.raises(DataError, match="manifest.csv is there already and is a text"):
        run(recordings, tmp_path / "out")
    assert digests(tmp_path / "out") == before


def test_a_damaged_record_is_refused(recordings, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for content in ("[1, 2", "- list"):
        (out / "simulate.yaml").write_text(content)
        with pytest.raises(DataError, match=r"simulate\.yaml"):
            run(recordings, out)


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_recordings_are_counted_not_fatal(recordings, tmp_path, workers):
    silent, broken, gone = (tmp_path / f"{name}.wav" for name in ("silent", "broken", "gone"))
    soundfile.write(silent, np.zeros(16_000), 16_000)
    broken.write_bytes(b"RIFF nonsense")
    bad = tuple(replace(recordings[0], path=path, source=path.stem) for path in (silent, broken, gone))
    done = run(Table(recordings.utterances[:2] + bad, "mixed"), tmp_path / "out", workers=workers)
    assert done.made == 2
    assert {Path(item.path).stem for item in done.failed} == {"silent", "broken", "gone"}
    assert all(item.reason for item in done.failed)
    assert len(read_manifest(done.manifest)) == 4
    assert not list((tmp_path / "out").rglob(".staging-*"))


def test_what_a_folder_lost_is_counted(recordings, tmp_path):
    lost = (Failed("words.wav", "no audio"), Failed("brief.wav", "too short", by_rule=True))
    done = run(replace(recordings, left_out=lost), tmp_path / "out")
    assert (done.failed, done.skipped) == (lost[:1], lost[1:])


def test_nothing_usable_is_an_error(recordings, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    silent = replace(recordings[0], path=tmp_path / "silent.wav")
    with pytest.raises(DataError, match="failed on all 1"):
        run(Table((silent,), "x"), tmp_path / "a")
    spoofed = replace(recordings[0], label="spoof", attack="A01")
    with pytest.raises(DataError, match="no bona fide"):
        run(Table((spoofed,), "x"), tmp_path / "b")
    with pytest.raises(DataError, match="limit 0"):
        run(recordings, tmp_path / "c", limit=0)


def test_speech_without_transcripts_cannot_be_spoken(recordings, tmp_path):
    silent = tuple(replace(row, text=None) for row in recordings)
    with pytest.raises(DataError, match="transcript"):
        run(Table(silent, "x"), tmp_path / "a", "espeak")
    done = run(Table(silent[:4] + recordings.utterances[4:], "x"), tmp_path / "b", "espeak")
    assert (done.made, len(done.skipped)) == (2, 4)


def test_the_bona_fide_class_can_be_left_out(recordings, tmp_path):
    done = run(recordings, tmp_path / "out", bona_fide=False)
    assert not (tmp_path / "out" / "bonafide").exists()
    assert read_manifest(done.manifest).counts() == {"bonafide": 0, "spoof": 6}


def test_copies_of_one_source_get_files_of_their_own(recordings, tmp_path):
    first, second = recordings.utterances[:2]
    done = run(Table((first, replace(second, source=first.source)), "x"), tmp_path / "out")
    table = read_manifest(done.manifest)
    assert len({row.path for row in table}) == 4
    assert {row.source for row in table} == {first.source}


def test_sources_cannot_lead_out_of_the_folder(recordings, tmp_path):
    row = replace(recordings[0], source="../../escape/C:\\we ird\n*")
    run(Table((row,), "x"), tmp_path / "deep" / "out")
    assert not (tmp_path / "escape").exists()
    assert len(list((tmp_path / "deep" / "out" / "spoof").rglob("*.flac"))) == 1


def test_the_manifest_moves_with_its_folder(recordings, tmp_path):
    manifest = run(recordings, tmp_path / "out").manifest
    with manifest.open(newline="") as lines:
        assert all(not Path(row["path"]).is_absolute() for row in csv.DictReader(lines))
    (tmp_path / "out").rename(tmp_path / "moved")
    assert all(row.path.exists() for row in read_manifest(tmp_path / "moved" / "manifest.csv"))


def test_workers_import_no_torch_and_little_else_at_first():
    heavy = "('torch', 'transformers', 'scipy', 'av', 'pyworld', 'parselmouth', 'onnxruntime')"
    code = f"import sys, molex_adapt.simulate; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_attacks_that_share_processes_make_the_same_files(recordings, tmp_path, pool):
    for name in ("lpc", "null"):
        run(recordings, tmp_path / "shared" / name, name, pool=pool)
    for name in ("lpc", "null"):
        run(recordings, tmp_path / "alone" / name, name)
        shared, alone = (digests(tmp_path / way / name / "spoof") for way in ("shared", "alone"))
        assert shared == alone
        assert len(shared) == 6
