"""A sequence of attacks: what a detector knows after each, by ours and by what people would do instead."""

from benchmarks.sequence.measure import measure

__all__ = ["measure"]
