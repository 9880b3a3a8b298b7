"""The garbage collector of a command: it looks once at what a library brings, and at the end not at all."""

from __future__ import annotations

import atexit
import gc
import sys

_loaded = 0


def spare_the_collector() -> None:
    """Put aside what libraries bring: torch and transformers make 600 000 objects, and they stay.

    To look at them again and again takes a seventh of a short command's time, and once more at the end as long as
    scoring does. What is put aside is still freed as soon as nothing refers to it.
    """
    if _put_aside not in gc.callbacks:
        gc.callbacks.append(_put_aside)
        atexit.register(gc.freeze)


def _put_aside(phase: str, _found: dict[str, int]) -> None:
    """After a collection in the midst of imports, which are over where no module has come since the last one."""
    global _loaded
    if phase == "stop" and len(sys.modules) > _loaded:
        _loaded = len(sys.modules)
        gc.freeze()
