from __future__ import annotations

import subprocess
import sys

import pytest

from molex_adapt.data import read, write_manifest
from molex_adapt.errors import DataError


def test_a_manifest_in_the_folder_goes_before_its_class_folders(tree):
    write_manifest(read(tree).select(attack="world"), tree / "manifest.tsv")
    assert len(read(tree)) == 3
    write_manifest(read(tree), tree / "manifest.csv")
    with pytest.raises(DataError, match=r"several manifests \(manifest.csv, manifest.tsv\)"):
        read(tree)


def test_a_string_and_a_path_are_alike(tree):
    assert read(str(tree)).utterances == read(tree).utterances


def test_nothing_known_says_what_was_looked_for(tmp_path):
    with pytest.raises(
        DataError, match=r"found nothing; 0 audio files in all\). Looked for bonafide/ and spoof/"
    ):
        read(tmp_path)
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs/a.wav").touch()
    with pytest.raises(DataError, match=r"found wavs/; 1 audio files.*manifest\.csv.*ASVspoof5"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.wav", b"RIFF", "is one recording"),
        ("a.zip", b"PK\3\4", "neither a manifest .* unpack archives"),
        ("notes.txt", b"some words in a file\n", "neither a manifest"),
        ("b.bin", b"\xff\xfe\xfa" * 10, "neither a manifest"),
    ],
)
def test_files_of_another_kind(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["absent", "zero\0byte", "x" * 5_000])
def test_paths_that_are_not_there(name):
    with pytest.raises(DataError, match="does not exist"):
        read(name)


def test_keys_that_do_not_fit(tmp_path, tree):
    with pytest.raises(DataError, match="is not a file"):
        read(tree, key=tmp_path / "absent.csv")
    write_manifest(read(tree), tree / "m.csv")
    with pytest.raises(DataError, match="is not a folder"):
        read(tree / "m.csv", key=tree / "m.csv")


def test_importing_is_light():
    heavy = ["torch", "transformers", "scipy", "av", "soxr", "pyarrow", "pandas"]
    code = f"import sys, molex_adapt.data; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
