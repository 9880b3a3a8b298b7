"""Make the domains of the shipped experts: recordings and forged ones under drawn conditions, and a manifest of all.

    python -m tools.wideband.domains data/speech data/games --out data/domains --hifigan hifigan.npz \
        --fargan fargan_demo --dred dred_copy --spoken data/spoken

Three recordings in ten, of either class, stay as they are; the others go through a chain of their own
(`conditions.py`). Test recordings are written in both ways, so that each can be measured apart. The voices of games are
drawn apart from the others, fewer of each, and hear babble of their own kind only. Manifests: one of each attack,
`bonafide.csv`, and `shipped.csv`, which has no test voices: most dev voices calibrate, `MEASURED` stand for the test
split. `dev.csv` has all dev voices and attacks, for the threshold. These two are written where all sets are there. A
set whose manifest is there is not made again, and sets do not depend on each other. Shapes: T samples at 16 kHz.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from molex_adapt.atomic import replacing
from molex_adapt.data import Utterance, read
from molex_adapt.errors import MolexError
from molex_adapt.simulate.attack import CopySynthesis, TextToSpeech, Wave
from molex_adapt.simulate.catalog import make_attack
from tools.wideband.conditions import Conditions
from tools.wideband.corpus import PARTS, Stretch, read_speech, to_int16
from tools.wideband.forging import Forge, HifiGan, make_copies
from tools.wideband.games import DRASCULA, GAMES, HEDGEWARS, SKY
from tools.wideband.opus import Dred, Fargan
from tools.wideband.simulated import LANGUAGES, PARAMETERS, sentences
from tools.wideband.spectra import RATE
from tools.wideband.vocoders import load_vocoder

COPIES = ("world", "lpc", "codec2", "griffin_lim", "formant_shift", "phase_vocoder")
SPOKEN = ("espeak",)
NEURAL = ("istft", "mel_gan", "hifigan", "fargan")
NOVEL = ("dred",)
"""Copied for the test alone."""
MORE = ("splice", "cascade")
"""Made where they are named alone: a part of the recording by WORLD; another voice by Praat, then by `mel_gan`."""
FROM_TEXTS = ("espeak", "hibari", "pico", "piper")
"""Attacks of `spoken_prompts.py` that the experts learn."""
SHIPPED = ("codec2", "espeak", "griffin_lim", "lpc", "world", *NEURAL)
FAMILY = dict.fromkeys(NEURAL, "neural_vocoder") | dict.fromkeys(FROM_TEXTS, "synthesiser")
"""Attacks that one expert is for."""
MEASURED = ("c38", "c13", "c85", "c16")
"""Dev voices that stand for the test split of the shipped experts."""
PER_VOICE = {"train": 70, "dev": 90, "test": 150}
"""Recordings of a voice, unless the command line says otherwise."""
PER_GAME_VOICE = {SKY: 24, DRASCULA: 40, HEDGEWARS: 40, f"{HEDGEWARS}/actor": 120}
"""Recordings of a game's voice, in any part."""
PER_ATTACK = {"train": 420, "dev": 120, "test": 250}
PER_ATTACK_ON_GAMES = {"train": 340, "dev": 90, "test": 0}
LONGEST = 56_000
UNCHANGED = 0.3
"""Share of the recordings that no condition is drawn for."""
WEIGHTS = [Path(__file__).parent / "weights" / f"vocoder_{kind}.safetensors" for kind in ("istft", "mel_gan")]
COLUMNS = ("path", "label", "attack", "speaker", "source", "split", "condition")


@dataclass(frozen=True)
class Clip:
    """A recording or a forged one, (T,) float32, before any condition."""

    name: str
    wave: Wave
    voice: str
    part: str
    g722: bool = False

    @property
    def game(self) -> bool:
        """Whether the voice is a game's."""
        return is_game(self.voice)


def is_game(voice: str) -> bool:
    """Whether a voice is a game's: it is named by the package."""
    return voice.split("/", maxsplit=1)[0] in GAMES


