"""The frozen SSL speech model that everything is built on."""

from molex_adapt.base.encoder import Base, BaseIdentity, normalise
from molex_adapt.base.load import SUPPORTED, load_base, weights_hash

__all__ = ["SUPPORTED", "Base", "BaseIdentity", "load_base", "normalise", "weights_hash"]
