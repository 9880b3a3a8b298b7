"""The garbage collector of a command: it looks once at what a library brings, and at the end not at all."""

from __future__ import annotations

import atexit
import gc
import sys


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