class Recorder:
    """Writes clips under conditions, and their manifest."""

    def __init__(self, out: Path, others: list[Clip], seed: int) -> None:
        self.out = out
        self.others = {
            game: [clip for clip in others if clip.game == game] or others for game in (False, True)
        }
        self.seed = seed
        self.conditions = Conditions(torch.device("cpu"))

    def write(self, name: str, clips: Iterable[Clip], label: str) -> None:
        """One folder, then its manifest; chance is the set's own."""
        self.rng = np.random.default_rng(seed_of(self.seed, name))
        torch.manual_seed(seed_of(self.seed, name))
        (self.out / name).mkdir(parents=True, exist_ok=True)
        rows = []
        for clip in clips:
            for wanted in ("none", "drawn") if clip.part == "test" else (None,):
                drawn = self.rng.random() >= UNCHANGED if wanted is None else wanted == "drawn"
                wave = self.through_conditions(clip) if drawn else clip.wave
                attack = "" if label == "bonafide" else name
                condition = "drawn" if drawn else "none"
                path = f"{name}/{clip.name}_{condition}.wav"  # from the manifest's folder
                soundfile.write(self.out / path, np.clip(wave, -1, 1), RATE, subtype="PCM_16")
                rows.append((path, label, attack, clip.voice, clip.name, clip.part, condition))
        write_rows(self.out / f"{name}.csv", rows)
        print(f"{name}: {len(rows)} files", flush=True)

    def through_conditions(self, clip: Clip) -> Wave:
        """One clip; three training recordings beside it serve as babble."""
        others = self.others[clip.game]
        picked = self.rng.integers(len(others), size=3)
        beside = [np.resize(others[int(at)].wave, clip.wave.size) for at in picked]
        g722 = torch.tensor([[clip.g722], [False], [False], [False]])
        return np.asarray(self.conditions(torch.from_numpy(np.stack([clip.wave, *beside])), g722)[0])


def seed_of(seed: int, name: str) -> int:
    """A set's own."""
    return crc32(f"{seed} {name}".encode())


def read_all(stems: list[Path]) -> tuple[torch.Tensor, list[Stretch]]:
    """Several files of speech as one.

    Raises:
        DataError: a file is missing or does not fit its rows.
    """
    waves, rows, offset = [], [], 0
    for stem in stems:
        wave, found = read_speech(stem)
        rows += [replace(row, offset=row.offset + offset) for row in found]
        waves.append(wave)
        offset += len(wave)
    return torch.cat(waves), rows


def choose(
    wave: torch.Tensor,
    rows: list[Stretch],
    rng: np.random.Generator,
    per_voice: Mapping[str, int] = PER_VOICE,
) -> list[Clip]:
    """So many utterances of every voice by its part, each at most 3.5 s of it."""
    voices: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row.length >= RATE:
            voices[row.voice].append(number)
    clips = []
    for voice, numbers in sorted(voices.items(), key=lambda item: (is_game(item[0]), item[0])):
        most = per_voice[rows[numbers[0]].part]
        if is_game(voice):
            most = PER_GAME_VOICE.get(voice) or PER_GAME_VOICE[voice.split("/")[0]]
        for number in rng.permutation(numbers)[:most]:
            row = rows[number]
            length = min(row.length, LONGEST)
            first = row.offset + int(rng.integers(0, row.length - length + 1))
            sound = wave[first : first + length].numpy().astype(np.float32) / 32768
            clips.append(Clip(f"{number:05d}", sound, row.voice, row.part, row.g722))
    return clips


def some(clips: list[Clip], rng: np.random.Generator, counts: Mapping[str, int] | None = None) -> list[Clip]:
    """So many of each part for one attack, and so many of the games'."""
    found = []
    for game, most in ((False, counts or PER_ATTACK), (True, PER_ATTACK_ON_GAMES)):
        for part, count in most.items():
            members = [clip for clip in clips if clip.part == part and clip.game == game]
            found += [members[at] for at in rng.permutation(len(members))[:count]]
    return found


def copied(name: str, clips: list[Clip], rng: np.random.Generator) -> Iterator[Clip]:
    """Copies by an attack of the package; what it cannot copy is named."""
    attack = make_attack(name, PARAMETERS.get(name))
    assert isinstance(attack, CopySynthesis)
    for clip in clips:
        try:
            wave = attack.apply(clip.wave, rng)[: clip.wave.size]
        except MolexError as error:
            print(f"{name} passed over {clip.name}: {error}", flush=True)
            continue
        yield Clip(clip.name, wave, clip.voice, clip.part, clip.g722)


