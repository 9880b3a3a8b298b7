"""What a command arranges where the process is its own: less work for the garbage collector, less memory for oneDNN."""

from __future__ import annotations

import atexit
import gc
import os
import sys

_PROGRAMS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_MOST_PROGRAMS = "64"
"""The embedded base needs 20 for a batch, and 16 more for the way back."""


def keep_few_programs() -> None:
    """Let oneDNN keep fewer of the programs that it makes for every shape; what the environment says has precedence.

    It keeps 1024 otherwise, of megabytes each: with recordings of many lengths that came to half a gigabyte. It asks
    when it makes the first of them, so this has no effect later.
    """
    os.environ.setdefault(_PROGRAMS, _MOST_PROGRAMS)


def spare_the_collector() -> None:
    """Put aside what libraries bring: torch and transformers make 600 000 objects, and they stay.

    To look at them again and again takes a seventh of a short command's time, and once more at the end as long as
    scoring does. What is put aside is still freed as soon as nothing refers to it.
    """
    gc.callbacks.append(PutAside())
    atexit.register(gc.freeze)


class PutAside:
    """Called by the collector. Imports are over where no module has come since it last looked."""

    def __init__(self) -> None:
        self._modules = 0

    def __call__(self, phase: str, _found: dict[str, int]) -> None:
        """After a collection in the midst of imports, put aside what it left."""
        if phase == "stop" and len(sys.modules) > self._modules:
            self._modules = len(sys.modules)
            gc.freeze()
