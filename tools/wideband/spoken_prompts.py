r"""Synthetic speech that says what real recordings say: the telephone prompts of Debian, by synthesisers of all kinds.

    python -m tools.wideband.spoken_prompts data/speech --out data/spoken --attacks espeak hibari piper pico
    python -m tools.wideband.spoken_prompts data/speech --out data/spoken --attacks kokoro \
        --kokoro kokoro.onnx --styles package/voices

A prompt is in the same part for every language and attack, so that no text of the test is learnt. Kokoro is for the
test only. Utterances are cut as the recordings are (`speech.py`, `domains.py`) and written by the same recorder, with
three recordings of `data/speech` beside each as babble. Needs asterisk-core-sounds-{en,es,fr,it}-g722 and their
transcripts. Shapes: T samples at 16 kHz.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from molex_adapt.demo.domains import PROMPTS, SUFFIX, VOICES
from molex_adapt.errors import AudioError, DataError
from molex_adapt.simulate import prompts
from molex_adapt.simulate.attack import TextToSpeech, Wave, load_optional
from molex_adapt.simulate.catalog import make_attack
from tools.wideband.corpus import PARTS
from tools.wideband.domains import LONGEST, Clip, Recorder, choose, read_all
from tools.wideband.kokoro import Kokoro
from tools.wideband.simulated import PARAMETERS
from tools.wideband.spectra import RATE
from tools.wideband.speech import cut

TURNS = ("en", "es", "en", "fr", "it")
"""Languages in the order in which they are spoken; an attack passes over those that it does not speak."""
SPEAKS = {"hibari": ("en",), "piper": ("en",)}
COUNTS = {
    "espeak": {"train": 420, "dev": 120, "test": 250},
    "pico": {"train": 420, "dev": 120, "test": 250},
    "hibari": {"train": 240, "dev": 80, "test": 250},
    "piper": {"train": 60, "dev": 20, "test": 250},
    "kokoro": {"train": 0, "dev": 0, "test": 250},
}
"""Utterances; Piper opens a session for each."""
PICO = {"en": ("en-GB", "en-US"), "es": ("es-ES",), "fr": ("fr-FR",), "it": ("it-IT",)}
TEXT_SEED = 27
"""Of the parts that texts are in: not to be changed between attacks."""


@dataclass(frozen=True)
class Prompt:
    """A text that a real recording says."""

    name: str
    language: str
    text: str
    part: str


Speak = Callable[[Prompt, np.random.Generator], tuple[str, Wave]]
"""Says a prompt: the voice's name, or none where there is but one, and (T,) float32."""


def real_prompts(shares: tuple[float, float] = (0.5, 0.2)) -> list[Prompt]:
    """Texts of recordings that last 1 to 6 s, each in one part whatever its language.

    Args:
        shares: of train and dev; the rest is for the test.

    Raises:
        DataError: the prompts or their transcripts are not installed.
    """
    places = {VOICES[language]: language for language in set(TURNS)}
    table = prompts(PROMPTS, voices=sorted(places), suffixes=(SUFFIX,), min_seconds=1)
    spoken = [item for item in table if item.text and (item.seconds or 0) <= 6]
    if not spoken:
        raise DataError(f"{PROMPTS} has prompts without texts. Install asterisk-core-sounds-{{en,es,fr,it}}.")
    names = sorted({item.source.split("/", 1)[1] for item in spoken})
    order = np.random.default_rng(TEXT_SEED).permutation(len(names))
    cuts = [int(share * len(names)) for share in np.cumsum(shares)]
    part_of = {
        names[at]: part for part, group in zip(PARTS, np.split(order, cuts), strict=True) for at in group
    }
    return [
        Prompt(item.source.replace("/", "-"), places[folder], item.text or "", part_of[name])
        for item in spoken
        for folder, name in [item.source.split("/", 1)]
    ]


def in_turns(texts: list[Prompt], rng: np.random.Generator) -> Iterator[Prompt]:
    """The texts of one part without end, language by language, each in an order drawn anew when it is through."""
    left: dict[str, list[Prompt]] = {}
    groups = {language: [text for text in texts if text.language == language] for language in TURNS}
    while any(groups.values()):
        for language in TURNS:
            if groups[language]:
                if not left.get(language):
                    left[language] = [groups[language][at] for at in rng.permutation(len(groups[language]))]
                yield left[language].pop()


