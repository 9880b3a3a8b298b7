"""Encode and decode in memory with the codecs that PyAV, soundfile and libcodec2 carry."""

from __future__ import annotations

import ctypes.util
import importlib.util
import io
import subprocess
import sys
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import Seconds
from molex_adapt.errors import AudioError, DataError
from molex_adapt.simulate import codec2_process
from molex_adapt.simulate.attack import Wave, load_optional, resample

_PCM_FULL_SCALE = 32767.0
_FALLBACK_FRAME = 320
_PATIENCE: Seconds = 60.0
_VORBIS_BLOCK = 65_536
"""Samples at a time: libsndfile keeps a block on the stack, and a long one ends the process."""


def round_trip(
    wave: Wave,
    encoder: str,
    decoder: str,
    *,
    rate: int = 16_000,
    sample_format: str = "s16",
    bit_rate: int | None = None,
    options: dict[str, str] | None = None,
    seamless: bool = False,
) -> Wave:
    """Send a waveform through an FFmpeg encoder and its decoder, without a container.

    Args:
        wave: (T,) float32, 16 kHz.
        encoder, decoder: FFmpeg's names, such as "libopus".
        rate: what the encoder is fed, in Hz.
        sample_format: what the encoder takes: "s16", "s16p" or "fltp".
        bit_rate: bits per second; None: the codec has only one.
        options: private options of the encoder.
        seamless: the codec works sample by sample, so that all packets can be decoded as one: the same samples,
            without a hundred calls a recording.

    Returns:
        (T',) float32, 16 kHz; longer than the input by the codec's delay and padding, so that no speech is lost.

    Raises:
        AudioError: the codec refused the parameters or the samples.

    Source: own, on PyAV.
    """
    av = load_optional("av", f"The codec {encoder}", "av")
    try:
        coder = av.CodecContext.create(encoder, "w")
        coder.sample_rate, coder.layout, coder.format = rate, "mono", sample_format
        coder.time_base, coder.thread_count, coder.options = Fraction(1, rate), 1, options or {}
        if bit_rate is not None:
            coder.bit_rate = bit_rate
        coder.open()
        reader = av.CodecContext.create(decoder, "r")
        reader.sample_rate, reader.layout, reader.thread_count = rate, "mono", 1
        if coder.extradata:
            reader.extradata = coder.extradata
        narrow = resample(wave, 16_000, rate)
        pieces: list[NDArray[np.float32]] = []
        heard = rate
        packets = _packets(av, coder, narrow, rate, sample_format)
        for packet in [av.Packet(b"".join(map(bytes, packets)))] if seamless else packets:
            for frame in reader.decode(packet):
                pieces.append(_samples(frame))
                heard = frame.sample_rate
    except (av.error.FFmpegError, ValueError) as error:
        raise AudioError(
            f"The codec {encoder} refused {wave.size} samples at {rate} Hz, bit rate {bit_rate} ({error}). "
            "Expected a bit rate and options that this codec knows; change its parameters."
        ) from error
    if not pieces:
        raise AudioError(
            f"The codec {encoder} returned no sound for {wave.size} samples. Expected speech longer than one of its "
            "frames; leave such short recordings out."
        )
    return resample(np.concatenate(pieces), heard)


def _packets(av: Any, coder: Any, wave: Wave, rate: int, sample_format: str) -> list[Any]:
    """Whole frames, the last one padded by zeros, and one frame more so that delayed samples come out.

    PyAV cuts what it is given into the encoder's frames itself.
    """
    size = coder.frame_size or _FALLBACK_FRAME
    padded = np.pad(wave, (0, -wave.size % size + size))
    if sample_format.startswith("s16"):
        samples: NDArray[Any] = np.rint(np.clip(padded, -1, 1) * _PCM_FULL_SCALE).astype(np.int16)
    else:
        samples = padded
    frame = av.AudioFrame.from_ndarray(samples[None], sample_format, "mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    return [*coder.encode(frame), *coder.encode(None)]


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


def g722(wave: Wave) -> Wave:
    """G.722 at 64 kbit/s: (T,) to (T',) at 16 kHz. Source: own, on PyAV."""
    return round_trip(wave, encoder="g722", decoder="g722", seamless=True)


def a_law(wave: Wave) -> Wave:
    """G.711 A-law, 8 kHz: (T,) to (T',) at 16 kHz. Source: own, on PyAV."""
    return round_trip(wave, encoder="pcm_alaw", decoder="pcm_alaw", rate=8_000, seamless=True)


def mu_law(wave: Wave) -> Wave:
    """G.711 mu-law, 8 kHz: (T,) to (T',) at 16 kHz. Source: own, on PyAV."""
    return round_trip(wave, encoder="pcm_mulaw", decoder="pcm_mulaw", rate=8_000, seamless=True)


def vorbis(wave: Wave, quality: float) -> Wave:
    """Ogg Vorbis, mono at 16 kHz: (T,) to (T',). PyAV has no encoder of it. Source: own, on libsndfile."""
    import soundfile

    memory = io.BytesIO()
    how = {"samplerate": 16_000, "channels": 1, "format": "OGG", "subtype": "VORBIS"}
    with soundfile.SoundFile(memory, "w", **how, compression_level=1 - quality) as file:
        for start in range(0, wave.size, _VORBIS_BLOCK):
            file.write(np.clip(wave[start : start + _VORBIS_BLOCK], -1, 1))
    memory.seek(0)
    decoded, rate = soundfile.read(memory, dtype="float32")
    return resample(decoded, rate)


def codec2(wave: Wave, bit_rate: int) -> Wave:
    """Codec 2 at `bit_rate`, 8 kHz: (T,) to (T',) at 16 kHz.

    Raises:
        AudioError: libcodec2 failed.
        DataError: there is no libcodec2.

    Source: own, on libcodec2.
    """
    narrow = resample(wave, 16_000, 8_000)
    samples = np.rint(np.clip(narrow, -1, 1) * _PCM_FULL_SCALE).astype(np.int16).tobytes()
    arguments = [find_codec2(), str(bit_rate)]
    decoded = run_script(codec2_process.__file__, arguments, samples, "libcodec2")
    return resample(np.frombuffer(decoded, dtype=np.int16) / np.float32(32768), 8_000)


@lru_cache(maxsize=1)
def find_codec2() -> str:
    """Path of libcodec2: the one inside the package pycodec2, else the system's.

    Raises:
        DataError: neither is installed.
    """
    package = importlib.util.find_spec("pycodec2")
    for place in package.submodule_search_locations or [] if package else []:
        for folder in (Path(f"{place}.libs"), Path(place, ".dylibs")):
            for path in sorted(folder.glob("*codec2*")):
                return str(path)
    found = ctypes.util.find_library("codec2")
    if found is None:
        raise DataError(
            "The attack codec2 needs libcodec2, which is not installed. Expected the Python package pycodec2, which "
            "carries it, or the system's library; run: pip install pycodec2 (or: apt-get install libcodec2-1.0)"
        )
    return found


def run_script(script: str, arguments: list[str], given: bytes, what: str) -> bytes:
    """Run one of our scripts in a fresh interpreter: bytes in, bytes out.

    Raises:
        AudioError: it failed, crashed or took longer than a minute.
    """
    # Nothing but the standard library: starts fast.
    command = [sys.executable, "-I", "-S", script, *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise AudioError(
            f"{what} took longer than {_PATIENCE:.0f} s. Leave such long recordings out."
        ) from error
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise AudioError(
            f"{what} failed ({said[0]}). Change the attack's parameters, or leave this recording out."
        )
    return done.stdout
