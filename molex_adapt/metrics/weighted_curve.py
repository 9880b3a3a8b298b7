"""The error curve of every resample of two sets of scores, which are sorted once.

Shapes: R resamples, U units, N bona fide, M spoof, V points of the curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molex_adapt.metrics.curve import Floats, Ties, curve_positions
from molex_adapt.metrics.resampling import Integers, Units, running, running_weights


@dataclass(frozen=True, slots=True)
class WeightedCurve:
    """Scores in ascending order as units, and how many of them each point of the curve rejects."""

    real_units: Integers  # (N,) in order of score
    fake_units: Integers  # (M,) in order of score
    real_below: Integers  # (V,) bona fide scores rejected at each point
    fake_below: Integers  # (V,) spoof scores rejected at each point
    single: bool  # whether each step of the curve is one utterance

    @classmethod
    def of(cls, real: Floats, fake: Floats, units: Units, ties: Ties) -> WeightedCurve:
        real_at, fake_at, values = curve_positions(real, fake, ties)
        return cls(
            real_units=units.real[np.argsort(real_at, kind="stable")],
            fake_units=units.fake[np.argsort(fake_at, kind="stable")],
            real_below=running(real_at, values.size),
            fake_below=running(fake_at, values.size),
            single=ties == "asvspoof5",
        )

    def rates(self, drawn: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """(R, V) miss and false-alarm rates of each row of (R, U) unit weights, at every point of the curve."""
        reals, missed = running_weights(drawn[:, self.real_units], self.real_below)
        fakes, caught = running_weights(drawn[:, self.fake_units], self.fake_below)
        return missed / reals, (fakes - caught) / fakes

    def eers(self, drawn: NDArray[np.int64]) -> Floats:
        """(R,) EER of each row of (R, U) unit weights."""
        reals, fakes = (drawn[:, units].sum(axis=1) for units in (self.real_units, self.fake_units))
        return self.eers_of(*self.rates(drawn), reals, fakes)

    def eers_of(self, miss: Floats, false_alarm: Floats, reals: Floats, fakes: Floats) -> Floats:
        """(R,) EER from the (R, V) `rates` and the (R,) numbers of bona fide and spoof scores of each resample."""
        if self.single:
            return self._single_eers(miss, false_alarm, reals, fakes)
        at = np.argmin(np.abs(miss - false_alarm), axis=1)[:, None]
        pair = np.take_along_axis(miss, at, axis=1) + np.take_along_axis(false_alarm, at, axis=1)
        return np.asarray(pair[:, 0] / 2)

    def _single_eers(self, miss: Floats, false_alarm: Floats, reals: Floats, fakes: Floats) -> Floats:
        """(R,) EER where a score that was drawn several times is several utterances, taken one by one.

        The two rates cross while the copies of one score are taken: one rate stands still, the other moves in
        steps of one utterance, and the nearest step counts; of two that are equally near, the first.
        """
        after = np.argmax(miss >= false_alarm, axis=1)
        row = np.arange(after.size)
        rising = self.real_below[after] > self.real_below[after - 1]
        still = np.where(rising, false_alarm[row, after], miss[row, after])
        sizes, step = np.where(rising, reals, fakes), np.where(rising, 1, -1)
        before = step * np.floor(step * still * sizes)
        first, second = before / sizes, (before + step) / sizes
        nearest = np.where(np.abs(second - still) < np.abs(first - still), second, first)
        return np.asarray((still + nearest) / 2)