def vocoded(forge: Forge, clips: list[Clip]) -> Iterator[Clip]:
    """Copies by a neural vocoder."""
    whole = [to_int16(clip.wave) for clip in clips]
    ends = np.cumsum([len(wave) for wave in whole])
    rows = [
        Stretch(clip.voice, clip.part, int(end) - len(wave), len(wave))
        for clip, wave, end in zip(clips, whole, ends, strict=True)
    ]
    made = make_copies(forge, torch.from_numpy(np.concatenate(whole)), rows, torch.device("cpu"), 12 * RATE)
    for clip, copy in zip(clips, made, strict=True):
        wave: NDArray[np.float32] = copy.astype(np.float32) / 32768
        yield Clip(clip.name, wave, clip.voice, clip.part, clip.g722)


def spoken(name: str, rng: np.random.Generator, counts: Mapping[str, int]) -> Iterator[Clip]:
    """Sentences by a synthetic voice; each part has texts of its own."""
    attack = make_attack(name, PARAMETERS.get(name))
    assert isinstance(attack, TextToSpeech)
    texts = sentences(LANGUAGES.get(name, {"en"}))
    order = rng.permutation(len(texts))
    cuts = [int(share * len(order)) for share in (0.5, 0.7)]
    for part, numbers in zip(PARTS, np.split(order, cuts), strict=True):
        made = 0
        for number in numbers:
            language, text = texts[int(number)]
            try:
                wave = attack.speak(text, language, rng)[:LONGEST]
            except MolexError:
                continue  # not a language of this voice
            if wave.size < RATE or made == counts[part]:
                continue
            made += 1
            yield Clip(f"{number:05d}", wave, f"{name}-{part}{made % 2}", part)


def coded(vocoder: Fargan | Dred, clips: list[Clip], parts: tuple[str, ...] = PARTS) -> Iterator[Clip]:
    """Copies by a program of libopus."""
    for clip in clips:
        if clip.part in parts:
            yield replace(clip, wave=vocoder(clip.wave))


def write_rows(path: Path, rows: Iterable[Iterable[str]], columns: Iterable[str] = COLUMNS) -> None:
    """A manifest, all or nothing."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def shipped_rows(out: Path, spoken: Path) -> Iterator[tuple[str, ...]]:
    """Rows of all manifests that the experts learn from with their domains, without those of test voices."""
    paths = [out / f"{name}.csv" for name in ("bonafide", *SHIPPED)]
    for path in [*paths, *(spoken / f"{name}.csv" for name in FROM_TEXTS)]:
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                measured = row["speaker"] in MEASURED or row["speaker"].endswith("-dev0")
                if row["split"] == "test":
                    continue
                row["split"] = "test" if row["split"] == "dev" and measured else row["split"]
                row["path"] = os.path.relpath(path.parent / row["path"], out)
                yield (*columns_of(row), FAMILY.get(row["attack"], ""))


def dev_rows(out: Path) -> Iterator[tuple[str, ...]]:
    """Rows of dev voices, of all manifests."""
    for name in ("bonafide", *COPIES, *NEURAL, *SPOKEN):
        with (out / f"{name}.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["split"] == "dev":
                    yield columns_of(row)


def columns_of(row: Mapping[str, str]) -> tuple[str, ...]:
    """A row beside those of other sets: what sentences are numbered by is no recording's number.

    The set's own manifest has the number, by whose names results of `benchmarks sequence` were kept.
    """
    spoken = row["attack"] in SPOKEN
    return tuple(
        f"{row['attack']}/{row[column]}" if spoken and column == "source" else row[column]
        for column in COLUMNS
    )


def of_part(folders: Iterable[Path], part: str) -> list[Utterance]:
    """The recordings of one part in all sets of these folders; a later folder's set stands for one of the same name."""
    sets = {path.stem: path for folder in folders for path in sorted(folder.glob("*.csv"))}
    # `shipped` and `dev` name recordings of the others once more.
    return [
        item
        for name, path in sorted(sets.items())
        if name not in ("shipped", "dev")
        for item in read(path)
        if item.split == part
    ]