def utterances(
    name: str, speak: Speak, texts: list[Prompt], counts: dict[str, int], rng: np.random.Generator
) -> Iterator[Clip]:
    """So many utterances of 1 to 3.5 s of each part; what cannot be spoken is named and passed over.

    Raises:
        DataError: of one part's texts, too few can be spoken.
    """
    for part, count in counts.items():
        made = tries = 0
        for prompt in in_turns([text for text in texts if text.part == part], rng):
            if made == count:
                break
            tries += 1
            if tries > 4 * count + 40:
                raise DataError(f"{name} spoke {made} of {count} prompts for {part} in {tries} tries.")
            try:
                voice, wave = speak(prompt, rng)
            except AudioError as error:
                print(f"{name} passed over {prompt.name}: {error}", flush=True)
                continue
            wave = first_utterance(wave)
            if wave.size >= RATE:
                speaker = f"{name}-{voice}" if voice else f"{name}-{part}{made % 2}"
                yield Clip(f"{name}{made:04d}-{prompt.name}", wave, speaker, part)
                made += 1


def first_utterance(wave: Wave) -> Wave:
    """The first stretch of speech of at least 1 s, without the silence around it, at most 3.5 s of it; or nothing."""
    found = (wave[first:end] for first, end in cut(wave) if end - first >= RATE)
    return next(found, wave[:0])[:LONGEST]


def voice_of(name: str, options: argparse.Namespace) -> Speak:
    """What speaks for an attack.

    Raises:
        DataError: it is Kokoro, and its files are not named.
        RecipeError: there is no such attack.
    """
    if name == "kokoro":
        if not (options.kokoro and options.styles):
            raise DataError("kokoro needs --kokoro MODEL.onnx and --styles FOLDER; see README.md.")
        return by_kokoro(Kokoro(options.kokoro, options.styles))
    return by_pico() if name == "pico" else by_attack(name)


def by_kokoro(kokoro: Kokoro) -> Speak:
    """Its voices of a language in turn."""
    said = dict.fromkeys(TURNS, 0)

    def speak(prompt: Prompt, rng: np.random.Generator) -> tuple[str, Wave]:
        voices = kokoro.voices(prompt.language)
        voice = voices[said[prompt.language] % len(voices)]
        said[prompt.language] += 1
        return voice, kokoro.speak(prompt.text, voice, float(rng.uniform(0.85, 1.15)))

    return speak


def by_pico() -> Speak:
    """SVOX Pico at a speed and pitch of its own for each text."""
    nano = load_optional("py_nanotts", "The attack pico", "py-nanotts").NanoTTS()

    def speak(prompt: Prompt, rng: np.random.Generator) -> tuple[str, Wave]:
        voice = str(rng.choice(PICO[prompt.language]))
        speed, pitch = (float(rng.uniform(0.85, 1.15)) for _ in range(2))
        samples = nano.speak(prompt.text, voice=voice, speed=speed, pitch=pitch)
        return "", np.frombuffer(samples, "<i2").astype(np.float32) / 32768

    return speak


def by_attack(name: str) -> Speak:
    """An attack of the package that speaks texts.

    Raises:
        DataError: it copies recordings instead.
        RecipeError: there is no such attack.
    """
    attack = make_attack(name, PARAMETERS.get(name))
    if not isinstance(attack, TextToSpeech):
        raise DataError(f"{name} speaks no texts. Expected espeak, hibari, piper, pico or kokoro.")

    def speak(prompt: Prompt, rng: np.random.Generator) -> tuple[str, Wave]:
        return "", attack.speak(prompt.text, prompt.language, rng)

    return speak


def main() -> None:
    """Read the command line and write one set per attack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("speech", type=Path, nargs="+", help="speech.npy and speech.json without suffix")
    parser.add_argument("--out", type=Path, required=True, help="folder for sound and manifests")
    parser.add_argument("--attacks", nargs="+", choices=sorted(COUNTS), default=["espeak", "hibari", "pico"])
    parser.add_argument("--kokoro", type=Path, help="the ONNX model")
    parser.add_argument("--styles", type=Path, help="folder of voices as .bin")
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    wave, rows = read_all(options.speech)
    heard = [clip for clip in choose(wave, rows, np.random.default_rng(options.seed)) if clip.part == "train"]
    texts = real_prompts()
    for name in options.attacks:
        # Each set hangs on the seed alone, not on which others are made.
        number = sorted(COUNTS).index(name)
        torch.manual_seed(options.seed + number)
        recorder = Recorder(options.out, heard, options.seed + number)
        known = [text for text in texts if text.language in SPEAKS.get(name, TURNS)]
        rng = np.random.default_rng((options.seed, number))
        made = utterances(name, voice_of(name, options), known, COUNTS[name], rng)
        recorder.write(name, made, "spoof")


if __name__ == "__main__":
    main()
