"""Code and decode with libcodec2, samples from standard input to standard output; a script, in its own process.

The decoder draws the phases of unvoiced speech from a generator that lives as long as the process and cannot be
reset, so only a fresh process decodes the same bits the same way twice. Uses the standard library alone, so that
it starts fast.

    python codec2_process.py LIBRARY BITS_PER_SECOND < samples > samples
"""

from __future__ import annotations

import ctypes
import sys

MODES = {3200: 0, 2400: 1, 1600: 2, 1400: 3, 1300: 4, 1200: 5, 700: 8}
"""libcodec2's number of each mode, by bits per second."""

_DELAY_FRAMES = 2
"""Silence appended, so that the end of the speech comes out."""


def code(library: str, mode: int, samples: bytes) -> bytes:
    """Encode and decode 16-bit signed samples, native order, one channel, 8 kHz; whole frames come back.

    Raises:
        SystemExit: the library knows no such mode.

    Source: own, on libcodec2's public interface.
    """
    codec2 = ctypes.CDLL(library)
    codec2.codec2_create.restype = ctypes.c_void_p
    made = codec2.codec2_create(mode)
    if not made:
        raise SystemExit(f"libcodec2 has no mode {mode}")
    state = ctypes.c_void_p(made)
    size = 2 * codec2.codec2_samples_per_frame(state)
    bits = ctypes.create_string_buffer((codec2.codec2_bits_per_frame(state) + 7) // 8)
    heard = ctypes.create_string_buffer(size)
    padded = samples + bytes(-len(samples) % size + _DELAY_FRAMES * size)
    pieces = []
    for start in range(0, len(padded), size):
        codec2.codec2_encode(state, bits, padded[start : start + size])
        codec2.codec2_decode(state, heard, bits)
        pieces.append(heard.raw)
    return b"".join(pieces)


if __name__ == "__main__":
    path, rate = sys.argv[1:]
    sys.stdout.buffer.write(code(path, MODES[int(rate)], sys.stdin.buffer.read()))
