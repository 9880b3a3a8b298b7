"""The readout: closed-form evidence for every attack that was learnt, from features that no expert ever changes."""

from molex_adapt.readout.learning import groups_of, learn
from molex_adapt.readout.readings import Learnt, Lesson, Lessons, Readings, pooled
from molex_adapt.readout.readout import Readout

__all__ = ["Learnt", "Lesson", "Lessons", "Readings", "Readout", "groups_of", "learn", "pooled"]
