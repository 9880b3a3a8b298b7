r"""Voice conversion by nearest neighbours: every frame of a recording becomes one that another voice has spoken.

    python -m tools.wideband.conversion data/speech --out data/converted --hifigan hifigan.npz --speakers pretrained.pt

A frozen encoder hears the recording and half a minute or more of the target voice. Each of the recording's frames
becomes the mean of the mel spectra of the most similar frames of the target, and a HiFi-GAN speaks these. Source and
target are of the same part. The manifest's speaker is the TARGET, whose voice is heard; its source is the recording
that says the same words, as in the manifests of `domains.py`. Shapes: T samples at 16 kHz, F frames of 20 ms, M mel
frames of the vocoder, N frames of a voice.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from molex_adapt.base import Base
from molex_adapt.errors import DataError
from molex_adapt.simulate.attack import Wave
from tools.wideband.corpus import PARTS, Stretch
from tools.wideband.domains import Clip, Recorder, choose, is_game, read_all, some
from tools.wideband.forging import HifiGan
from tools.wideband.speakers import SpeakerEncoder
from tools.wideband.spectra import RATE, pad_to_multiple, resample_by_fft
from tools.wideband.teacher import Teacher

BLOCK = 4
"""Of Whisper base: the block whose output is compared."""
AROUND = 4
"""Frames on either side that are compared too."""
NEAREST = 4
"""Frames of the target that are averaged."""
SHORTEST_VOICE, LONGEST_VOICE = 30 * RATE, 90 * RATE
"""Samples of a target voice."""
MIXED = ("misc",)
"""Voices of more than one person, who are no target."""
FRAME = 320
"""Samples between the encoder's frames, at 16 kHz."""
MEL_RATE, MEL_HOP = 22_050, 256


@dataclass(frozen=True)
class Voice:
    """What a target voice has said."""

    states: Tensor  # (N, D), each of length 1
    mel: Tensor  # (N, 80), at the same times


