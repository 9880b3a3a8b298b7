"""molex-adapt: keep an audio-deepfake detector current with a mixture of LoRA experts.

One word is one thing:

    gate         how strongly an expert acts in a block; the router computes it
    router row   what an expert has in a block's router: a weight per channel of its input, and a bias
    stage        a part of training: joint, expert, router
    acceptance   the decision whether a new generation becomes active; its options are the recipe's section `gate`
    attack       what makes a recording forged: a vocoder, a synthesiser
    condition    what happens to both classes and forges nothing: a codec, a band, a level, noise, a room, resampling
    finish       the condition that brings all recordings to one codec, band, level and trim
    generation   one immutable state of the mixture in a registry
    run          how work is done: device, precision, seed, workers, cache, progress
    score        a log-likelihood ratio in nats; higher is more bona fide

Units, signs and the letters of shapes stand in `molex_adapt.conventions`.
"""

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
