"""Make one file of a simulated set; runs in worker processes, so it imports no torch and keeps to one thread."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molex_adapt.atomic import replacing
from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.data.audio import decode
from molex_adapt.digest import sha256
from molex_adapt.errors import AudioError, MolexError
from molex_adapt.simulate.attack import Attack, CopySynthesis, TextToSpeech, Wave
from molex_adapt.simulate.finish import Finish

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


@dataclass(frozen=True, slots=True)
class Maker:
    """Does jobs, all with the same attack, finish and seed."""

    attack: Attack
    finish: Finish
    seed: int

    def __call__(self, job: Job) -> Outcome:
        """Make the files of one job that are missing or older than the recording; never raises for one bad file."""
        try:
            self._make(job)
        except _FAULTS as error:
            return Outcome(
                job.name, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            )
        return Outcome(job.name, None)

    def _make(self, job: Job) -> None:
        wanted = [path for path in (job.bona_fide, job.spoof) if path and not _is_fresh(path, job.audio)]
        if not wanted:
            return
        wave = decode(job.audio)
        forged = self.finish.apply(self._forge(job, wave)) if job.spoof in wanted else None
        if job.bona_fide in wanted:
            _save(self.finish.apply(wave), job.bona_fide)
        if forged is not None:
            _save(forged, job.spoof)

    def _forge(self, job: Job, wave: Wave) -> Wave:
        rng = chance(self.seed, self.attack.name, job.name)
        if isinstance(self.attack, TextToSpeech):
            if not job.text:
                raise AudioError(
                    "The recording has no transcript to speak; give one in the manifest's column text."
                )
            return self.attack.speak(job.text, job.language, rng)
        if isinstance(self.attack, CopySynthesis):
            return self.attack.apply(wave, rng)
        raise AudioError(f"The attack {self.attack.name} neither copies nor speaks.")


def chance(seed: int, attack: str, name: str) -> np.random.Generator:
    """A generator that depends on these three alone, not on order, number of processes or limit."""
    digest = bytes.fromhex(sha256(f"{seed}\0{attack}\0{name}"))
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _is_fresh(path: Path, audio: Path) -> bool:
    return path.exists() and path.stat().st_mtime >= audio.stat().st_mtime


def _save(wave: Wave, path: Path) -> None:
    """Write 16-bit FLAC; a killed run leaves no half file under a real name."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=False) as staged:
        soundfile.write(staged, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
