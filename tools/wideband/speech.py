"""Decode the speech of Debian packages, cut it into utterances, find the voices and split them.

    python -m tools.wideband.speech --speakers pretrained.pt --out data/speech
    python -m tools.wideband.speech --speakers pretrained.pt --out data/games --games

Needs the packages in `SOURCES` installed, or those in `GAMES`, and Resemblyzer's weights. Writes speech.npy (int16,
16 kHz, utterances end to end) and speech.json (their voices, and parts train, dev and test). One core takes a quarter
of an hour, and less for the games. Shapes: T samples, F frames of 20 ms.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from molex_adapt.data.audio import decode
from molex_adapt.errors import AudioError, DataError
from tools.wideband import games
from tools.wideband.corpus import Stretch, to_int16, write_speech
from tools.wideband.games import GAMES, HEDGEWARS, SKY
from tools.wideband.speakers import UNKNOWN, SpeakerEncoder, find_voices
from tools.wideband.spectra import RATE

SOURCES = {
    **{
        f"asterisk-core-sounds-{name}-g722": r"(?<!/silence)/[^/]+\.g722$"
        for name in ("en", "es", "fr", "it", "ru")
    },
    "festvox-ru": r"\.wav$",
    "fillets-ng-data-cs": r"/cs/.*\.ogg$",
    "tuxpaint-stamps-default": r"_desc(_\w+)?\.ogg$",
    "klettres-data": r"\.ogg$",
    # Not its test signals, nor what was mixed from its other files.
    "codec2-examples": r"/(raw|wav)/(?!.*(sine|test|cq_ref|end_over|all\.wav)).*\.(raw|wav)$",
    "pocketsphinx-testdata": r"\.(wav|raw)$",
}
"""Package, and the pattern of its speech files' paths."""

ALWAYS_TEST = ("codec2-examples", "pocketsphinx-testdata")
"""Packages whose every voice is for the test."""

HELD_OUT = {
    "June": ("June", "test"),
    "dreydl-hay_desc_bg.ogg": ("c37", "test"),
    "b_4_knight_desc_el.ogg": ("c82", "test"),
    "rainbow-lorikeet_desc_el.ogg": ("c80", "test"),
    "wrapped_chocolate_easter_egg_2_desc_el.ogg": ("c81", "test"),
    "ml/syllab/lau.ogg": ("c3", "test"),
    "ml/syllab/veae.ogg": ("c4", "test"),
    "ml/syllab/rii.ogg": ("c6", "test"),
    "ml/syllab/noo.ogg": ("c7", "test"),
    "ml/syllab/beae.ogg": ("c5", "test"),
    "6_saturn_desc_da.ogg": ("c59", "dev"),
    "captain/cs/vl-leb-kecy1.ogg": ("c43", "test"),
    "linux/cs/v-snazit.ogg": ("c60", "test"),
    "mountaingoat_desc_ca.ogg": ("c10", "test"),
    "he/alpha/a-10.ogg": ("c16", "dev"),
    "Carlo": ("Carlo", "dev"),
    "stoplight_02_yellow_desc_ca.ogg": ("c38", "dev"),
    "nl/syllab/ad-2.ogg": ("c13", "dev"),
    "city/cs/vit-hs-demoni0.ogg": ("c52", "dev"),
    "briefcase/cs/kd-pocitac.ogg": ("c46", "dev"),
    "hanoi/cs/m-predstavujes.ogg": ("c85", "dev"),
}
"""Voices that the shipped weights have not heard: a prompt's reader, or that of the recording whose path ends so.
Each has its name, which does not hang on the clusters' numbers, and its part."""

HELD_OUT_OF_GAMES = {
    "/sky.dsk/51496": "dev",
    "/sky.dsk/51575": "dev",
    "/sky.dsk/50902": "dev",
    "/sky.dsk/53352": "",
    "/en/VB31.ALS": "dev",
    "/en/L3.ALS": "dev",
    f"{HEDGEWARS}/Default_uk": "dev",
    f"{HEDGEWARS}/Default_ru": "dev",
    f"{HEDGEWARS}/Russian_pl": "dev",
}
"""The same for the games, whose voices keep the clusters' names; one, which is hardly ever voiced, is in no part."""

FEWEST = 6
"""Utterances that make a voice of a game."""


@dataclass(frozen=True)
class Utterance:
    """One stretch of speech and what is known about it."""

    package: str
    path: str
    language: str
    group: str
    wave: NDArray[np.int16]
    embedding: NDArray[np.float32]
    plain: bool = True  # as people speak: not whispered, growled or sung


