"""Forge a few sets by the package's own attacks, which run on a processor: codecs and vocoders, and text to speech.

    python -m tools.wideband.simulated data/speech --out data/forged --attacks world lpc codec2 espeak

Copies stay in their source's part. A synthetic voice has no source: every sixth of its sentences is for dev, and
the voice itself is heard in training. Shapes: T samples at 16 kHz.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.errors import MolexError
from molex_adapt.simulate.attack import TextToSpeech
from molex_adapt.simulate.catalog import make_attack
from tools.wideband.corpus import Stretch, read_speech, to_int16, write_speech
from tools.wideband.spectra import RATE
from tools.wideband.speech import speech_files

PARAMETERS: dict[str, dict[str, Any]] = {
    "codec2": {"bit_rate": [700, 1200, 1300, 1600, 2400, 3200]},
    "espeak": {"words_per_minute": [120, 190]},
    "hibari": {"speed": [0.75, 1.1]},
    "piper": {"length_scale": [0.9, 1.4]},
    "splice": {"share": [0.5, 0.9]},
}
"""Wider than the attacks' defaults."""

LANGUAGES = {"espeak": {"en", "fr", "es", "ru", "ro", "cs", "it", "uk", "ca"}}
"""What a synthetic voice speaks besides English."""


def sentences(languages: set[str]) -> list[tuple[str, str]]:
    """(language, text) of Tux Paint's stamps: an English line, then lines such as `fr.utf8=...`."""
    found = []
    for path in speech_files("tuxpaint-stamps-default", r"/stamps/.*\.txt$"):
        first, *others = Path(path).read_text(encoding="utf-8", errors="ignore").split("\n")
        named = (re.match(r"(\w+)\.utf8=(.*)", line) for line in others)
        found += [("en", first), *((match[1], match[2]) for match in named if match)]
    return [(language, text) for language, text in found if language in languages and len(text) > 25]


Piece = tuple[NDArray[np.int16], Stretch]


def copies(
    name: str, wave: Tensor, rows: list[Stretch], count: int, rng: np.random.Generator
) -> Iterator[Piece]:
    """Copies of at most 3.5 s of random utterances of train and dev voices."""
    attack = make_attack(name, PARAMETERS.get(name))
    usable = [row for row in rows if row.part != "test" and 1.5 * RATE < row.length < 8 * RATE]
    for number in rng.choice(len(usable), min(count, len(usable)), replace=False):
        row = usable[number]
        length = min(row.length, 56_000)
        first = row.offset + int(rng.integers(0, row.length - length + 1))
        source = wave[first : first + length].numpy().astype(np.float32) / 32768
        forged = attack.apply(source, rng)[:length]
        yield to_int16(np.pad(forged, (0, length - len(forged)))), row


def spoken(name: str, count: int, rng: np.random.Generator) -> Iterator[Piece]:
    """Sentences of 1 to 4 s by a synthetic voice; those that it cannot speak are named and passed over."""
    attack = make_attack(name, PARAMETERS.get(name))
    texts, made = sentences(LANGUAGES.get(name, {"en"})), 0
    for number in rng.choice(len(texts), count, replace=count > len(texts)):
        language, text = texts[number]
        try:
            wave = attack.speak(text, language, rng)[: 4 * RATE]
        except MolexError as error:
            print(f"{name} passed over: {error}", flush=True)
            continue
        if len(wave) >= RATE:
            part = "train" if made % 6 else "dev"
            made += 1
            yield to_int16(wave), Stretch(name, part, 0, len(wave), language)


def main() -> None:
    """Read the command line and forge one set per attack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("speech", type=Path, help="speech.npy and speech.json without their suffix")
    parser.add_argument("--out", type=Path, required=True, help="folder of forged sets")
    parser.add_argument("--attacks", nargs="+", default=["world", "lpc", "codec2", "espeak", "hibari"])
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wave, rows = read_speech(options.speech)
    for name in options.attacks:
        rng = np.random.default_rng(options.seed)
        speaks = isinstance(make_attack(name, PARAMETERS.get(name)), TextToSpeech)
        pieces = spoken(name, options.count, rng) if speaks else copies(name, wave, rows, options.count, rng)
        print(f"{name}: {len(write_speech(options.out / name, pieces))} utterances", flush=True)


if __name__ == "__main__":
    main()
