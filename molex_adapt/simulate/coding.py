"""Encode and decode in memory with the codecs that PyAV, soundfile and libcodec2 carry."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molex_adapt.errors import AudioError
from molex_adapt.simulate.attack import Wave, load_optional, resample

_PCM_FULL_SCALE = 32767.0
_FALLBACK_FRAME = 320
_CODEC2_DELAY_FRAMES = 2


def round_trip(
    wave: Wave,
    encoder: str,
    decoder: str,
    *,
    rate: int,
    sample_format: str = "s16",
    bit_rate: int | None = None,
    options: dict[str, str] | None = None,
) -> Wave:
    """Send a waveform through an FFmpeg encoder and its decoder, packet by packet, without a container.

    Args:
        wave: (T,) float32, 16 kHz.
        encoder: FFmpeg's encoder name, such as "libopus".
        decoder: FFmpeg's decoder name.
        rate: what the encoder is fed, in Hz.
        sample_format: what the encoder takes: "s16", "s16p" or "fltp".
        bit_rate: bits per second; None: the codec has only one.
        options: private options of the encoder.

    Returns:
        (T',) float32, 16 kHz; longer than the input by the codec's delay and padding, so that no speech is lost.

    Raises:
        AudioError: the codec refused the parameters or the samples.

    Source: own, on PyAV.
    """
    av = load_optional("av", f"The codec {encoder}", "av")
    try:
        coder = _open_encoder(av, encoder, rate, sample_format, bit_rate, options or {})
        reader = av.CodecContext.create(decoder, "r")
        reader.sample_rate, reader.layout, reader.thread_count = rate, "mono", 1
        if coder.extradata:
            reader.extradata = coder.extradata
        narrow = resample(wave, 16_000, rate)
        pieces: list[NDArray[np.float32]] = []
        heard = rate
        for packet in _packets(av, coder, narrow, rate, sample_format):
            for frame in reader.decode(packet):
                pieces.append(_samples(frame))
                heard = frame.sample_rate
    except (av.error.FFmpegError, ValueError) as error:
        raise AudioError(
            f"The codec {encoder} refused {wave.size} samples at {rate} Hz, bit rate {bit_rate} ({error}). "
            "Expected a bit rate and options that this codec knows; change the attack's parameters."
        ) from error
    if not pieces:
        raise AudioError(
            f"The codec {encoder} returned no sound for {wave.size} samples. Expected speech longer than one of its "
            "frames; leave such short recordings out."
        )
    return resample(np.concatenate(pieces), heard)


def _open_encoder(
    av: Any, name: str, rate: int, sample_format: str, bit_rate: int | None, options: dict[str, str]
) -> Any:
    coder = av.CodecContext.create(name, "w")
    coder.sample_rate, coder.layout, coder.format = rate, "mono", sample_format
    coder.time_base, coder.thread_count = Fraction(1, rate), 1
    if bit_rate is not None:
        coder.bit_rate = bit_rate
    coder.options = options
    coder.open()
    return coder


def _packets(av: Any, coder: Any, wave: Wave, rate: int, sample_format: str) -> Iterator[Any]:
    """Feed whole frames, the last one padded by zeros, and one frame more so that delayed samples come out."""
    size = coder.frame_size or _FALLBACK_FRAME
    padded = np.pad(wave, (0, -wave.size % size + size))
    if sample_format.startswith("s16"):
        samples: NDArray[Any] = np.rint(np.clip(padded, -1, 1) * _PCM_FULL_SCALE).astype(np.int16)
    else:
        samples = padded
    for start in range(0, samples.size, size):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + size], sample_format, "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield from coder.encode(frame)
    yield from coder.encode(None)


def _samples(frame: Any) -> NDArray[np.float32]:
    values = frame.to_ndarray().reshape(-1)
    if values.dtype == np.int16:
        return np.asarray(values / 32768.0, dtype=np.float32)
    return np.asarray(values, dtype=np.float32)


def gsm(wave: Wave) -> Wave:
    """GSM 06.10 full rate (13 kbit/s, 8 kHz): (T,) to (T',) at 16 kHz. Source: own, on libsndfile."""
    import soundfile

    narrow = resample(wave, 16_000, 8_000)
    memory = io.BytesIO()
    soundfile.write(memory, np.clip(narrow, -1, 1), 8_000, format="WAV", subtype="GSM610")
    memory.seek(0)
    decoded, rate = soundfile.read(memory, dtype="float32")
    return resample(decoded, rate)


def codec2(wave: Wave, mode: int) -> Wave:
    """Codec 2 at `mode` bit/s, 8 kHz: (T,) to (T',) at 16 kHz. Source: own, on pycodec2 (bundles libcodec2)."""
    pycodec2 = load_optional("pycodec2", "The attack codec2", "pycodec2")
    coder = pycodec2.Codec2(mode)
    size = coder.samples_per_frame()
    narrow = resample(wave, 16_000, 8_000)
    padded = np.pad(narrow, (0, -narrow.size % size + _CODEC2_DELAY_FRAMES * size))
    frames = np.rint(np.clip(padded, -1, 1) * _PCM_FULL_SCALE).astype(np.int16).reshape(-1, size)
    decoded = np.concatenate([coder.decode(coder.encode(frame)) for frame in frames])
    return resample(decoded.astype(np.float32) / 32768.0, 8_000)


def g722(wave: Wave) -> Wave:
    """ITU-T G.722 at 64 kbit/s: (T,) to (T',)."""
    return round_trip(wave, "g722", "g722", rate=16_000)


def mulaw(wave: Wave) -> Wave:
    """ITU-T G.711 mu-law at 8 kHz: (T,) to (T',)."""
    return round_trip(wave, "pcm_mulaw", "pcm_mulaw", rate=8_000)


def alaw(wave: Wave) -> Wave:
    """ITU-T G.711 A-law at 8 kHz: (T,) to (T',)."""
    return round_trip(wave, "pcm_alaw", "pcm_alaw", rate=8_000)
