"""Read the speech of games in Debian packages: what an actor says, file by file, at 16 kHz.

`beneath-a-steel-sky` keeps it in one file with an index, `drascula` in raw files, `hedgewars-data` in Ogg Vorbis.
`is_plain` tells a voice as people speak from whispers, growls, robots and music. Shapes: T samples at 16 kHz, F frames
of 10 ms.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from molex_adapt.errors import DataError
from tools.wideband import rnc
from tools.wideband.spectra import RATE

SKY, DRASCULA, HEDGEWARS = "beneath-a-steel-sky", "drascula", "hedgewars-data"
GAMES = {
    SKY: r"/sky\.dnr$",
    DRASCULA: r"/en/(?!S\d+\.)[^/]+\.ALS$",  # S and a number are noises
    HEDGEWARS: r"/Sounds/voices/[^/]+/[^/]+\.ogg$",
}
"""Package, and the pattern of its speech files' paths; the index stands for the speech of `beneath-a-steel-sky`."""

LANGUAGES = {
    "Default_es": "es",
    "Default_pl": "pl",
    "Default_ru": "ru",
    "Default_uk": "uk",
    "Russian_pl": "pl",
}
"""Of Hedgewars' folders; the others are English."""
ACTED = ("British", "Classic", "Default", "HillBilly", "Mobster", "Pirate", "Russian", "Surfer")
"""Hedgewars' folders that are one person's."""
PROCESSED = ("Robot", "Singer")
"""Hedgewars' folders that are not speech as it was spoken."""

GAME_RATE = 11_025
SKY_HEADER = 22
"""Bytes before the samples of a file in sky.dsk, or before what RNC packed."""
SKY_SPEECH = range(50_000, 60_000)
SKY_NOISE = (*range(59_494, 59_500), 59_648, 59_649, 59_654)
"""The intro's background, and its lines under an explosion or a rotor."""


def sky_index(data: bytes) -> dict[int, tuple[int, int, int]]:
    """File number to (first byte, bytes, kind) out of sky.dnr; kind 0 is for sound.

    After a count come 8 bytes each: a number (2), a place (3), and a size of 22 bits with 2 bits of kind. A place
    with its highest bit set is in units of 16 bytes.

    Raises:
        DataError: it ends before the last file that it counts.
    """
    count = int.from_bytes(data[:4], "little")
    if len(data) < 4 + 8 * count or len(data) < 4:
        raise DataError(f"sky.dnr counts {count} files and has {len(data)} bytes. Install {SKY} again.")
    found = {}
    for at in range(4, 4 + 8 * count, 8):
        number, place, size = (
            int.from_bytes(data[at + first : at + end], "little") for first, end in ((0, 2), (2, 5), (5, 8))
        )
        place = (place & 0x7FFFFF) << 4 if place >> 23 else place
        found[number] = (place, size & 0x3FFFFF, size >> 22)
    return found


def sky_recordings(index: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(path, wave) of the speech in sky.dsk beside the index; its paths are made of the file and a number in it.

    Raises:
        DataError: a packed file is damaged.
    """
    archive = index.with_suffix(".dsk")
    with archive.open("rb") as file:
        for number, (place, size, kind) in sorted(sky_index(index.read_bytes()).items()):
            if number not in SKY_SPEECH or number in SKY_NOISE or kind or size <= SKY_HEADER:
                continue
            file.seek(place + SKY_HEADER)
            data = file.read(size - SKY_HEADER)
            samples = rnc.unpack(data) if data.startswith(rnc.MAGIC) else data
            values = np.frombuffer(samples, np.uint8)
            if 122 < values.mean() < 134 and values.std() >= 1:  # else it is not sound
                yield f"{archive}/{number}", from_bytes(samples)


def from_bytes(samples: bytes) -> NDArray[np.float32]:
    """(N,) of unsigned 8-bit samples."""
    return ((np.frombuffer(samples, np.uint8).astype(np.int16) - 128) / 128).astype(np.float32)


def recordings(package: str, paths: list[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(path, (T,) at 16 kHz without a mean, at most 0.98) of every file; of equal ones, the first only.

    Raises:
        DataError: a packed file is damaged.
    """
    seen = set()
    for path, wave, rate in _decoded(package, paths):
        digest = hashlib.sha256(wave.tobytes()).digest()
        if digest not in seen:
            seen.add(digest)
            wave = soxr.resample(wave - wave.mean(), rate, RATE, "HQ").astype(np.float32)
            yield path, wave / max(1, np.abs(wave).max(initial=0) / 0.98)


def _decoded(package: str, paths: list[str]) -> Iterator[tuple[str, NDArray[np.float32], int]]:
    """(path, wave, its rate) of every file, in the order of names."""
    for path in sorted(paths):
        if package == SKY:
            yield from ((name, wave, GAME_RATE) for name, wave in sky_recordings(Path(path)))
        elif package == DRASCULA:
            samples = Path(path).read_bytes()[32:-32]  # without the noise that the ends carry
            yield path, from_bytes(samples), GAME_RATE
        else:
            wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
            yield path, wave.mean(1), rate


def folder_of(path: str) -> str:
    """The folder that a file lies in: for Hedgewars, the role."""
    return Path(path).parent.name


def language_of(path: str) -> str:
    """The language that a path tells."""
    return LANGUAGES.get(folder_of(path), "en")


def is_plain(path: str, wave: NDArray[np.float32]) -> bool:
    """Whether a stretch is speech as it was spoken, by its folder, and by what is measured of (T,) of at least 1 s.

    A fifth of its loud frames are voiced, quiet frames lie 8 dB below loud ones, and it is hardly clipped.
    """
    if re.search(rf"/voices/({'|'.join(PROCESSED)})/", path):
        return False
    frames = np.lib.stride_tricks.sliding_window_view(wave, 640)[::160]
    level = 10 * np.log10(np.square(frames).mean(1) + 1e-9)
    loud = level > level.max() - 30
    power = np.square(np.abs(np.fft.rfft((frames - frames.mean(1, keepdims=True)) * np.hanning(640), 1280)))
    likeness = np.fft.irfft(power)
    voiced = likeness[:, 40:230].max(1) / (likeness[:, 0] + 1e-9) > 0.55  # pitches from 70 to 400 Hz
    low, high = np.quantile(level, [0.1, 0.95])
    clipped = (np.abs(wave) > 0.985).mean()
    return bool((voiced & loud).sum() >= 0.2 * loud.sum() and high - low >= 8 and clipped <= 0.02)
