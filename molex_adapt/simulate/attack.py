"""What every attack is: named, validated parameters and one function from a waveform to a forged one."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import ModuleType
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict

from molex_adapt.conventions import SAMPLE_RATE, Hertz
from molex_adapt.errors import DataError

Wave = NDArray[np.float32]
"""(T,) float32 in [-1, 1], 16 kHz, one channel."""

Number = TypeVar("Number", int, float)


def _in_order(span: tuple[Any, Any]) -> tuple[Any, Any]:
    if span[0] > span[1]:
        raise ValueError("the lowest value comes first, the highest second")
    return span


Span = Annotated[tuple[Number, Number], AfterValidator(_in_order)]
"""The lowest and the highest value; every recording draws its own between them."""


class Attack(BaseModel, ABC):
    """The parameters of one attack; subclasses say what it does. Unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    partial: ClassVar[bool] = False
    """Whether a part of the recording stays real."""

    def check(self) -> None:
        """Raise DataError unless everything the attack needs is installed; the default needs nothing more."""

    def condition(self, rng: np.random.Generator) -> str | None:
        """What its recordings went through besides being forged; `rng` is as for forging. None: nothing."""
        return None

    def forged(self, samples: int, rng: np.random.Generator) -> tuple[int, int] | None:
        """The first and the end sample of what is forged in a recording of so many; `rng` is as for forging.

        None: all of it.
        """
        return None


class CopySynthesis(Attack, ABC):
    """An attack that makes the forged recording out of the bona fide one."""

    @abstractmethod
    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        """Forge (T,) samples at 16 kHz to (T',), T' about T; `rng` is the only source of chance."""


class TextToSpeech(Attack, ABC):
    """An attack that speaks the transcript of the bona fide recording."""

    def languages(self) -> frozenset[str] | None:
        """Two-letter codes of what the attack speaks; None: not limited."""
        return None

    @abstractmethod
    def speak(self, text: str, language: str | None, rng: np.random.Generator) -> Wave:
        """Speak `text`: (T',) samples at 16 kHz.

        Args:
            language: such as "en" or "fr-CA"; None: not known, taken as English.
            rng: the only source of chance (voice, speed).
        """


def load_optional(module: str, what: str, install: str) -> ModuleType:
    """Import an optional package, or say in a DataError how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(
            f"{what} needs the Python package that provides '{module}', which cannot be imported ({error}). "
            f"Install it: pip install {install}"
        ) from error


def pick(value: Number | Sequence[Number], rng: np.random.Generator) -> Number:
    """One of several values by chance, or the only one."""
    if isinstance(value, int | float):
        return value
    return value[int(rng.integers(len(value)))]


def draw(span: float | tuple[float, float], rng: np.random.Generator) -> float:
    """A number between the lowest and the highest, evenly; or the only one."""
    return float(span) if isinstance(span, int | float) else float(rng.uniform(*span))


def resample(wave: NDArray[Any], source: Hertz, target: Hertz = SAMPLE_RATE) -> Wave:
    """Change the sampling rate of (T,) samples (soxr, high quality)."""
    if source == target:
        return np.asarray(wave, dtype=np.float32)
    import soxr

    return np.asarray(soxr.resample(np.asarray(wave, dtype=np.float32), source, target), dtype=np.float32)
