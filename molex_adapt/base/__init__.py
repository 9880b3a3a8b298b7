"""The frozen SSL speech model that everything is built on."""

from molex_adapt.base.encoder import Base, BaseIdentity, normalise
from molex_adapt.base.families import SUPPORTED
from molex_adapt.base.frames import frame_mask, frames_with_room, samples_with_room, send
from molex_adapt.base.load import load_base, weights_hash

__all__ = [
    "SUPPORTED",
    "Base",
    "BaseIdentity",
    "frame_mask",
    "frames_with_room",
    "load_base",
    "normalise",
    "samples_with_room",
    "send",
    "weights_hash",
]
