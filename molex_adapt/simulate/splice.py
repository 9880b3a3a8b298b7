"""Partly forged recordings: a stretch of a real one is replaced by its forged copy, as an edit of a few words would."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.errors import AudioError, RecipeError
from molex_adapt.simulate.attack import CopySynthesis, Span, Wave, draw
from molex_adapt.simulate.parameters import made_of
from molex_adapt.simulate.shaping import active_frames, frame_power
from molex_adapt.simulate.source_filter import FormantShift, Lpc
from molex_adapt.simulate.vocoders import Codec2, GriffinLim, World

_COPIES: dict[str, type[CopySynthesis]] = {
    attack.name: attack for attack in (World, GriffinLim, Lpc, Codec2, FormantShift)
}
"""Attacks whose copies are as long as the recording, so that a stretch of one fits into the other."""
_FADE = SAMPLE_RATE // 100
_SHORTEST = SAMPLE_RATE // 5


class Splice(CopySynthesis):
    """A stretch of the recording comes from its copy by another attack; the manifest's `forged` says from when to when.

    The stretch has the level of what it replaces, and is faded in and out within 10 ms.
    """

    name: ClassVar[str] = "splice"
    partial: ClassVar[bool] = True
    by: str = "world"
    """The attack that makes the copy."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Of that attack, where they differ from its defaults."""
    share: Span[float] = (0.2, 0.5)
    """Of the recording, at least 0.2 s; every recording draws its own."""

    @field_validator("share")
    @classmethod
    def _is_a_share(cls, span: tuple[float, float]) -> tuple[float, float]:
        if not 0 < span[0] <= span[1] <= 0.9:
            raise ValueError("expected shares above 0 and up to 0.9")
        return span

    def model_post_init(self, _context: Any) -> None:
        """Refuse what the other attack refuses."""
        try:
            _ = self.attack
        except RecipeError as error:
            raise ValueError(str(error)) from None

    @cached_property
    def attack(self) -> CopySynthesis:
        """The attack that makes the copy."""
        return made_of("attack to splice from", _COPIES, self.by, self.parameters)

    def check(self) -> None:
        self.attack.check()

    def condition(self, rng: np.random.Generator) -> str | None:
        self._place(rng)
        return self.attack.condition(rng)

    def forged(self, samples: int, rng: np.random.Generator) -> tuple[int, int] | None:
        share, place = self._place(rng)
        length = max(_SHORTEST, round(share * samples))
        if samples < 2 * _SHORTEST:
            raise AudioError(
                f"{samples / SAMPLE_RATE:.2f} s is too short to be forged in part; expected at least "
                f"{2 * _SHORTEST / SAMPLE_RATE:g} s"
            )
        length = min(length, samples - _SHORTEST)
        first = round(place * (samples - length))
        return first, first + length

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        at = self.forged(wave.size, rng)
        assert at is not None
        first, end = at
        copy = self.attack.apply(wave, rng)
        if copy.size < end:
            copy = np.pad(copy, (0, end - copy.size))
        weight = np.zeros(wave.size, dtype=np.float32)
        weight[first:end] = 1.0
        fade = min(_FADE, (end - first) // 2)
        rising = ((np.arange(fade) + 0.5) / fade).astype(np.float32)
        weight[first : first + fade], weight[end - fade : end] = rising, rising[::-1]
        level = _gain(wave[first:end], copy[first:end])
        return np.asarray(wave * (1 - weight) + level * copy[: wave.size] * weight, dtype=np.float32)

    def _place(self, rng: np.random.Generator) -> tuple[float, float]:
        return draw(self.share, rng), float(rng.uniform())


def _gain(wave: Wave, copy: Wave) -> np.float32:
    """What brings the copy's speech to the level of the recording's; 1 where either is silent."""
    power, made = frame_power(wave), frame_power(copy)
    try:
        active = active_frames(wave)
    except AudioError:
        return np.float32(1.0)
    level = float(made[active].mean())
    return np.float32(np.sqrt(power[active].mean() / level) if level > 0 else 1.0)
