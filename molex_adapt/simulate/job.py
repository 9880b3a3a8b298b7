"""Make one file of a simulated set; runs in worker processes, so it imports no torch and keeps to one thread."""

from __future__ import annotations

import io
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molex_adapt.atomic import FULL, replacing
from molex_adapt.conventions import BONA_FIDE, SAMPLE_RATE, SPOOF, Label
from molex_adapt.data.audio import decode
from molex_adapt.data.table import Stretch
from molex_adapt.digest import sha256
from molex_adapt.errors import AudioError, MolexError
from molex_adapt.simulate.attack import Attack, CopySynthesis, TextToSpeech, Wave
from molex_adapt.simulate.condition import Chain, Condition, joined, settle
from molex_adapt.simulate.shaping import CEILING, active_frames

_FAULTS = (
    *(MolexError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError, OSError),
    subprocess.SubprocessError,
)
"""What codecs, vocoders and voices raise over one recording that they cannot take."""


@dataclass(frozen=True, slots=True)
class Job:
    """One recording, and the files to make of it."""

    name: str
    """Path of the result without suffix, relative to its class's folder; also seeds the chance."""
    audio: Path
    text: str | None
    language: str | None
    bona_fide: Path | None
    """Where the bona fide version goes; None: not wanted."""
    spoof: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job; `reason` says why there is nothing."""

    name: str
    reason: str | None
    forged: tuple[Stretch, ...] | None = None
    """From when to when the spoofed recording is forged; None: all of it."""


@dataclass(frozen=True, slots=True)
class Maker:
    """Does jobs, all with the same attack, conditions and seed."""

    attack: Attack
    conditions: tuple[Condition, ...]
    seed: int

    def __call__(self, job: Job) -> Outcome:
        """Make the files of one job that are missing or older than the recording; never raises for one bad file.

        Raises:
            OSError: there is no more room; the recording cannot help it.
        """
        try:
            forged = self._make(job)
        except _FAULTS as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            return Outcome(
                job.name, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            )
        return Outcome(job.name, None, forged)

    def _make(self, job: Job) -> tuple[Stretch, ...] | None:
        wanted = [path for path in (job.bona_fide, job.spoof) if path and not _is_fresh(path, job.audio)]
        if not wanted and not self.attack.partial:
            return None
        wave = decode(job.audio)
        forged = self._record(job, SPOOF, self._forge(job, wave)) if job.spoof in wanted else None
        if job.bona_fide in wanted:
            _save(self._record(job, BONA_FIDE, wave), job.bona_fide)
        if forged is not None:
            _save(forged, job.spoof)
        return self._forged_in(job, wave.size)

    def condition_of(self, job: Job, label: Label) -> str:
        """What a recording went through here, as the manifest calls it."""
        by_attack = self.attack.condition(self._chance_of_forging(job)) if label == SPOOF else None
        return joined([by_attack, self._chain(job, label)[0].name])

    def _record(self, job: Job, label: Label, wave: Wave) -> Wave:
        """(T,) through the conditions, and fit to be written; no condition is told the class."""
        chain, rng = self._chain(job, label)
        return _writable(chain.apply(wave, rng))

    def _chain(self, job: Job, label: Label) -> tuple[Chain, np.random.Generator]:
        """The conditions of one file, and the chance that is left for them."""
        rng = chance(self.seed, f"condition of {self.attack.name if label == SPOOF else label}", job.name)
        return settle(self.conditions, rng), rng

    def _forged_in(self, job: Job, samples: int) -> tuple[Stretch, ...] | None:
        """The stretch as the attack drew it, of the samples that it was given: conditions make a recording longer."""
        at = self.attack.forged(samples, self._chance_of_forging(job))
        return None if at is None else ((at[0] / SAMPLE_RATE, at[1] / SAMPLE_RATE),)

    def _chance_of_forging(self, job: Job) -> np.random.Generator:
        return chance(self.seed, self.attack.name, job.name)

    def _forge(self, job: Job, wave: Wave) -> Wave:
        rng = self._chance_of_forging(job)
        if isinstance(self.attack, TextToSpeech):
            if not job.text:
                raise AudioError(
                    "The recording has no transcript to speak; give one in the manifest's column text."
                )
            return self.attack.speak(job.text, job.language, rng)
        if isinstance(self.attack, CopySynthesis):
            return self.attack.apply(wave, rng)
        raise AudioError(f"The attack {self.attack.name} neither copies nor speaks.")


def chance(seed: int, what: str, name: str) -> np.random.Generator:
    """A generator that depends on these three alone, not on order, number of processes or limit.

    Args:
        seed: of the run.
        what: the attack, or whose conditions are drawn.
        name: of the recording.
    """
    digest = bytes.fromhex(sha256(f"{seed}\0{what}\0{name}"))
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _writable(wave: Wave) -> Wave:
    """(T,) as it is, or softer where 16 bits would clip it.

    Raises:
        AudioError: samples that are not finite, or silence.
    """
    if not np.isfinite(wave).all():
        raise AudioError("The waveform has samples that are not finite; expected values in [-1, 1].")
    active_frames(wave)
    peak = float(np.abs(wave).max())
    return wave if peak <= 1.0 else np.asarray(wave * (CEILING / peak), dtype=np.float32)


def _is_fresh(path: Path, audio: Path) -> bool:
    return path.exists() and path.stat().st_mtime >= audio.stat().st_mtime


def _save(wave: Wave, path: Path) -> None:
    """Write 16-bit FLAC; a killed run leaves no half file under a real name."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    # Written to a file, soundfile would hide that the disk is full.
    encoded = io.BytesIO()
    soundfile.write(encoded, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    with replacing(path, durable=False) as staged:
        staged.write_bytes(encoded.getvalue())
