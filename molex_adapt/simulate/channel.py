"""Conditions: what rooms, microphones and lines do to a recording before a codec carries it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from molex_adapt.conventions import SAMPLE_RATE, Decibels, Hertz, Seconds
from molex_adapt.simulate.attack import Span, Wave, draw, pick, resample
from molex_adapt.simulate.condition import Condition
from molex_adapt.simulate.shaping import active_level, band_limited, leveled

_ROOM: Seconds = 0.35
_DECAY = float(np.log(1000))
"""Nepers of 60 dB."""
_LOWEST: Hertz = 20.0
"""Coloured noise rises no further below it."""

Dbfs = Annotated[Decibels, Field(ge=-60.0, le=-10.0)]
Snr = Annotated[Decibels, Field(ge=-10.0, le=80.0)]
Colour = Annotated[float, Field(ge=0.0, le=1.0)]
Reverberation = Annotated[Seconds, Field(ge=0.02, le=3.0)]
Direct = Annotated[Decibels, Field(ge=-10.0, le=40.0)]
Edge = Annotated[Hertz, Field(ge=0.0, le=SAMPLE_RATE / 2)]
Rate = Annotated[int, Field(ge=2_000, le=SAMPLE_RATE)]
Headroom = Annotated[float, Field(ge=0.5, le=20.0)]


class Room(Condition):
    """A room: the sound, followed by noise that decays."""

    name: ClassVar[str] = "room"
    decay: Reverberation | Span[Reverberation] = (0.08, 0.5)
    """Seconds in which the reverberation falls by 60 dB; a number, or a span. No more than 0.35 s sound."""
    direct: Direct | Span[Direct] = (2.0, 16.0)
    """How far the reverberation lies below the direct sound, in dB; a number, or a span to draw from."""

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        from scipy.signal import oaconvolve

        times = np.arange(round(_ROOM * SAMPLE_RATE)) / SAMPLE_RATE
        tail = rng.standard_normal(times.size) * np.exp(-times * _DECAY / draw(self.decay, rng))
        tail *= 10 ** (-draw(self.direct, rng) / 20) / np.linalg.norm(tail)
        tail[0] = 1.0
        return np.asarray(oaconvolve(wave, tail)[: wave.size], dtype=np.float32)


class Noise(Condition):
    """Steady noise between white and pink."""

    name: ClassVar[str] = "noise"
    snr: Snr | Span[Snr] = (8.0, 40.0)
    """Level of the speech above it in dB; a number, or a span to draw from."""
    colour: Colour | Span[Colour] = (0.0, 1.0)
    """0 white, 1 pink; a number, or a span to draw from."""

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        level = active_level(wave) - draw(self.snr, rng)
        spectrum = np.fft.rfft(rng.standard_normal(wave.size))
        hertz = np.maximum(np.fft.rfftfreq(wave.size, 1 / SAMPLE_RATE), _LOWEST)
        # Pink noise has the power 1 / f.
        noise = np.fft.irfft(spectrum * hertz ** (-draw(self.colour, rng) / 2), wave.size)
        noise *= 10 ** (level / 20) / np.sqrt(np.mean(np.square(noise)))
        return np.asarray(wave + noise, dtype=np.float32)


class Clip(Condition):
    """Peaks cut off, as by an amplifier that is driven too hard."""

    name: ClassVar[str] = "clip"
    headroom: Headroom | Span[Headroom] = (1.5, 5.0)
    """Where the cut is, in multiples of the speech's RMS; a number, or a span to draw from."""

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        limit = 10 ** (active_level(wave) / 20) * draw(self.headroom, rng)
        return np.clip(wave, -limit, limit).astype(np.float32)


class Level(Condition):
    """Another level."""

    name: ClassVar[str] = "level"
    dbfs: Dbfs | Span[Dbfs] = (-36.0, -16.0)
    """RMS of the active frames in dB of full scale, less where peaks would not fit; a number, or a span."""

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        return leveled(wave, draw(self.dbfs, rng))


class Band(Condition):
    """A band-pass filter; the default is that of a telephone."""

    name: ClassVar[str] = "band"
    low: Edge | Span[Edge] = 300.0
    high: Edge | Span[Edge] = 3_400.0
    """Edges in Hz; a number each, or a span to draw from. 0 and 8000 leave that side open."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if np.max(self.low) >= np.min(self.high):
            raise ValueError(
                f"low {self.low}, high {self.high}; expected every low edge below every high one"
            )
        return self

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        return band_limited(wave, draw(self.low, rng), draw(self.high, rng))


class Resample(Condition):
    """Resampled to a lower rate and back."""

    name: ClassVar[str] = "resample"
    rate: Rate | Annotated[list[Rate], Field(min_length=1)] = 8_000
    """Hz; of several, one a recording by chance."""

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        rate = pick(self.rate, rng)
        return resample(resample(wave, SAMPLE_RATE, rate), rate)[: wave.size]
