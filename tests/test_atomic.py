from __future__ import annotations

import os
import shutil
import threading

import pytest

from molex_adapt.atomic import leftovers, publishing, put, replace_file, replacing, write_output


@pytest.fixture
def calls(monkeypatch):
    """What reaches the disk, in order: the inode of each fsync, and the name of each rename's target."""
    seen = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (seen.append(os.fstat(handle).st_ino), fsync(handle)))
    monkeypatch.setattr(
        os, "replace", lambda source, target: (seen.append(target.name), replace(source, target))
    )
    return seen


def write_half(path):
    with replacing(path) as staged:
        staged.write_bytes(b"half")
        raise ZeroDivisionError


def publish_half(target):
    with publishing(target) as staged:
        put(staged, "a", b"1")
        raise ZeroDivisionError


@pytest.mark.parametrize("old", [None, b"old"])
def test_an_error_while_writing_leaves_what_was_there_and_nothing_else(tmp_path, old):
    path = tmp_path / "scores.tsv"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert [(item.name, item.read_bytes()) for item in tmp_path.iterdir()] == (
        [] if old is None else [("scores.tsv", old)]
    )


def test_the_staged_file_stands_beside_its_target_and_has_its_suffix(tmp_path):
    with replacing(tmp_path / "picture.png") as staged:
        assert staged.parent == tmp_path
        assert staged.suffix == ".png"
        staged.write_bytes(b"picture")
        assert leftovers(tmp_path) == [staged]
    assert (tmp_path / "picture.png").read_bytes() == b"picture"
    assert leftovers(tmp_path) == []


def test_content_is_synced_before_the_rename_and_the_folder_after_it(tmp_path, calls):
    replace_file(tmp_path / "a", b"new")
    assert calls == [(tmp_path / "a").stat().st_ino, "a", tmp_path.stat().st_ino]


def test_what_can_be_made_again_is_renamed_but_not_synced(tmp_path, calls):
    with replacing(tmp_path / "a", durable=False) as staged:
        staged.write_bytes(b"new")
    assert calls == ["a"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "made"
    with pytest.raises(ZeroDivisionError):
        publish_half(target)
    assert list(tmp_path.iterdir()) == []
    with publishing(target) as staged:
        put(staged, "a", b"1")
        assert not target.exists()
    assert [item.name for item in target.iterdir()] == ["a"]


def folder_of(path, content):
    path.mkdir()
    put(path, "a", content)
    return path


def test_a_folder_in_place_of_another_is_whole_at_every_step(tmp_path, monkeypatch):
    target = folder_of(tmp_path / "made", b"old")
    seen = []

    def watched(call):
        def step(*arguments, **more):
            seen.append({path.read_bytes() for path in tmp_path.glob("*/a")})
            return call(*arguments, **more)

        return step

    monkeypatch.setattr(os, "replace", watched(os.replace))
    monkeypatch.setattr(shutil, "rmtree", watched(shutil.rmtree))
    with publishing(target, replace=True) as staged:
        put(staged, "a", b"new")
    assert seen[:3] == [{b"old", b"new"}] * 3
    assert [path.read_bytes() for path in tmp_path.glob("*/a")] == [b"new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    target = folder_of(tmp_path / "made", b"old")
    replace = os.replace

    def refused(source, place):
        if place == target and (source / "a").read_bytes() == b"new":
            raise OSError("no room")
        replace(source, place)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OSError, match="no room"), publishing(target, replace=True) as staged:
        put(staged, "a", b"new")
    assert list(tmp_path.iterdir()) == [target] and (target / "a").read_bytes() == b"old"


def test_an_output_goes_through_a_link(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/scores.tsv").write_text("old")
    (tmp_path / "latest.tsv").symlink_to("results/scores.tsv")
    write_output(tmp_path / "latest.tsv", "bona fide – spoof\n")
    assert (tmp_path / "latest.tsv").is_symlink()
    assert (tmp_path / "results/scores.tsv").read_bytes() == "bona fide – spoof\n".encode()


def test_an_output_goes_into_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_output(tmp_path / "pipe", b"scores")
    reader.join(10)
    assert read == [b"scores"]
    assert (tmp_path / "pipe").is_fifo()


def test_an_output_never_replaces_a_folder(tmp_path):
    with pytest.raises(IsADirectoryError):
        write_output(tmp_path, "scores")
    assert list(tmp_path.iterdir()) == []
