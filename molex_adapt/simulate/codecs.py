"""Conditions: speech and audio codecs that carry a recording, from telephone networks to the Internet."""

from __future__ import annotations

from abc import ABC
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from molex_adapt.simulate import coding
from molex_adapt.simulate.attack import Wave, load_optional, pick
from molex_adapt.simulate.condition import Condition

AmrMode = Literal[4750, 5150, 5900, 6700, 7400, 7950, 10200, 12200]
Mp3Rate = Literal[8000, 16000, 24000, 32000, 40000, 48000, 56000, 64000, 80000, 96000, 112000, 128000]
_WHOLE_BAND = {"cutoff": "7000"}
"""At low rates encoders would cut the band below 3,400 Hz; the condition `band` does that where it is wanted."""

_AAC_PRIMING = 1_024
"""Samples that FFmpeg's encoder puts before the speech. Its decoder leaves them in; that of Opus or MP3 does not."""

FrameMs = Annotated[Literal["2.5", "5", "10", "20", "40", "60"], BeforeValidator(str)]
"""Numbers too, as a command line reads them."""
OpusRate = Annotated[int, Field(ge=500, le=256_000)]
AacRate = Annotated[int, Field(ge=8_000, le=96_000)]
VorbisQuality = Annotated[float, Field(ge=0, le=1)]


class FfmpegCodec(Condition, ABC):
    """A codec that PyAV carries."""

    def check(self) -> None:
        load_optional("av", f"The condition {self.name}", "av")


class Opus(FfmpegCodec):
    """Opus (SILK / CELT) by libopus."""

    name: ClassVar[str] = "opus"
    bit_rate: OpusRate | Annotated[list[OpusRate], Field(min_length=1)] = 6_000
    """Bit/s; of several, one a recording by chance."""
    application: Literal["voip", "audio", "lowdelay"] = "voip"
    frame_ms: FrameMs = "20"

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        options: dict[str, str] = {"application": self.application, "frame_duration": self.frame_ms}
        bits = pick(self.bit_rate, rng)
        return coding.round_trip(wave, "libopus", "libopus", bit_rate=bits, options=options)


class Mp3(FfmpegCodec):
    """MPEG layer III by LAME, mono at 16 kHz."""

    name: ClassVar[str] = "mp3"
    bit_rate: Mp3Rate | Annotated[list[Mp3Rate], Field(min_length=1)] = 16_000
    """Bit/s; of several, one a recording by chance."""

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        bits = pick(self.bit_rate, rng)
        return coding.round_trip(
            wave, "libmp3lame", "mp3float", sample_format="s16p", bit_rate=bits, options=_WHOLE_BAND
        )


class Aac(FfmpegCodec):
    """AAC-LC, mono at 16 kHz."""

    name: ClassVar[str] = "aac"
    bit_rate: AacRate | Annotated[list[AacRate], Field(min_length=1)] = 12_000
    """Bit/s; of several, one a recording by chance."""

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        bits = pick(self.bit_rate, rng)
        coded = coding.round_trip(
            wave, "aac", "aac", sample_format="fltp", bit_rate=bits, options=_WHOLE_BAND
        )
        return coded[_AAC_PRIMING:]


class AmrNb(FfmpegCodec):
    """AMR narrow band (ACELP) of GSM and UMTS telephones, by OpenCORE."""

    name: ClassVar[str] = "amr_nb"
    bit_rate: AmrMode | Annotated[list[AmrMode], Field(min_length=1)] = 4750
    """Bit/s; of several, one a recording by chance."""

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        bits = pick(self.bit_rate, rng)
        return coding.round_trip(wave, "libopencore_amrnb", "amrnb", rate=8_000, bit_rate=bits)


class Gsm(Condition):
    """GSM 06.10 full rate (RPE-LTP, 13 kbit/s)."""

    name: ClassVar[str] = "gsm"
    passes: int = Field(default=1, ge=1, le=8)
    """How many times in a row: calls that cross several networks."""

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        for _ in range(self.passes):
            wave = coding.gsm(wave)
        return wave


class Vorbis(Condition):
    """Ogg Vorbis, mono at 16 kHz."""

    name: ClassVar[str] = "vorbis"
    quality: VorbisQuality | Annotated[list[VorbisQuality], Field(min_length=1)] = 0.1
    """0 the coarsest, 1 the finest; of several, one a recording by chance."""

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        return coding.vorbis(wave, pick(self.quality, rng))


class G722(FfmpegCodec):
    """G.722 at 64 kbit/s: wide-band telephony."""

    name: ClassVar[str] = "g722"

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        return coding.g722(wave)


class MuLaw(FfmpegCodec):
    """G.711 mu-law, 8 kHz: telephone networks of America and Japan."""

    name: ClassVar[str] = "mu_law"

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        return coding.mu_law(wave)


class ALaw(FfmpegCodec):
    """G.711 A-law, 8 kHz: telephone networks elsewhere."""

    name: ClassVar[str] = "a_law"

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        return coding.a_law(wave)
