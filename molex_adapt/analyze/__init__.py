"""Which experts fire for which attack."""

from molex_adapt.analyze.statistics import analyse, summarise

__all__ = ["analyse", "summarise"]