class Maker:
    """Makes the forged recordings of any set.

    Args:
        clips: recordings to choose from.
        options: of the command line: weights, programs and counts.
    """

    def __init__(self, clips: list[Clip], options: argparse.Namespace) -> None:
        self.clips, self.options = clips, options
        device = torch.device("cpu")
        self.forges = dict(load_vocoder(path, device) for path in options.vocoder)
        if options.hifigan:
            self.forges["hifigan"] = HifiGan(options.hifigan, device)
        self.programs: dict[str, Fargan | Dred] = {}
        if options.fargan:
            self.programs["fargan"] = Fargan(options.fargan)
        if options.dred:
            self.programs["dred"] = Dred(options.dred)

    @property
    def names(self) -> list[str]:
        """Of the sets that are made unless some are named."""
        return [*COPIES, *self.forges, *SPOKEN, *self.programs]

    def make(self, name: str) -> Iterator[Clip]:
        """One set."""
        rng = np.random.default_rng(seed_of(self.options.seed, f"make {name}"))
        counts = dict(zip(PARTS, self.options.per_attack, strict=True))
        if name in SPOKEN:
            return spoken(name, rng, counts)
        chosen = some(self.clips, rng, counts)
        if name in self.programs:
            return coded(self.programs[name], chosen, ("test",) if name in NOVEL else PARTS)
        if name in self.forges:
            return vocoded(self.forges[name], chosen)
        if name == "cascade":
            return vocoded(self.forges["mel_gan"], list(copied("formant_shift", chosen, rng)))
        return copied(name, chosen, rng)


def main() -> None:
    """Read the command line and write everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("speech", type=Path, nargs="+", help="speech.npy and speech.json without suffix")
    parser.add_argument("--out", type=Path, required=True, help="folder for sound and manifests")
    parser.add_argument("--hifigan", type=Path, help="npz of a HiFi-GAN generator; see README.md")
    parser.add_argument("--vocoder", type=Path, nargs=2, default=WEIGHTS, help="istft and mel_gan")
    parser.add_argument("--fargan", type=Path, help="fargan_demo of libopus 1.5")
    parser.add_argument("--dred", type=Path, help="built from dred_copy.c")
    parser.add_argument("--spoken", type=Path, help="what spoken_prompts wrote")
    parser.add_argument("--attacks", nargs="+", metavar="NAME", help=f"these alone; also {', '.join(MORE)}")
    parser.add_argument(
        "--per-attack",
        type=int,
        nargs=3,
        default=list(PER_ATTACK.values()),
        metavar=("TRAIN", "DEV", "TEST"),
        help="forged recordings of a set, without those of games' voices (default: %(default)s)",
    )
    parser.add_argument(
        "--per-voice",
        type=int,
        nargs=3,
        default=list(PER_VOICE.values()),
        metavar=("TRAIN", "DEV", "TEST"),
        help="recordings of a voice, without those of games (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    wave, rows = read_all(options.speech)
    per_voice = dict(zip(PARTS, options.per_voice, strict=True))
    clips = choose(wave, rows, np.random.default_rng(options.seed), per_voice)
    maker = Maker(clips, options)
    if unknown := set(options.attacks or ()) - {*maker.names, *MORE}:
        known = ", ".join([*maker.names, *MORE])
        parser.error(f"cannot make {', '.join(sorted(unknown))}; with these options: {known}")
    recorder = Recorder(options.out, [clip for clip in clips if clip.part == "train"], options.seed)
    for name in ("bonafide", *(options.attacks or maker.names)):
        if (options.out / f"{name}.csv").exists():
            print(f"{name}: there", flush=True)
        elif name == "bonafide":
            recorder.write(name, clips, name)
        else:
            recorder.write(name, maker.make(name), "spoof")
    whole = (*COPIES, *NEURAL, *SPOKEN)
    if options.spoken and all((options.out / f"{name}.csv").exists() for name in whole):
        shipped = shipped_rows(options.out, options.spoken)
        write_rows(options.out / "shipped.csv", shipped, (*COLUMNS, "domain"))
        write_rows(options.out / "dev.csv", dev_rows(options.out))


if __name__ == "__main__":
    main()
