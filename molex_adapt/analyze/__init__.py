"""Which experts fire for which attack."""

from molex_adapt.analyze.statistics import analyse

__all__ = ["analyse"]
