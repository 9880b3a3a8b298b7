"""Histograms of scores and error curves, thinned out to what a picture can show.

Shapes: N recordings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molex_adapt.analysis.corpus import Corpus
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.findings import ScoreCurves
from molex_adapt.metrics.evaluation_curves import thinned_det

_BINS, _POINTS = 40, 60
_OUTLIERS = 0.5
"""Per cent of scores at either end that share the outermost bins."""


def score_curves(scores: NDArray[np.float64], seen: NDArray[np.bool_], corpus: Corpus) -> ScoreCurves | None:
    """From (N,) scores in nats and (N,) whether each was read; None where nothing was."""
    if not seen.any():
        return None
    low, high = np.percentile(scores[seen], [_OUTLIERS, 100 - _OUTLIERS])
    edges = np.linspace(low, max(high, low + 1e-6), _BINS + 1)
    names = np.array(corpus.attacks, dtype=object)
    own = {name: scores[np.asarray(names == name, dtype=bool) & seen] for name in corpus.names}
    counts = {
        name: np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].tolist()
        for name, values in own.items()
        if values.size
    }
    real = scores[corpus.bona_fide & seen]
    det = {
        name: thinned_det(real, values, _POINTS)
        for name, values in own.items()
        if name != BONA_FIDE and values.size and real.size
    }
    return ScoreCurves(edges.tolist(), counts, det)