def speech_files(package: str, pattern: str) -> list[str]:
    """The speech files of an installed package.

    Raises:
        DataError: it is not installed, or has no such file.
    """
    listed = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=False).stdout
    found = [path for path in listed.splitlines() if re.search(pattern, path)]
    if not found:
        raise DataError(f"The package {package} has no speech here. Install it: apt-get install {package}")
    return found


def language_of(package: str, path: str) -> str:
    """The language that a package's path tells; English where it tells none."""
    if package.startswith("asterisk"):
        return package.split("-")[3]
    if package == "tuxpaint-stamps-default":
        named = re.search(r"_desc_(\w+)\.ogg$", path)
        return named[1] if named else "en"
    if package == "klettres-data":
        return path.split("/")[4]
    return {"festvox-ru": "ru", "fillets-ng-data-cs": "cs"}.get(package, "en")


def reader_of(path: str) -> str:
    """Who reads an Asterisk prompt: its folder is named such as en_US_f_Allison."""
    return path.split("/")[5].rsplit("_", maxsplit=1)[-1]


def decode_file(path: str) -> NDArray[np.float32]:
    """(T,) at 16 kHz; raw files are 16-bit, at 8 kHz where the name does not say otherwise.

    Raises:
        AudioError: it cannot be read.
    """
    if not path.endswith(".raw"):
        return decode(path)
    wave = np.fromfile(path, "<i2").astype(np.float32) / 32768
    rate = RATE if "pocketsphinx" in path or "16k" in path else RATE // 2
    return wave if rate == RATE else soxr.resample(wave, rate, RATE, "HQ").astype(np.float32)


def cut(wave: NDArray[np.float32], longest: float = 12.0) -> list[tuple[int, int]]:
    """Stretches of speech, at least 0.6 s, as (first, end) samples.

    A frame is speech within 35 dB of the loud ones. Pauses over 0.4 s cut after 2 s of speech; anything
    is cut at `longest` s.
    """
    size = RATE // 50
    frames = len(wave) // size
    power = np.square(wave[: frames * size].reshape(frames, size)).mean(1) if frames >= 10 else np.zeros(1)
    loud = np.quantile(power, 0.95)
    if loud < 1e-8:
        return []
    active = np.flatnonzero(power > loud * 10**-3.5)
    pieces, first, last = [], active[0], active[0]
    for frame in active[1:]:
        if (frame - last > 20 and last - first > 100) or (frame - first) / 50 > longest:
            pieces.append((first, last))
            first = frame
        last = frame
    pieces.append((first, last))
    return [
        (int(max(0, begin - 3)) * size, int(min(frames, end + 4)) * size)
        for begin, end in pieces
        if end - begin >= 30
    ]


def utterances(encoder: SpeakerEncoder) -> Iterator[Utterance]:
    """All speech of all packages; files that cannot be read are named and passed over."""
    for package, pattern in SOURCES.items():
        for path in speech_files(package, pattern):
            try:
                wave = decode_file(path)
            except AudioError as error:
                print(f"passed over: {error}", flush=True)
                continue
            language = language_of(package, path)
            group = f"{package}/{language}"
            if package.startswith("asterisk"):
                group += f"/{reader_of(path)}"
            if package in ALWAYS_TEST:
                group = f"{package}/{Path(path).stem}"
            for first, end in cut(wave):
                piece = wave[first:end]
                yield Utterance(package, path, language, group, to_int16(piece), encoder(piece))


def utterances_of_games(encoder: SpeakerEncoder) -> Iterator[Utterance]:
    """All stretches of at least 1 s in the games, but for what is next to silent."""
    for package, pattern in GAMES.items():
        for path, wave in games.recordings(package, speech_files(package, pattern)):
            for first, end in cut(wave):
                piece = wave[first:end]
                if len(piece) >= RATE and np.square(piece).mean() >= 0.004**2:
                    known = package, path, games.language_of(path), package, to_int16(piece)
                    yield Utterance(*known, encoder(piece), games.is_plain(path, piece))


def split(items: list[Utterance]) -> list[tuple[str, str]]:
    """(voice, part) of every utterance; ("", "") where the voice is not known.

    Raises:
        DataError: a held-out voice is not found, so that a test would be heard in training.
    """
    voices = [_voice(item, number) for item, number in zip(items, _numbers(items), strict=True)]
    held_out = {voice: HELD_OUT[pin] for voice, pin in _pinned(items, voices, list(HELD_OUT)).items()}
    found = []
    for item, voice in zip(items, voices, strict=True):
        name, part = held_out.get(voice, (voice, "train" if voice else ""))
        found.append((name, "test" if voice and item.package in ALWAYS_TEST else part))
    return found


