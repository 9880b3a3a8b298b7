"""Whether a file holds audio by its first bytes, whatever it is called."""

from __future__ import annotations

import re
from pathlib import Path

_HEAD = 64
_AUDIO = re.compile(
    rb"RIFF....WAVE|RIFX....WAVE|RF64....WAVE|FORM....AIF[FC]|riff.{20}wave|\.snd|caff|fLaC|OggS|ID3[\2\3\4]|#!AMR"
    rb"|NIST_1A|Creative Voice File|ADIF|\x1aE\xdf\xa3|\x30\x26\xb2\x75\x8e\x66\xcf\x11|....ftyp"
    rb"|\xff[\xfa\xfb\xf2\xf3\xe2\xe3\xf1\xf9]",  # frames of MP3 and AAC
    re.DOTALL,
)


def holds_audio(path: Path) -> bool:
    """Whether the file begins as a recording in a known container does; False for what cannot be read."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            return _AUDIO.match(file.read(_HEAD)) is not None
    except OSError:
        return False
