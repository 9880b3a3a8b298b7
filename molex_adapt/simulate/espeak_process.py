"""Speak one text with libespeak-ng and write raw samples to standard output; run as a script, in its own process.

The library seeds its noise by the clock, and keeps state between texts that nothing resets: only a fresh process
with a seed speaks the same text the same way twice. A crash in it stays here, too. Uses the standard library
alone, so that it starts fast.

    python espeak_process.py LIBRARY DATA VOICE WORDS_PER_MINUTE PITCH RANGE SEED < text > samples
"""

from __future__ import annotations

import ctypes
import sys

RATE = 22_050
"""Hertz."""

_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000
_UTF8 = 1
_BY_CHARACTER = 1
_SPEED, _PITCH, _RANGE = 1, 3, 4


def speak(library: str, data: str, voice: str, settings: dict[int, int], seed: int, text: bytes) -> bytes:
    """Samples of `text`: 16-bit signed, native order, one channel, 22.05 kHz.

    Raises:
        SystemExit: with what the library refused.

    Source: own, on libespeak-ng's public interface.
    """
    espeak = ctypes.CDLL(library)
    rate = espeak.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DO_NOT_EXIT)
    if rate != RATE:
        raise SystemExit(f"libespeak-ng did not start (code {rate})")
    heard: list[bytes] = []
    listener = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

    def listen(samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            heard.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = listener(listen)
    espeak.espeak_SetSynthCallback(callback)
    if espeak.espeak_SetVoiceByName(voice.encode()) != 0:
        raise SystemExit(f"libespeak-ng has no voice '{voice}'")
    for setting, value in settings.items():
        espeak.espeak_SetParameter(setting, value, 0)
    espeak.espeak_ng_SetRandSeed(ctypes.c_long(seed))
    size = ctypes.c_size_t(len(text) + 1)
    code = espeak.espeak_Synth(text + b"\0", size, 0, _BY_CHARACTER, 0, _UTF8, None, None)
    espeak.espeak_Synchronize()
    if code != 0 or not heard:
        raise SystemExit(f"libespeak-ng spoke nothing (code {code})")
    return b"".join(heard)


if __name__ == "__main__":
    path, folder, name, words, pitch, pitch_range, number = sys.argv[1:]
    chosen = {_SPEED: int(words), _PITCH: int(pitch), _RANGE: int(pitch_range)}
    sys.stdout.buffer.write(speak(path, folder, name, chosen, int(number), sys.stdin.buffer.read()))
