"""Copies by the neural vocoders in the source of libopus 1.5: FARGAN, and FARGAN behind the codec of DRED.

The programs are built from that source (README.md says how) and speak raw 16-bit samples at 16 kHz. Shapes: T samples.

Source: Valin et al., "Low-Complexity Neural Speech Coding and Concealment" (FARGAN, 2024), and "DRED: Deep
REDundancy Coding of Speech Using a Rate-Distortion-Optimized Variational Autoencoder" (ICASSP 2023).
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molex_adapt.errors import DataError
from molex_adapt.simulate.attack import Wave
from tools.wideband.corpus import to_int16

_PRIMED, _FARGAN_DELAY = 800, 240
"""Samples: silence before the speech, which FARGAN needs and takes away, and by how much its copy is late."""
_AROUND, _DRED_DELAY = 640, 112


class Fargan:
    """Acoustic features of the recording, spoken again by FARGAN."""

    name = "fargan"

    def __init__(self, program: Path) -> None:
        """`program`: fargan_demo, built from the source of libopus."""
        self.program = program

    def __call__(self, wave: Wave) -> Wave:
        """(T,) to its copy, (T,).

        Raises:
            DataError: the program is missing or fails.
        """
        silence = np.zeros(_PRIMED, np.int16)
        with tempfile.TemporaryDirectory() as folder:
            sound, features, copy = (str(Path(folder) / name) for name in ("sound", "features", "copy"))
            np.concatenate([silence, to_int16(wave), silence]).tofile(sound)
            _run([str(self.program), "-features", sound, features])
            _run([str(self.program), "-fargan-synthesis", features, copy])
            return _aligned(np.fromfile(copy, np.int16), _FARGAN_DELAY, wave.size)


class Dred:
    """What is left of the recording in the codec of DRED, about 1 kbit/s, spoken by FARGAN."""

    name = "dred"

    def __init__(self, program: Path) -> None:
        """`program`: built from `dred_copy.c` against libopus."""
        self.program = program

    def __call__(self, wave: Wave) -> Wave:
        """(T,) to its copy, (T,).

        Raises:
            DataError: the program is missing or fails.
        """
        silence = np.zeros(_AROUND, np.int16)
        sound = np.concatenate([silence, to_int16(wave), silence]).tobytes()
        copy = np.frombuffer(_run([str(self.program)], sound), np.int16)
        return _aligned(copy, _AROUND + _DRED_DELAY, wave.size)


def _run(command: list[str], given: bytes = b"") -> bytes:
    try:
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        raise DataError(
            f"{command[0]} failed: {said.decode(errors='replace').strip()[-300:]}. Build it as "
            "tools/wideband/README.md says."
        ) from error


def _aligned(copy: NDArray[np.int16], delay: int, samples: int) -> Wave:
    late = copy[delay : delay + samples].astype(np.float32) / 32768
    return np.pad(late, (0, samples - late.size))