def split_games(items: list[Utterance]) -> list[tuple[str, str]]:
    """The same for the games, each of which is clustered alone.

    The voices of `beneath-a-steel-sky` are held out by clusters like the others', and called by finer ones.

    Raises:
        DataError: a held-out voice is not found, so that a test would be heard in training.
    """
    wide, fine = [], []
    for package, group in groupby(items, key=lambda item: item.package):
        members = list(group)
        named = _clusters(members, 0.2)
        if package == HEDGEWARS:
            named = [voice and _role(item) for item, voice in zip(members, named, strict=True)]
        wide += named
        fine += _clusters(members, 0.1) if package == SKY else named
    pins = _pinned(items, wide, list(HELD_OUT_OF_GAMES))
    parts = {voice: HELD_OUT_OF_GAMES[pins[voice]] if voice in pins else "train" for voice in wide if voice}
    return [
        (voice or f"{item.package}/rest", parts[member])
        if item.plain and member and parts[member]
        else ("", "")
        for item, member, voice in zip(items, wide, fine, strict=True)
    ]


def _numbers(items: list[Utterance], merged_at: float = 0.2) -> list[int]:
    lengths = np.array([len(item.wave) for item in items])
    embeddings = np.stack([item.embedding for item in items])
    found = find_voices(embeddings, lengths, [item.group for item in items], merged_at=merged_at)
    return [int(number) for number in found]


def _clusters(items: list[Utterance], merged_at: float) -> list[str]:
    """The cluster of each utterance of one game; "" for what is near to none, or to one of few."""
    numbers = _numbers(items, merged_at)
    counts = Counter(numbers)
    return [
        "" if number == UNKNOWN or counts[number] < FEWEST else f"{item.package}/{number}"
        for item, number in zip(items, numbers, strict=True)
    ]


def _role(item: Utterance) -> str:
    folder = games.folder_of(item.path)
    return f"{item.package}/{'actor' if folder in games.ACTED else folder}"


def _pinned(items: list[Utterance], voices: list[str], pins: list[str]) -> dict[str, str]:
    """Voice to the pin that holds it out."""
    found, missing = {}, list(pins)
    for item, voice in zip(items, voices, strict=True):
        for pin in [pin for pin in missing if voice and (item.path.endswith(pin) or voice == pin)]:
            found[voice] = pin
            missing.remove(pin)
    if missing:
        raise DataError(
            f"The held-out voices of {', '.join(missing)} were not found among {len(items)} utterances. "
            "Install every package in the versions that the README names."
        )
    return found


def _voice(item: Utterance, number: int) -> str:
    if number == UNKNOWN:
        return ""
    return reader_of(item.path) if item.package.startswith("asterisk") else f"voice-{number}"


def chosen(
    items: list[Utterance],
    parts: list[tuple[str, str]],
    minutes: float | None,
    shortest: float,
    seed: int,
) -> Iterator[tuple[NDArray[np.int16], Stretch]]:
    """Utterances of known voices of at least `shortest` s, at most `minutes` of a voice, drawn at random."""
    spent: dict[str, float] = defaultdict(float)
    kept = []
    for number in np.random.default_rng(seed).permutation(len(items)):
        voice, seconds = parts[number][0], len(items[number].wave) / RATE
        if voice and seconds >= shortest and (minutes is None or spent[voice] < 60 * minutes):
            spent[voice] += seconds
            kept.append(number)
    for number in sorted(kept):
        item, (voice, part) = items[number], parts[number]
        g722 = item.package.startswith("asterisk")
        place = item.package, item.path
        yield item.wave, Stretch(voice, part, 0, len(item.wave), item.language, g722, *place)


def main() -> None:
    """Read the command line and write the speech."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speakers", type=Path, required=True, help="pretrained.pt of Resemblyzer 0.1.4")
    parser.add_argument("--out", type=Path, required=True, help="speech.npy and speech.json without suffix")
    parser.add_argument("--games", action="store_true", help="the games' speech, not the other packages'")
    parser.add_argument("--minutes-per-voice", type=float, help="no limit by default")
    parser.add_argument("--shortest", type=float, default=0.8, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the windows are too small to share
    encoder = SpeakerEncoder(options.speakers)
    items = list(utterances_of_games(encoder) if options.games else utterances(encoder))
    parts = split_games(items) if options.games else split(items)
    picked = chosen(items, parts, options.minutes_per_voice, options.shortest, options.seed)
    rows = write_speech(options.out, picked)
    for part in ("train", "dev", "test"):
        of_part = [row for row in rows if row.part == part]
        hours = sum(row.length for row in of_part) / RATE / 3600
        print(
            f"{part}: {len(of_part)} utterances, {len({row.voice for row in of_part})} voices, {hours:.2f} h"
        )


if __name__ == "__main__":
    main()
