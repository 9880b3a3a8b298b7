from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import soundfile

from molex_adapt.errors import DataError
from molex_adapt.simulate import prompts
from molex_adapt.simulate.speech import language_of


def write(path: Path, seconds: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".g722":
        path.write_bytes(b"\x55" * round(8000 * seconds))
    else:
        soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(round(16_000 * seconds)), 16_000)


@pytest.fixture
def telephone(tmp_path: Path) -> Path:
    root = tmp_path / "sounds"
    for name in ("hello", "digits/1", "beep", "silence/2", "letters/at", "vm-intro", "untold"):
        write(root / "en_US_f_Allison" / f"{name}.g722")
    write(root / "en_US_f_Allison" / "short.g722", 0.5)
    write(root / "es_MX_f_Allison" / "hola.g722")
    write(root / "fr_CA_f_June" / "bonjour.g722")
    (root / "en").symlink_to(root / "en_US_f_Allison")
    (root / "en_US_f_Allison" / "again.g722").symlink_to(root / "en_US_f_Allison" / "hello.g722")
    doc = tmp_path / "doc" / "asterisk-core-sounds-en"
    doc.mkdir(parents=True)
    lines = [
        "\ufeff; a remark: really",
        "",
        "hello: Hello: there  (friendly).",
        "digits/1: one",
        "beep: [this is a tone]",
        "letters/at: at [@]",
        "short: too short",
        "silence/2: (2 seconds of silence)",
        "vm-intro: Wait. (simple tone sound plays)",
    ]
    with gzip.open(doc / "core-sounds-en.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines))
    return root


def test_a_link_to_another_place_is_followed_and_one_in_a_circle_ends(tmp_path):
    write(tmp_path / "elsewhere" / "ann" / "hello.wav")
    folder = tmp_path / "voices"
    folder.mkdir()
    (folder / "ann").symlink_to(tmp_path / "elsewhere" / "ann")
    (tmp_path / "elsewhere" / "ann" / "back").symlink_to(folder)
    (folder / "one.wav").symlink_to(tmp_path / "elsewhere" / "ann" / "hello.wav")
    assert [(row.source, row.speaker) for row in prompts(folder)] == [("ann/hello", "ann")]


def test_telephone_prompts_are_recognised(telephone):
    table = prompts(telephone, transcripts=telephone.parent / "doc")
    texts = {row.source: row.text for row in table}
    assert texts == {
        "en_US_f_Allison/hello": "Hello: there .",
        "en_US_f_Allison/digits/1": "one",
        "en_US_f_Allison/letters/at": "at",
        "en_US_f_Allison/untold": None,
        "es_MX_f_Allison/hola": None,
        "fr_CA_f_June/bonjour": None,
    }
    assert {row.speaker for row in table} == {"allison", "june"}
    assert {language_of(row) for row in table} == {"en-US", "es-MX", "fr-CA"}
    assert all(row.label == "bonafide" for row in table)


def test_any_folder_of_audio_works(tmp_path):
    for name in ("alone.wav", "anna/one.flac", "anna/deep/two.wav", "ben/one.ogg"):
        write(tmp_path / name)
    write(tmp_path / "ben" / "brief.wav", 0.3)
    (tmp_path / "ben" / "notes.txt").write_text("words")
    (tmp_path / "ben" / "broken.wav").write_bytes(b"RIFF....")
    (tmp_path / "ben" / ".hidden").touch()
    (tmp_path / "alone.wav").rename(tmp_path / "alone")  # known by how it begins
    speech = prompts(tmp_path)
    found = {row.source: row.speaker for row in speech}
    assert found == {"alone": None, "anna/one": "anna", "anna/deep/two": "anna", "ben/one": "ben"}
    assert speech.passed_over == (str(tmp_path / "ben" / "notes.txt"),)
    assert "ben/brief" in {row.source for row in prompts(tmp_path, min_seconds=0.2)}


def test_what_is_left_out_is_named(tmp_path, telephone):
    write(tmp_path / "calls" / "long.wav")
    write(tmp_path / "calls" / "brief.wav", 0.3)
    (tmp_path / "calls" / "empty.wav").touch()
    (tmp_path / "calls" / "empty.g722").touch()
    (tmp_path / "calls" / "words.wav").write_text("words")
    found = {Path(item.path).name: item for item in prompts(tmp_path / "calls").left_out}
    assert found.keys() == {"brief.wav", "empty.wav", "empty.g722", "words.wav"}
    assert {name for name, item in found.items() if item.by_rule} == {"brief.wav"}
    assert found["brief.wav"].reason == "too short: 0.30 s, at least 0.7 s are needed"
    left_out = prompts(telephone, transcripts=telephone.parent / "doc").left_out
    assert {Path(item.path).stem for item in left_out} == {"beep", "2", "short", "vm-intro"}
    assert all(item.by_rule for item in left_out)


def test_languages_are_known_only_from_prompt_folders(tmp_path):
    write(tmp_path / "de" / "satz.wav")
    assert language_of(prompts(tmp_path)[0]) is None


def test_no_folder_and_no_speech_are_told(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        prompts(tmp_path / "nowhere")
    write(tmp_path / "brief.wav", 0.2)
    with pytest.raises(DataError, match=r"no speech of at least 0\.7 s among its 1"):
        prompts(tmp_path)
