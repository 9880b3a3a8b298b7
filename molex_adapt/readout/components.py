"""How many components of the pooled states a first readout reads: what development recordings say.

More of them tell attacks apart more finely where the base never heard the training voices, and the voices themselves
where it did. Training recordings do not show the difference, those of other voices do.

Shapes: N recordings.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

import numpy as np

from molex_adapt.calibration import Calibration
from molex_adapt.errors import DataError
from molex_adapt.readout.readings import Learnt, Lesson, Lessons
from molex_adapt.readout.readout import COMPONENTS, Readout

_OF_EACH = 8
"""Training recordings that there are for a component at least, where there are more than the fewest."""
_MARGIN = 0.01
_MOST_VALUES = 16 << 20
"""Of more than the fewest components: 32 MiB in the head of every generation."""


def learn_with_best_components(
    readout: Readout, lessons: Lessons, learn: Callable[[Readout, Lessons], Learnt]
) -> Learnt:
    """Learn with every number of components that there are recordings for, and keep the best.

    The best has the lowest logistic loss on development recordings, calibrated on each domain, the mean over domains.
    More components must lower it by a hundredth at least: rounding, which differs between machines, decides nothing.
    """
    sizes = _sizes(lessons, readout.seen)
    if len(sizes) == 1:
        return learn(readout, lessons)
    found = [_Trial.of(readout, size, lessons, learn) for size in sizes]
    best = found[0]
    for trial in found[1:]:
        if trial.loss < (1 - _MARGIN) * best.loss:
            best = trial
    readout.load_state_dict(best.readout.state_dict())
    losses = ", ".join(f"{trial.loss:.3f} with {trial.size}" for trial in found)
    best.learnt.remarks.append(
        f"the readout reads {best.size} components of the states: development loss {losses} (nats)"
    )
    return best.learnt


@dataclass(frozen=True)
class _Trial:
    """What a number of components came to; `loss` in nats."""

    size: int
    readout: Readout
    learnt: Learnt
    loss: float

    @classmethod
    def of(
        cls, readout: Readout, size: int, lessons: Lessons, learn: Callable[[Readout, Lessons], Learnt]
    ) -> _Trial:
        """Learn with them, in place of a readout that is left alone."""
        own = copy.deepcopy(readout)
        own.see(size)
        learnt = learn(own, lessons)
        return cls(size, own, learnt, mean(_loss(own, development) for _, development in lessons.values()))


def _sizes(lessons: Lessons, states: int) -> list[int]:
    """Bona fide recordings may be in all lessons, and count in the one that has most."""
    training = [lesson for lesson, _ in lessons.values()]
    forged = sum(int((~lesson.bona_fide).sum()) for lesson in training)
    count = forged + max(int(lesson.bona_fide.sum()) for lesson in training)
    fewest, *more = COMPONENTS
    most = min(count // _OF_EACH, states, _MOST_VALUES // states)
    return [fewest, *(size for size in more if size <= most)]


def _loss(readout: Readout, development: Lesson) -> float:
    """In nats, both classes with the same weight; that of knowing nothing where it cannot be measured."""
    said = readout.of_many(development.readings).double().numpy()
    real, forged = (said[which.numpy()] for which in (development.bona_fide, ~development.bona_fide))
    try:
        own = Calibration.fit(real, forged)
    except DataError:
        return math.log(2)
    costs = np.logaddexp(0.0, -own.apply(real)).mean(), np.logaddexp(0.0, own.apply(forged)).mean()
    return float(sum(costs) / 2)
