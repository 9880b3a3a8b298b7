from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molex_adapt.data import Audit, Table, Utterance, audit, read
from molex_adapt.errors import DataError
from molex_adapt.run import Run

module = sys.modules["molex_adapt.data.audit"]


class Listener:
    def __init__(self) -> None:
        self.total, self.steps, self.notes, self.stopped = 0, 0, [], False

    def start(self, label: str, total: int) -> None:
        self.total = total

    def advance(self, steps: int = 1) -> None:
        self.steps += steps

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stop(self) -> None:
        self.stopped = True


def _reasons(found: Audit) -> dict[str, str]:
    return {Path(item.path).name: item.reason for item in found.failed}


def test_good_recordings_get_their_seconds(tree):
    listener = Listener()
    found = audit(read(tree), Run(progress=listener))
    assert len(found.table) == 9 and not found.failed and not found.remarks
    assert [item.seconds for item in found.table] == [0.6] * 9
    assert (listener.total, listener.steps, listener.stopped) == (9, 9, True)


def test_everything_unusable_is_left_out_by_name(tree, voice, write):
    bad = tree / "bonafide"
    write(bad / "silent.wav", np.zeros(16_000, np.float32))
    write(bad / "quiet.wav", voice() * 1e-4)
    click = np.full(16_000, 1e-5, np.float32)
    click[::5_000] = 0.002
    write(bad / "click.wav", click, subtype="FLOAT")
    write(bad / "hum.wav", np.tile([9e-4, -9e-4], 8_000).astype(np.float32), subtype="FLOAT")
    write(bad / "short.wav", voice(0.3))
    write(bad / "one.wav", np.full(1, 0.5, np.float32))
    write(bad / "nan.wav", np.full(16_000, np.nan, np.float32), subtype="FLOAT")
    write(bad / "copy.flac", voice(0.6, seed=0))
    (bad / "0.wav").unlink()
    write(bad / "0.flac", voice(0.6, seed=0))
    (bad / "empty.wav").touch()
    (bad / "text.mp3").write_text("no audio")
    (bad / "folder.wav").mkdir()
    (bad / "dangling.wav").symlink_to(tree / "absent.wav")
    table = read(tree)
    table = table.with_utterances((*table, replace(table[0], path=bad / "folder.wav")))
    found = audit(table)
    reasons = _reasons(found)
    expected = {
        "silent.wav": "digital silence: every sample is 0",
        "quiet.wav": "silent: peak",
        "click.wav": "silent: peak -54 dB, RMS -90 dB",
        "hum.wav": "silent: peak -61 dB, RMS -61 dB",
        "short.wav": "too short: 0.30 s, at least 0.5 s",
        "one.wav": "too short: 0.00 s",
        "nan.wav": "has samples that are NaN or infinite",
        "copy.flac": f"the same audio as {bad / '0.flac'}, which is kept",
        "empty.wav": "is empty (0 bytes)",
        "text.mp3": "cannot be decoded",
        "folder.wav": "is a folder",
        "dangling.wav": "not found",
    }
    assert reasons.keys() == expected.keys()
    for name, start in expected.items():
        assert reasons[name].startswith(start), (name, reasons[name])
    assert len(found.table) == 9 and len(found.table) + len(found.failed) == len(table)


def test_the_shortest_length_can_be_chosen(tree):
    assert len(audit(read(tree), min_seconds=0.61).failed) == 9


def test_the_same_audio_under_both_labels_is_an_error(tree):
    copied = tree / "spoof/world/copied.wav"
    copied.write_bytes((tree / "bonafide/1.wav").read_bytes())
    with pytest.raises(DataError) as caught:
        audit(read(tree))
    assert str(tree / "bonafide/1.wav") in str(caught.value) and str(copied) in str(caught.value)


def test_the_null_control_may_equal_bona_fide_speech(tree):
    (tree / "spoof/null").mkdir()
    for index in range(3):
        (tree / f"spoof/null/{index}.wav").write_bytes((tree / f"bonafide/{index}.wav").read_bytes())
    (tree / "spoof/null/again.wav").write_bytes((tree / "bonafide/2.wav").read_bytes())
    found = audit(read(tree))
    assert len(found.table) == 12 and list(_reasons(found)) == ["again.wav"]


def test_a_lost_class_is_told_by_the_table(tree):
    for path in (tree / "bonafide").iterdir():
        path.write_bytes(b"")
    found = audit(read(tree))
    assert len(found.failed) == 3
    with pytest.raises(DataError, match="has no bonafide utterances"):
        found.table.require_both_classes("data")


def test_clipping_is_a_remark_by_class(tree, voice, write):
    write(tree / "spoof/opus/loud.wav", np.clip(voice() * 9, -1, 1))
    found = audit(read(tree))
    assert not found.failed
    assert found.remarks == (
        "clipped (0.1% of the samples or more at full scale): 0 of 3 bonafide, 1 of 7 spoof",
    )


def test_an_empty_table():
    assert audit(Table((), "nowhere")) == Audit(Table((), "nowhere"), ())


def _many(tree: Path, write, voice) -> Table:
    rows = [
        Utterance(write(tree / f"many/{index}.wav", voice(0.55, seed=index)), "bonafide", source=str(index))
        for index in range(70)
    ]
    return Table((*rows, Utterance(tree / "absent.wav", "spoof", "x", "y")), str(tree))


def test_processes_find_the_same(tree, write, voice):
    table = _many(tree, write, voice)
    listener = Listener()
    assert audit(table, Run(workers=2, progress=listener)) == audit(table, Run(workers=1))
    assert listener.steps == 71 and not listener.notes


def test_a_file_that_kills_its_process_is_left_out(tree, write, voice, monkeypatch):
    table = _many(tree, write, voice)
    monkeypatch.setattr(module, "process_pool", _fragile_pool)
    listener = Listener()
    found = audit(table, Run(workers=2, progress=listener))
    assert _reasons(found)["7.wav"] == "decoding it kills the process: the file is damaged"
    assert len(found.table) == 69 and listener.steps == 71
    assert listener.notes == ["A worker process died; the remaining files are checked one at a time."]


_real_examine = module._examine


def _fragile_pool(workers: int):
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # Forked, so that the children inherit the examination that dies.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"), initializer=_arm)


def _arm() -> None:
    def deadly(path: Path, min_seconds: float):
        if path.name == "7.wav":
            os._exit(11)
        return _real_examine(path, min_seconds)

    deadly.__module__, deadly.__qualname__ = module.__name__, "_examine"
    module._examine = deadly


def test_a_script_without_main_guard_still_gets_its_audit(tree, write, voice, tmp_path):
    _many(tree, write, voice)
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom molex_adapt import Run\n"
        "from molex_adapt.data import Table, Utterance, audit, find_audio\n"
        f"rows = [Utterance(path, 'bonafide') for path in find_audio(Path({str(tree / 'many')!r}))]\n"
        "print('usable', len(audit(Table(tuple(rows), ''), Run(workers=2)).table))\n"
    )
    here = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(here)},
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "usable 70"