class Converter:
    """Converts recordings. Source: Baas, van Niekerk and Kamper 2023 (kNN-VC), with another encoder and vocoder."""

    def __init__(
        self, base: Base, block: int, hifigan: HifiGan, nearest: int = NEAREST, around: int = AROUND
    ) -> None:
        self.base, self.block, self.hifigan = base, block, hifigan
        self.nearest, self.around = nearest, around

    @torch.no_grad()
    def learn(self, waves: Iterable[Wave]) -> Voice:
        """A voice from its utterances, each (T,)."""
        states, spectra = [], []
        for wave in waves:
            heard = self.states(wave)
            states.append(heard)
            spectra.append(at_times(self.mel(wave), _of_frames(len(heard)), _of_mel(self._mel_frames(wave))))
        return Voice(centred(torch.cat(states)), torch.cat(spectra))

    @torch.no_grad()
    def convert(self, wave: Wave, voice: Voice) -> Wave:
        """(T,) in another voice, at the same length and level."""
        states = self.states(wave)
        likeness = along_diagonals(centred(states) @ voice.states.T, self.around)
        nearest = likeness.topk(min(self.nearest, len(voice.states)), dim=1).indices
        mel = at_times(voice.mel[nearest].mean(1), _of_mel(self._mel_frames(wave)), _of_frames(len(states)))
        spoken = self.hifigan.vocode(mel.T[None])
        copy = resample_by_fft(pad_to_multiple(spoken, 441), 320, 441)[0, : wave.size].numpy()
        copy = np.pad(copy, (0, wave.size - copy.size))
        level = np.sqrt(np.square(wave).mean()) / (np.sqrt(np.square(copy).mean()) + 1e-6)
        return np.clip(copy * min(float(level), 4.0), -1, 1).astype(np.float32)

    def states(self, wave: Wave) -> Tensor:
        """(T,) to (F, D)."""
        heard = torch.from_numpy(self.base.prepare(wave))[None]
        states = self.base.hidden_states(*self.base.prefix(heard, torch.tensor([wave.size])))[self.block][0]
        return F.layer_norm(states.float(), states.shape[1:])

    def mel(self, wave: Wave) -> Tensor:
        """(T,) to (M, 80)."""
        faster = resample_by_fft(pad_to_multiple(torch.from_numpy(wave)[None], 320), 441, 320)
        spectrum: Tensor = self.hifigan.mel(pad_to_multiple(faster, MEL_HOP))[0].T
        return spectrum

    def _mel_frames(self, wave: Wave) -> int:
        samples = (wave.size + -wave.size % 320) * 441 // 320
        return -(-samples // MEL_HOP)


def centred(states: Tensor) -> Tensor:
    """(F, D) of one voice without their mean, which tells the voice and the channel; each of length 1."""
    return F.normalize(states - states.mean(0), dim=1)


def along_diagonals(likeness: Tensor, around: int) -> Tensor:
    """The sum over so many frames before and behind: what is alike for longer is the same sound.

    Args:
        likeness: (F, N) of every frame to every frame of the voice.
        around: frames on either side.

    Returns:
        (F, N).
    """
    total = likeness.clone()
    for step in range(1, around + 1):
        total[step:, step:] += likeness[:-step, :-step]
        total[:-step, :-step] += likeness[step:, step:]
    return total


def _of_frames(count: int) -> Tensor:
    """(F,) seconds at which the encoder's frames lie."""
    return torch.arange(count) * (FRAME / RATE) + FRAME / RATE / 2


def _of_mel(count: int) -> Tensor:
    """(M,) seconds at which the vocoder's frames lie."""
    return (torch.arange(count) + 0.5) * (MEL_HOP / MEL_RATE)


def at_times(rows: Tensor, wanted: Tensor, times: Tensor) -> Tensor:
    """Rows between rows, linearly; the first and the last hold beyond the ends.

    Args:
        rows: (R, D) at `times`.
        wanted: (W,) seconds.
        times: (R,) seconds, equally far apart.

    Returns:
        (W, D).
    """
    step = (times[1] - times[0]) if len(times) > 1 else torch.tensor(1.0)
    place = ((wanted - times[0]) / step).clamp(0, len(rows) - 1)
    low = place.floor().long()
    high, share = (low + 1).clamp(max=len(rows) - 1), (place - low)[:, None]
    return rows[low] * (1 - share) + rows[high] * share


@dataclass(frozen=True)
class Pair:
    """A recording and the voice that it is to be said in."""

    clip: Clip
    target: str


def targets(rows: list[Stretch]) -> dict[str, list[Stretch]]:
    """Utterances of at least 1 s by voice, of voices that have enough of them."""
    voices: dict[str, list[Stretch]] = defaultdict(list)
    for row in rows:
        if row.length >= RATE and row.voice not in MIXED:
            voices[row.voice].append(row)
    return {
        voice: members
        for voice, members in sorted(voices.items())
        if sum(row.length for row in members) >= SHORTEST_VOICE
    }


def pair(clips: list[Clip], voices: dict[str, list[Stretch]], rng: np.random.Generator) -> list[Pair]:
    """A target for every clip: any other voice of its part, and of a game where the clip is of one.

    Raises:
        DataError: a part has no other voice that has spoken long enough.
    """
    found = []
    for clip in clips:
        able = [
            voice
            for voice, rows in voices.items()
            if rows[0].part == clip.part and is_game(voice) == clip.game and voice != clip.voice
        ]
        if not able:
            raise DataError(
                f"{clip.part} has no voice but {clip.voice} that has spoken {SHORTEST_VOICE // RATE} s. "
                "Expected two in each part; add speech."
            )
        found.append(Pair(clip, able[int(rng.integers(len(able)))]))
    return found


def utterances_of(wave: Tensor, rows: list[Stretch], rng: np.random.Generator) -> list[Wave]:
    """Utterances of one voice in random order, until it has spoken `LONGEST_VOICE` samples; each at most 12 s."""
    found: list[Wave] = []
    for at in rng.permutation(len(rows)):
        row = rows[at]
        sound = wave[row.offset : row.offset + min(row.length, 12 * RATE)].numpy()
        found.append(sound.astype(np.float32) / 32768)
        if sum(len(sound) for sound in found) >= LONGEST_VOICE:
            break
    return found


def converted(
    converter: Converter,
    pairs: list[Pair],
    spoken: dict[str, list[Wave]],
    g722: set[str],
    likeness: Likeness | None = None,
) -> Iterator[Clip]:
    """Every clip in its target's voice, under its own name; whether it was coded by G.722 hangs on the target."""
    voices: dict[str, Voice] = {}
    for item in pairs:
        if item.target not in voices:
            voices[item.target] = converter.learn(spoken[item.target])
        wave = converter.convert(item.clip.wave, voices[item.target])
        if likeness:
            likeness.compare(item, wave)
        yield Clip(item.clip.name, wave, item.target, item.clip.part, item.target in g722)


class Likeness:
    """Whose voice the converted recordings have, by GE2E embeddings."""

    def __init__(self, encoder: SpeakerEncoder, spoken: dict[str, list[Wave]]) -> None:
        self.encoder, self.spoken = encoder, spoken
        self.found: list[tuple[str, float, float]] = []
        self.means: dict[str, NDArray[np.float32]] = {}

    def compare(self, item: Pair, wave: Wave) -> None:
        """Keep a recording's cosine to its target and to its source's voice, where both are known."""
        if item.clip.voice in self.spoken:
            embedding = self.encoder(wave)
            near, far = (float(embedding @ self.mean(voice)) for voice in (item.target, item.clip.voice))
            self.found.append((item.clip.part, near, far))

    def mean(self, voice: str) -> NDArray[np.float32]:
        """(256,) of length 1, from all that is known of a voice."""
        if voice not in self.means:
            mean = np.mean([self.encoder(wave) for wave in self.spoken[voice]], axis=0)
            self.means[voice] = mean / np.linalg.norm(mean)
        return self.means[voice]

    def lines(self) -> Iterator[str]:
        """One for each part."""
        for part in dict.fromkeys(name for name, _, _ in self.found):
            near, far = np.array([row[1:] for row in self.found if row[0] == part]).T
            yield (
                f"{part}: cosine {near.mean():.3f} to the target, {far.mean():.3f} to the source's voice; "
                f"nearer to the target {100 * np.mean(near > far):.1f} % of {len(near)}"
            )


def main() -> None:
    """Read the command line and write the set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("speech", type=Path, nargs="+", help="speech.npy and speech.json without suffix")
    parser.add_argument("--out", type=Path, required=True, help="folder for sound and the manifest")
    parser.add_argument(
        "--hifigan", type=Path, required=True, help="npz of a HiFi-GAN generator; see README.md"
    )
    parser.add_argument(
        "--speakers", type=Path, help="Resemblyzer's weights, to measure whose voice is heard"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--block", type=int, default=BLOCK)
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    wave, rows = read_all(options.speech)
    clips = choose(wave, rows, np.random.default_rng(options.seed))
    rng = np.random.default_rng((options.seed, 40))  # after those of the attacks of domains.py
    voices = targets(rows)
    spoken = {voice: utterances_of(wave, members, rng) for voice, members in voices.items()}
    pairs = [item for item in pair(some(clips, rng), voices, rng) if item.clip.part in options.parts]
    likeness = Likeness(SpeakerEncoder(options.speakers), spoken) if options.speakers else None
    cpu = torch.device("cpu")
    converter = Converter(Teacher(cpu).base, options.block, HifiGan(options.hifigan, cpu))
    recorder = Recorder(options.out, [clip for clip in clips if clip.part == "train"], options.seed)
    coded = {voice for voice, members in voices.items() if members[0].g722}
    recorder.write("knn_vc", converted(converter, pairs, spoken, coded, likeness), "spoof")
    for line in likeness.lines() if likeness else ():
        print(line, flush=True)


if __name__ == "__main__":
    main()
