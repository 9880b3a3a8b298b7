"""The frozen SSL speech model that everything is built on."""

from molex_adapt.base.encoder import Base, BaseIdentity, frame_mask, normalise, send
from molex_adapt.base.load import SUPPORTED, load_base, weights_hash

__all__ = [
    "SUPPORTED",
    "Base",
    "BaseIdentity",
    "frame_mask",
    "load_base",
    "normalise",
    "send",
    "weights_hash",
]
