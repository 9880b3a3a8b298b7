"""The catalogue of speech, and copies by programs of libopus."""

import csv
import sys

import numpy as np
import pytest

from molex_adapt.data import read
from molex_adapt.errors import DataError
from tools.wideband.catalogue import LICENCES, table, write
from tools.wideband.corpus import Stretch, write_speech
from tools.wideband.games import GAMES
from tools.wideband.opus import Dred, Fargan
from tools.wideband.spectra import RATE
from tools.wideband.speech import SOURCES


def hum(seconds, pitch, highest):
    time = np.arange(int(seconds * RATE)) / RATE
    partials = range(1, int(highest / pitch) + 1)
    wave = sum(np.sin(2 * np.pi * pitch * number * time + number) for number in partials)
    return (3000 * wave / len(partials) ** 0.5).astype(np.int16)


def test_the_catalogue_says_what_the_speech_is_and_writes_a_manifest_that_reads(tmp_path):
    pieces = [
        (hum(1.0, 110, 7900), Stretch("a", "train", 0, 0, "cs", package="festvox-ru", source="x.wav")),
        (hum(2.0, 130, 3200), Stretch("b", "test", 0, 0, "ru", package="klettres-data", source="y.ogg")),
    ]
    write_speech(tmp_path / "speech", pieces)
    items = write([tmp_path / "speech"], tmp_path / "out")
    assert items[0].band > 7500
    assert abs(items[1].band - 3250) < 300
    lines = list(table(items))
    assert lines[1].split()[:2] == ["festvox-ru", "BSD-like"]
    assert "test: 1 utterances, 1 voices, 1 languages" in lines[-1]
    found = list(read(tmp_path / "out" / "real.csv"))
    assert [(item.speaker, item.source, item.split) for item in found] == [
        ("a", "x.wav", "train"),
        ("b", "y.ogg", "test"),
    ]
    with (tmp_path / "out" / "real.csv").open() as file:
        assert [row["package"] for row in csv.DictReader(file)] == ["festvox-ru", "klettres-data"]


def test_every_package_has_its_licence():
    assert set(LICENCES) == {*SOURCES, *GAMES}


FARGAN = f"""#!{sys.executable}
import sys
_, what, source, target = sys.argv
sound = open(source, "rb").read()
open(target, "wb").write(sound if what == "-features" else b"\\0\\0" * (240 - 800) + b"\\0\\0" * 240 + sound)
"""
DRED = f"""#!{sys.executable}
import sys
sys.stdout.buffer.write(b"\\0\\0" * 112 + sys.stdin.buffer.read())
"""


def program(folder, name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("vocoder", "text", "early"), [(Fargan, FARGAN, 800), (Dred, DRED, 0)])
def test_a_copy_is_in_time_with_its_recording(tmp_path, vocoder, text, early):
    wave = hum(0.5, 100, 4000).astype(np.float32) / 32768
    copy = vocoder(program(tmp_path, "program", text))(wave)
    assert copy.shape == wave.shape
    assert np.allclose(copy[early:], wave[: wave.size - early], atol=1e-4)


def test_a_vocoder_that_is_missing_or_fails_is_named(tmp_path):
    with pytest.raises(DataError, match="no-such"):
        Fargan(tmp_path / "no-such")(np.zeros(1000, np.float32))
    broken = program(tmp_path, "broken", f"#!{sys.executable}\nraise SystemExit('out of order')\n")
    with pytest.raises(DataError, match=r"out of order.*README"):
        Dred(broken)(np.zeros(1000, np.float32))
