"""The finish: a condition that brings recordings to one codec, band, level and no silence at their ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from molex_adapt.conventions import SAMPLE_RATE, Decibels, Hertz
from molex_adapt.errors import AudioError
from molex_adapt.simulate import coding
from molex_adapt.simulate.attack import Wave
from molex_adapt.simulate.condition import Condition
from molex_adapt.simulate.shaping import band_limited, leveled, trimmed

FinishCodec = Literal["none", "g722", "alaw", "mulaw", "gsm"]
_CODECS: dict[str, Callable[[Wave], Wave]] = {
    "g722": coding.g722,
    "alaw": coding.a_law,
    "mulaw": coding.mu_law,
    "gsm": coding.gsm,
}


class Finish(Condition):
    """Codec round trip, band limit, level, silence trim, in this order; the same for every recording."""

    name: ClassVar[str] = "finish"
    codec: FinishCodec = "g722"
    """The corpus's own codec, whose noise would mark bona fide speech; "none" for uncompressed corpora."""
    band: tuple[Hertz, Hertz] = (50.0, 3_400.0)
    """Pass band in Hz; 3,400 because attacks of narrow band would be known by it."""
    level_dbfs: Decibels = Field(default=-26.0, ge=-60.0, le=-10.0)
    """RMS level of the active frames, in dB relative to full scale."""
    trim: bool = True
    """Cut silence at both ends; pauses inside stay."""

    @model_validator(mode="after")
    def _check_band(self) -> Self:
        low, high = self.band
        if not 0 <= low < high <= SAMPLE_RATE / 2:
            raise ValueError(f"band {low}-{high} Hz; expected 0 <= low < high <= {SAMPLE_RATE // 2}")
        return self

    @property
    def moves_time(self) -> bool:
        return self.trim

    def apply(self, wave: Wave, rng: np.random.Generator | None = None) -> Wave:
        """Pass one recording through the finish: (T,) float32, 16 kHz, to (T',) likewise, at most full scale.

        Args:
            wave: the recording.
            rng: not read; there is no chance in it.

        Raises:
            AudioError: samples that are not finite, or silence.

        Source: own; active level in the spirit of ITU-T P.56.
        """
        if not np.isfinite(wave).all():
            raise AudioError("The waveform has samples that are not finite; expected values in [-1, 1].")
        if self.codec != "none":
            wave = _CODECS[self.codec](leveled(wave, self.level_dbfs))
        wave = leveled(band_limited(wave, *self.band), self.level_dbfs)
        return trimmed(wave) if self.trim else wave
