"""Cyclic garbage, of which a command makes little: the collector looks less often, and at the end not at all."""

from __future__ import annotations

import atexit
import gc

_OBJECTS = 100_000
"""New ones before the collector looks; Python's own 700 or 2000 are for programs that do not import two million."""


def spare_the_collector() -> None:
    """Let the collector look less often, and leave all that is there at the end to the operating system.

    To import torch and transformers makes two million objects, and nearly all of them stay. Looking at them again and
    again takes a seventh of the time, and once more at the end as long as scoring a recording does.
    """
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)
