"""How unlike anything known a recording is, by its routing and its spectrum.

Both views are standardised on known recordings, get the same weight, and are cut down to a few principal axes. There, a
recording's distance is that to the nearest kind of known speech (Mahalanobis, one covariance for all kinds). It becomes
a p-value by comparison with known recordings whose sources the model has not seen: of known speech, 5 % lie below 0.05,
whatever the distances are.

Shapes: N recordings, V raw features of both views, K principal axes.

Source: Lee et al. 2018 (arXiv 1807.03888) for the distance; Laxhammar and Falkman 2010 for conformal p-values; the
views and their weights are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from molex_adapt.errors import DataError

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

ALPHA = 0.05
_FOLDS = 5
_MOST_AXES, _FEWEST_PER_AXIS = 32, 8
_SHRINKAGE = 0.1
_CLIP = 6.0
_FEWEST_SOURCES = 10
_FEWEST_KNOWN = 19  # the p-values of fewer never come to 0.05


@dataclass(frozen=True)
class BothViews:
    """The two views of N recordings: (N, L, E) gates before top-k, and (N, statistics) of the spectrum or NaN."""

    before: NDArray[np.float32]
    spectrum: NDArray[np.float32]

    def vectors(self) -> tuple[Floats, Floats]:
        """(N, V) of either view; roots of shares, so that rare experts count; 0 where there is no spectrum."""
        routing = np.sqrt(np.clip(self.before.reshape(len(self.before), -1), 0, None)).astype(float)
        return routing, np.nan_to_num(self.spectrum.astype(float))


@dataclass(frozen=True)
class Space:
    """Principal axes of known recordings, and their kinds in it."""

    centres: tuple[Floats, Floats]
    spreads: tuple[Floats, Floats]
    axes: Floats
    means: Floats
    whitener: Floats
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, heard: BothViews, kinds: Sequence[str], axes: int | None = None) -> Space:
        """Fit on known recordings with N names of kinds; `axes` is K at most, by default as many as N allows."""
        views = heard.vectors()
        centres, spreads = zip(*((view.mean(0), view.std(0) + 1e-6) for view in views), strict=True)
        joined = _joined(views, centres, spreads)
        most = min(axes_for(len(joined)) if axes is None else axes, *joined.shape)
        main = np.linalg.svd(joined, full_matrices=False)[2][:most].T
        low = joined @ main
        names, label = np.unique(np.array(kinds, dtype=object).astype(str), return_inverse=True)
        means = np.stack([low[label == at].mean(0) for at in range(len(names))])
        within = np.cov((low - means[label]).T).reshape(most, most)
        level = np.trace(within) / most
        shrunk = (1 - _SHRINKAGE) * within + (_SHRINKAGE * level + 1e-9) * np.eye(most)
        whitener = np.linalg.cholesky(np.linalg.inv(shrunk))
        return cls(
            (centres[0], centres[1]), (spreads[0], spreads[1]), main, means, whitener, tuple(names.tolist())
        )

    def place(self, heard: BothViews) -> Floats:
        """(N, K) whitened coordinates: distances in them are Mahalanobis distances."""
        placed: Floats = _joined(heard.vectors(), self.centres, self.spreads) @ self.axes @ self.whitener
        return placed

    def distances(self, heard: BothViews) -> tuple[Floats, list[str]]:
        """(N,) distances to the nearest kind, and its N names."""
        placed, means = self.place(heard), self.means @ self.whitener
        apart = np.linalg.norm(placed[:, None] - means[None], axis=2)
        return apart.min(1), [self.kinds[int(at)] for at in apart.argmin(1)]


def axes_for(count: int) -> int:
    """K for so many known recordings. Spaces that were fitted without a fifth of them have as many.

    Distances grow with the number of axes: with fewer of them in calibration, too much would be called new.
    """
    return max(1, min(_MOST_AXES, count * (_FOLDS - 1) // _FOLDS // _FEWEST_PER_AXIS))


@dataclass(frozen=True)
class KnownSpeech:
    """Known recordings: both views, N names of kinds, N sources."""

    heard: BothViews
    kinds: tuple[str, ...]
    sources: tuple[str, ...]

    def pick(self, which: Mask) -> KnownSpeech:
        """Those of a mask."""
        kinds, sources = (
            np.array(column, dtype=object)[which].tolist() for column in (self.kinds, self.sources)
        )
        heard = BothViews(self.heard.before[which], self.heard.spectrum[which])
        return KnownSpeech(heard, tuple(kinds), tuple(sources))

    @property
    def fold(self) -> NDArray[np.intp]:
        """(N,) which fifth of the sources a recording belongs to.

        Raises:
            DataError: there are fewer than ten sources.
        """
        names = sorted(set(self.sources))
        if len(names) < _FEWEST_SOURCES:
            raise DataError(
                f"{len(names)} known source recordings are too few to say what is new; expected {_FEWEST_SOURCES} or "
                "more. Give labelled recordings of known domains by --known"
            )
        order = np.random.default_rng(0).permutation(len(names))
        place = {name: int(order[at]) % _FOLDS for at, name in enumerate(names)}
        return np.array([place[name] for name in self.sources], dtype=np.intp)


def known_distances(known: KnownSpeech) -> Floats:
    """(N,) distances of known recordings from a space that was fitted without their sources.

    Raises:
        DataError: there are too few recordings or sources.
    """
    if len(known.sources) < _FEWEST_KNOWN:
        raise DataError(
            f"{len(known.sources)} known recordings are too few to say what is new; expected {_FEWEST_KNOWN} or "
            "more. Give labelled recordings of known domains by --known"
        )
    fold, found, axes = known.fold, np.zeros(len(known.kinds)), axes_for(len(known.kinds))
    for at in range(_FOLDS):
        rest = known.pick(fold != at)
        found[fold == at] = Space.of(rest.heard, rest.kinds, axes).distances(known.pick(fold == at).heard)[0]
    return found


def p_values(distances: Floats, known: Floats) -> Floats:
    """(N,) how often known recordings are at least as far; never 0."""
    below = np.searchsorted(np.sort(known), distances, side="left")
    found: Floats = (1 + len(known) - below) / (len(known) + 1)
    return found


def more_than_chance(new: int, count: int, known: int) -> float:
    """The p-value of `new` among `count` p-values of at most 0.05, where all recordings are as the `known` ones.

    What is further than all but 5 % of the known recordings is called new. Where those 5 % begin is itself estimated,
    so the number is beta-binomial: its spread stays, however many recordings there are.

    Source: own; the distribution of exceedances is that of Wilks (1941), "Determination of sample sizes for setting
    tolerance limits".
    """
    from scipy.stats import betabinom

    further = int(ALPHA * (known + 1))
    return float(betabinom.sf(new - 1, count, further, known + 1 - further))


def _joined(views: Sequence[Floats], centres: Sequence[Floats], spreads: Sequence[Floats]) -> Floats:
    """Both views beside each other; each has a mean square of 1 in all, however many features it has."""
    parts = [
        np.clip((view - centre) / spread, -_CLIP, _CLIP) / np.sqrt(view.shape[1])
        for view, centre, spread in zip(views, centres, spreads, strict=True)
    ]
    return np.concatenate(parts, axis=1)
