"""Where results may be written: what stands there decides, before any work."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from molex_adapt.errors import DataError
from molex_adapt.outputs import Kind, check_file, check_folder, held_names

NOTE = Kind("a note", lambda path: path.read_bytes().startswith(b"note"))
BOX = Kind("a box of notes", lambda path: (path / "mark").exists())

as_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("content", [None, b"", b"note 1"])
def test_a_free_place_and_a_file_of_the_same_kind_are_fine(tmp_path, content):
    if content is not None:
        (tmp_path / "out").write_bytes(content)
    before = everything(tmp_path)
    check_file(tmp_path / "out", NOTE)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"RIFF\x24\0\0\0WAVEfmt ", "a WAV recording of 16 bytes"),
        (b"fLaC\0", "a FLAC recording of 5 bytes"),
        (b"\0\0\0\x20ftypM4A ", "an MP4 file of 12 bytes"),
        (b"my diary\nday 1\n", "a text of 15 bytes that begins 'my diary'"),
        (b"\0\1\2", "a file of 3 bytes"),
        (b"\n\n", "a text of 2 bytes that begins ''"),
    ],
)
def test_a_file_of_another_kind_stays_and_is_named(tmp_path, content, says):
    path = tmp_path / "out"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        check_file(path, NOTE)
    assert f"{path} is there already and is {says}, not a note; it stays as it is. Name another" in str(
        caught.value
    )
    assert path.read_bytes() == content


def test_links_are_judged_by_what_they_lead_to(tmp_path):
    (tmp_path / "diary").write_text("my diary")
    (tmp_path / "link").symlink_to("diary")
    with pytest.raises(DataError, match="my diary"):
        check_file(tmp_path / "link", NOTE)
    (tmp_path / "free").symlink_to("not yet")
    check_file(tmp_path / "free", NOTE)
    (tmp_path / "lost").symlink_to("nowhere/note")
    with pytest.raises(DataError, match="nowhere is no folder"):
        check_file(tmp_path / "lost", NOTE)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (".", "is a folder; a note is a file"),
        ("none/out", "none is no folder. Choose another place, or make it"),
        ("file/out", "file is no folder"),
        ("a\tb", r"'.*a\\tb' has a control character in its name"),
        ("a\nb", r"a\\nb' has a control character"),
        ("a\0b", "control character"),
        ("a" * 300, "cannot be written .File name too long"),
    ],
)
def test_places_that_cannot_be_written_are_refused_at_once(tmp_path, name, says):
    (tmp_path / "file").write_text("note")
    with pytest.raises(DataError, match=says):
        check_file(tmp_path / name, NOTE)


def test_an_input_is_no_output_even_where_it_is_empty(tmp_path):
    (tmp_path / "in").write_bytes(b"")
    (tmp_path / "link").symlink_to("in")
    with pytest.raises(DataError, match="read and written at once"):
        check_file(tmp_path / "link", NOTE, [tmp_path / "gone", tmp_path / "in"])


def test_pipes_and_terminals_may_be_written_to_but_not_sockets(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    check_file(tmp_path / "pipe", NOTE)
    check_file("/dev/null", NOTE)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
        with pytest.raises(DataError, match="a device or socket"):
            check_file(tmp_path / "s", NOTE)


@as_user
def test_no_right_to_write(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(DataError, match="Permission denied.*choose another"):
        check_file(tmp_path / "locked" / "out", NOTE)
    with pytest.raises(DataError, match="Permission denied"):
        check_folder(tmp_path / "locked" / "out", BOX)
    (tmp_path / "kept").write_text("note")
    (tmp_path / "kept").chmod(0o400)
    with pytest.raises(DataError, match="may not be replaced"):
        check_file(tmp_path / "kept", NOTE)


def test_a_read_only_place_is_found_by_trying(tmp_path):
    """/proc lets nobody make files, not even root."""
    with pytest.raises(DataError, match="cannot be written"):
        check_file("/proc/self/out", NOTE)
    with pytest.raises(DataError, match="cannot be written"):
        check_folder("/proc/self/out", BOX)


@pytest.mark.parametrize("names", [None, [], ["mark", "a", "b"]])
def test_a_new_an_empty_and_a_like_folder_are_fine(tmp_path, names):
    path = tmp_path / "new" / "box" if names is None else tmp_path
    for name in names or []:
        (path / name).touch()
    before = everything(tmp_path)
    check_folder(path, BOX)
    assert everything(tmp_path) == before


def test_another_folder_stays_and_what_it_holds_is_named(tmp_path):
    for name in "abcd":
        (tmp_path / name).touch()
    with pytest.raises(
        DataError, match=r"is not empty .it holds a, b, c, \.\.\.. and is not a box of notes.*choose"
    ):
        check_folder(tmp_path, BOX)
    with pytest.raises(DataError, match="a is a file; expected a box of notes, or none yet"):
        check_folder(tmp_path / "a", BOX)
    with pytest.raises(DataError, match="a is a file. Choose"):
        check_folder(tmp_path / "a" / "box", BOX)


@pytest.mark.parametrize(
    ("out", "says"), [("speech", "is"), ("speech/new", "lies in"), ("", "holds"), ("link/new", "lies in")]
)
def test_a_folder_stands_apart_from_what_is_read(tmp_path, out, says):
    (tmp_path / "speech").mkdir()
    (tmp_path / "link").symlink_to("speech")
    with pytest.raises(DataError, match=f" {says} .*speech, which is read"):
        check_folder(tmp_path / out, BOX, [tmp_path / "speech"])


def test_a_folder_that_another_run_is_just_looking_at_is_empty(tmp_path):
    (tmp_path / ".staging-0123").touch()
    check_folder(tmp_path, BOX)


def test_a_kind_is_not_asked_about_what_another_run_writes_or_left(tmp_path):
    only_notes = Kind("a folder of notes", lambda path: held_names(path) <= {"note"})
    for name in ("note", ".staging-0123"):
        (tmp_path / name).touch()
    check_folder(tmp_path, only_notes)
    (tmp_path / "diary").touch()
    with pytest.raises(DataError, match="holds diary, note"):
        check_folder(tmp_path, only_notes)


def test_folders_that_would_be_made_above_have_names_that_can_be_read(tmp_path):
    there = tmp_path / "a\tb"
    there.mkdir()
    check_folder(there / "new", BOX)
    with pytest.raises(DataError, match="control character"):
        check_folder(tmp_path / "new\tone" / "deeper", BOX)
