"""The low-level view: fixed statistics of the signal itself, beside the SSL model's states.

Vocoders and codecs leave traces that a speech model was trained to overlook: in single frequencies and how they vary
(`power`), in how phases turn (`phases`), in what linear prediction leaves (`residual`). `readout` learns from them.
"""

from molex_adapt.low_level.spectrum import POWER, SHORTEST, STATISTICS, Spectrum

__all__ = ["POWER", "SHORTEST", "STATISTICS", "Spectrum"]
