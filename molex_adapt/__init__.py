"""molex-adapt: keep an audio-deepfake detector current with a mixture of LoRA experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from molex_adapt.run import Run
from molex_adapt.version import __version__

if TYPE_CHECKING:
    from molex_adapt.api import Registry

__all__ = ["Registry", "Run", "__version__"]


def __getattr__(name: str) -> Any:
    """`from molex_adapt import Registry`, without loading torch before it is asked for."""
    if name != "Registry":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from molex_adapt.api import Registry

    return Registry
