from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from molex_adapt.errors import RegistryError
from molex_adapt.registry.checkpoints import RunFolder
from molex_adapt.registry.layout import CHECKPOINTS

ORIGIN = {"command": "add-expert", "seed": "0", "recipe expert.steps": "300"}
TENSORS = {"trained.0": np.arange(6, dtype=np.float32).reshape(2, 3)}

HOLD = """
import sys
from pathlib import Path
from molex_adapt.registry.checkpoints import RunFolder

origin = {"command": "add-expert", "seed": "0", "recipe expert.steps": "300"}
with RunFolder.claim(Path(sys.argv[1]), origin, resume=False):
    print("held", flush=True)
    sys.stdin.read()
"""


def left(store, origin=ORIGIN, stage: str = "expert") -> RunFolder:
    """A run that was killed after it kept a stage."""
    with RunFolder.claim(store.path, origin, resume=False) as run:
        run.write(stage, TENSORS, {"step": 3})
    return run


def test_what_was_written_is_read_back(store):
    left(store)
    with RunFolder.claim(store.path, ORIGIN, resume=True) as run:
        tensors, state = run.read("expert")
        np.testing.assert_array_equal(tensors["trained.0"], TENSORS["trained.0"])
        assert (state, run.read("router")) == ({"step": 3}, None)
        run.write("expert", {"trained.0": TENSORS["trained.0"] + 1}, {"step": 4})
        assert len(list(run.folder.glob("*.safetensors"))) == 1
        run.finish()
    assert not (store.path / CHECKPOINTS).exists()


def test_without_resume_a_run_starts_anew(store):
    left(store)
    with RunFolder.claim(store.path, ORIGIN, resume=False) as run:
        assert run.read("expert") is None
        assert run.forgone == ["expert"]
    with RunFolder.claim(store.path, ORIGIN, resume=False) as run:
        assert run.forgone == []


def test_resuming_where_nothing_is_starts_from_the_beginning(store):
    with RunFolder.claim(store.path, ORIGIN, resume=True) as run:
        assert run.read("expert") is None


def test_the_checkpoints_of_another_run_are_refused(store):
    left(store)
    left(store, ORIGIN | {"seed": "5", "recipe expert.steps": "9", "command": "train"})
    with pytest.raises(RegistryError) as caught:
        RunFolder.claim(store.path, ORIGIN | {"seed": "1"}, resume=True)
    said = str(caught.value)
    assert "no checkpoint of this run" in said
    assert "seed: 0 there, 1 now" in said
    assert "steps" not in said and "without --resume" in said


def test_readers_and_writers_pass_them_by_and_repair_clears_them(store, make_expert, make_draft):
    run = left(store)
    assert store.verify() == []
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=True)
    store.remove("gsm")
    assert run.folder.exists()
    assert store.verify(repair=True) == []
    assert not (store.path / CHECKPOINTS).exists()


def test_a_run_that_is_alive_is_left_alone(store):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        for resume in (True, False):
            with pytest.raises(RegistryError, match="another process is training exactly this"):
                RunFolder.claim(store.path, ORIGIN, resume=resume)
        other = left(store, ORIGIN | {"seed": "1"})
        assert store.verify(repair=True) == []
        assert not other.folder.exists()
        (alive,) = (store.path / CHECKPOINTS).iterdir()
        process.communicate("")
    with RunFolder.claim(store.path, ORIGIN, resume=True) as run:
        assert run.folder == alive


@pytest.mark.parametrize("place", ["", "run"])
def test_links_are_not_followed(store, tmp_path, place):
    run = left(store)
    path = run.folder if place else run.folder.parent
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    before = sorted(outside.rglob("*"))
    with pytest.raises(RegistryError, match="is a link or a file"):
        RunFolder.claim(store.path, ORIGIN, resume=True)
    assert store.verify(repair=True) == []
    assert not path.is_symlink()
    assert sorted(outside.rglob("*")) == before


def test_a_registry_that_cannot_be_written_is_refused_before_training(store, monkeypatch):
    def refuse(*_given, **_more):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(RegistryError, match="cannot keep checkpoints: Read-only file system"):
        RunFolder.claim(store.path, ORIGIN, resume=False)
