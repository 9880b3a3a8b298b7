from __future__ import annotations

import os
from pathlib import Path

import pytest

from molex_adapt.data import audit, find_audio, read
from molex_adapt.data.folder import read_folder
from molex_adapt.errors import DataError


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_classes_attacks_and_sources(tmp_path):
    _touch(
        tmp_path / "bonafide/a.wav",
        tmp_path / "bonafide/en/b.flac",
        tmp_path / "spoof/world/a.wav",
        tmp_path / "spoof/world/en/b.mp3",
        tmp_path / "spoof/loose.wav",
        tmp_path / "spoof/world/notes.txt",
        tmp_path / "spoof/.hidden.wav",
        tmp_path / "spoof/.git/c.wav",
    )
    rows = [(item.path.name, item.label, item.attack, item.source) for item in read(tmp_path)]
    assert rows == [
        ("a.wav", "bonafide", None, "a"),
        ("b.flac", "bonafide", None, "en/b"),
        ("loose.wav", "spoof", "spoof", "loose"),
        ("a.wav", "spoof", "world", "a"),
        ("b.mp3", "spoof", "world", "en/b"),
    ]


@pytest.mark.parametrize(
    ("bona_fide", "spoof"),
    [("Real", "FAKE"), ("bona-fide", "Deepfake"), ("bona fide", "AI"), ("human", "spoof")],
)
def test_spellings_of_class_folders(tmp_path, bona_fide, spoof):
    _touch(tmp_path / bona_fide / "a.wav", tmp_path / spoof / "x/a.wav")
    assert read(tmp_path).counts() == {"bonafide": 1, "spoof": 1}


def test_a_class_folder_inside_another_class_is_an_attack_or_a_part_of_the_source(tmp_path):
    _touch(tmp_path / "bonafide/fake/a.wav", tmp_path / "spoof/real/a.wav")
    assert [(item.label, item.attack, item.source) for item in read(tmp_path)] == [
        ("bonafide", None, "fake/a"),
        ("spoof", "real", "a"),
    ]


@pytest.mark.parametrize("name", ["spooof", "bonafied", "fakes", "Genuin"])
def test_a_misspelt_class_folder_is_an_error_and_not_passed_over(tmp_path, name):
    _touch(tmp_path / "bonafide/a.wav", tmp_path / "spoof/a.wav", tmp_path / name / "b.wav")
    with pytest.raises(DataError, match=f"'{name}' names no class, but nearly"):
        read(tmp_path)


def test_one_class_alone_is_read_unless_the_other_hides_under_another_name(tmp_path):
    _touch(tmp_path / "bonafide/a.wav")
    (tmp_path / "docs").mkdir()
    assert read(tmp_path).counts() == {"bonafide": 1, "spoof": 0}
    _touch(tmp_path / "vocoded/a.wav")
    with pytest.raises(DataError, match="no spoof folder, and audio in vocoded"):
        read(tmp_path)


def test_other_folders_beside_both_classes_do_no_harm(tmp_path):
    _touch(tmp_path / "bonafide/a.wav", tmp_path / "spoof/a.wav", tmp_path / "raw/a.wav")
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize("name", ["a", "a.bin", "a.mpeg", "a.wav.part", "1.5"])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "au", "caf"])
def test_recordings_are_found_by_content_whatever_their_names(tmp_path, voice, write, name, suffix):
    (tmp_path / "bonafide").mkdir()
    write(tmp_path / f"x.{suffix}", voice()).rename(tmp_path / "bonafide" / name)
    table = read(tmp_path)
    assert [item.path.name for item in table] == [name] and table.passed_over == ()


def test_every_file_that_is_not_read_is_named(tmp_path, voice, write):
    for seed, folder in enumerate(("bonafide", "spoof/x", "backup")):
        write(tmp_path / folder / "a.wav", voice(seed=seed))
    (tmp_path / "spoof/x/readme.txt").write_text("no audio")
    (tmp_path / "bonafide/picture.webp").write_bytes(b"RIFF\0\0\0\0WEBP")
    (tmp_path / "bonafide/.DS_Store").write_bytes(b"x")
    table = read(tmp_path)
    named = ["backup", "bonafide/picture.webp", "spoof/x/readme.txt"]
    assert table.passed_over == tuple(str(tmp_path / name) for name in named)
    (line,) = audit(table).remarks
    assert "not read: 3" in line and "readme.txt" in line
    assert table.select(label="spoof").passed_over == table.passed_over


def test_class_folders_without_audio(tmp_path):
    _touch(tmp_path / "bonafide/a.txt", tmp_path / "spoof/b.txt")
    with pytest.raises(DataError, match=r"no audio found \(looked in bonafide/, spoof/; found 2 x .txt\)"):
        read(tmp_path)


def test_a_circle_of_links_ends(tmp_path):
    _touch(tmp_path / "bonafide/a.wav", tmp_path / "elsewhere/b.wav")
    (tmp_path / "bonafide/loop").symlink_to(tmp_path / "bonafide")
    (tmp_path / "bonafide/link").symlink_to(tmp_path / "elsewhere")
    names = [path.name for path in find_audio(tmp_path / "bonafide")]
    assert names == ["a.wav", "b.wav"]


def test_order_does_not_depend_on_the_file_system(tmp_path):
    _touch(*(tmp_path / f"bonafide/{name}.wav" for name in ("b", "a", "C")), tmp_path / "spoof/x.wav")
    paths = [item.path for item in read_folder(tmp_path)]
    assert paths == sorted(paths[:3]) + paths[3:]


def test_a_pipe_in_a_folder_is_passed_over_and_not_waited_for(recorded, tmp_path):
    data = recorded(tmp_path / "data", bona_fide=2, buzz=2)
    os.mkfifo(data / "spoof" / "buzz" / "pipe")
    assert len(read(data)) == 4


def test_an_attack_whose_folder_is_no_utf_8_has_a_name_that_can_be_stored(tmp_path, voice, write):
    write(tmp_path / "bonafide" / "a.wav", voice())
    write(tmp_path / "spoof" / "x" / "a.wav", voice())
    (tmp_path / "spoof" / "x").rename(tmp_path / "spoof" / os.fsdecode(b"a\xfe"))
    table = read_folder(tmp_path)
    assert [item.attack for item in table] == [None, "a\\udcfe"]
    assert all(item.path.is_file() for item in table)
