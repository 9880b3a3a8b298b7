"""Attacks by copy-synthesis: analyse the recording into vocoder parameters, then build it again from them."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from molex_adapt.conventions import SAMPLE_RATE, Hertz
from molex_adapt.errors import AudioError
from molex_adapt.simulate import coding
from molex_adapt.simulate.attack import CopySynthesis, Wave, load_optional, pick
from molex_adapt.simulate.spectrum import Spectrum, analyse, mel_filters, synthesise

Codec2Mode = Literal[3200, 2400, 1600, 1400, 1300, 1200, 700]


class World(CopySynthesis):
    """The WORLD vocoder (Morise et al. 2016), as used by statistical parametric synthesis."""

    name: ClassVar[str] = "world"
    f0_method: Literal["dio", "harvest"] = "dio"
    """dio (refined by StoneMask) is fast; harvest is steadier and several times slower."""
    f0_floor: Hertz = Field(default=71.0, ge=40, le=200)
    f0_ceil: Hertz = Field(default=500.0, ge=200, le=1000)
    frame_period: float = Field(default=5.0, ge=1.0, le=20.0)
    """Milliseconds between frames."""
    spectral_dims: int | None = Field(default=None, ge=10, le=120)
    """Code the spectral envelope into so many mel-cepstral numbers a frame and back; None: leave it whole."""
    aperiodicity_coding: bool = False
    """Code the aperiodicity into its few bands and back."""

    def check(self) -> None:
        load_optional("pyworld", "The attack world", "pyworld-prebuilt")

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        world = load_optional("pyworld", "The attack world", "pyworld-prebuilt")
        samples = np.ascontiguousarray(wave, dtype=np.float64)
        span = {"f0_floor": self.f0_floor, "f0_ceil": self.f0_ceil, "frame_period": self.frame_period}
        if self.f0_method == "dio":
            rough, times = world.dio(samples, SAMPLE_RATE, **span)
            f0 = world.stonemask(samples, rough, times, SAMPLE_RATE)
        else:
            f0, times = world.harvest(samples, SAMPLE_RATE, **span)
        envelope = world.cheaptrick(samples, f0, times, SAMPLE_RATE, f0_floor=self.f0_floor)
        fft_size = (envelope.shape[1] - 1) * 2
        noise = world.d4c(samples, f0, times, SAMPLE_RATE, fft_size=fft_size)
        if self.spectral_dims is not None:
            coded = world.code_spectral_envelope(envelope, SAMPLE_RATE, self.spectral_dims)
            envelope = world.decode_spectral_envelope(coded, SAMPLE_RATE, fft_size)
        if self.aperiodicity_coding:
            noise = world.decode_aperiodicity(
                world.code_aperiodicity(noise, SAMPLE_RATE), SAMPLE_RATE, fft_size
            )
        built = world.synthesize(f0, envelope, noise, SAMPLE_RATE, self.frame_period)
        return np.asarray(built[: wave.size], dtype=np.float32)


class GriffinLim(CopySynthesis):
    """Phase by Griffin-Lim from a mel spectrogram, as early neural synthesis did (fast variant with momentum)."""

    name: ClassVar[str] = "griffin_lim"
    n_mels: int = Field(default=80, ge=20, le=256)
    n_fft: Literal[256, 512, 1024, 2048] = 1024
    hop: int = Field(default=256, ge=16)
    """Samples between frames; must divide n_fft at least four times."""
    iterations: int = Field(default=32, ge=0, le=1000)
    momentum: float = Field(default=0.99, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _check_hop(self) -> Self:
        if self.n_fft % self.hop or self.n_fft < 4 * self.hop:
            raise ValueError(
                f"hop {self.hop} for n_fft {self.n_fft}; expected {self.n_fft} / 4, / 8, / 16 ..."
            )
        return self

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        if wave.size < self.n_fft:
            raise AudioError(
                f"{wave.size} samples are fewer than n_fft {self.n_fft}; leave this recording out."
            )
        mels = np.abs(analyse(wave, self.n_fft, self.hop)) @ mel_filters(self.n_fft, self.n_mels).T
        magnitude = np.maximum(mels @ _mel_inverse(self.n_fft, self.n_mels), 1e-7).astype(np.float32)
        turn = rng.uniform(0, 2 * np.pi, magnitude.shape).astype(np.float32)
        return self._built(magnitude, magnitude * np.exp(1j * turn).astype(np.complex64), wave.size)

    def _built(self, magnitude: NDArray[np.float32], spectrum: Spectrum, length: int) -> Wave:
        """Perraudin, Balazs, Sondergaard 2013: project onto consistent spectrograms, overshoot, keep the phase.

        In place, and with the quotient of the two magnitudes: fresh arrays of this size cost more than the sums.
        """
        before = np.zeros_like(spectrum)
        for _ in range(self.iterations):
            rebuilt = analyse(synthesise(spectrum, self.n_fft, self.hop, length), self.n_fft, self.hop)
            before *= np.float32(-self.momentum / (1 + self.momentum))
            before += rebuilt
            before *= magnitude / np.maximum(np.abs(before), np.float32(1e-12))
            spectrum, before = before, rebuilt
        return synthesise(spectrum, self.n_fft, self.hop, length)


@lru_cache(maxsize=4)
def _mel_inverse(n_fft: int, n_mels: int) -> NDArray[np.float32]:
    return np.asarray(np.linalg.pinv(mel_filters(n_fft, n_mels)).T, dtype=np.float32)


class Codec2(CopySynthesis):
    """Codec 2, a sinusoidal vocoder of 8 kHz: a codec, but it carries parameters of a voice and not its waveform."""

    name: ClassVar[str] = "codec2"
    bit_rate: Codec2Mode | Annotated[list[Codec2Mode], Field(min_length=1)] = 1300
    """Bit/s: 3200 ... 1200, and 700 for mode 700C; of several, one a recording by chance."""

    def check(self) -> None:
        coding.find_codec2()

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        return coding.codec2(wave, pick(self.bit_rate, rng))
