"""The families of speech models that a base may be of."""

from __future__ import annotations

from molex_adapt.base.data2vec import Data2VecAudio
from molex_adapt.base.family import Family
from molex_adapt.base.wav2vec2 import Wav2Vec2
from molex_adapt.base.wav2vec2_bert import Wav2Vec2Bert
from molex_adapt.base.whisper import Whisper

FAMILIES: tuple[type[Family], ...] = (Wav2Vec2, Data2VecAudio, Wav2Vec2Bert, Whisper)
SUPPORTED = tuple(kind for family in FAMILIES for kind in family.kinds)
"""The `model_type` of every configuration that there is a family for."""
CALLED = " or ".join(name for family in FAMILIES for name in family.called)
FEED_FORWARDS = frozenset(family.feed_forward for family in FAMILIES)
"""What a recipe's default targets may stand for."""


def family_of(kind: str) -> type[Family]:
    """The family of a `model_type`; KeyError where there is none."""
    return {kind: family for family in FAMILIES for kind in family.kinds}[kind]
