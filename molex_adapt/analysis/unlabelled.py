"""Recordings without labels: how many are unlike anything known, which most, and what groups they form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from molex_adapt.analysis.corpus import Corpus
from molex_adapt.analysis.left_out import left_out
from molex_adapt.analysis.novelty import (
    ALPHA,
    BothViews,
    KnownSpeech,
    Space,
    known_distances,
    more_than_chance,
    p_values,
)
from molex_adapt.analysis.observe import Portion, decoded, longer, observe, observe_features
from molex_adapt.analysis.observed import Observed
from molex_adapt.analysis.several import joined, observe_together
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.data import Failed, Table
from molex_adapt.data.remarks import on_length
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import Features, Listened
from molex_adapt.findings import NovelGroup, Novelty, Unlike
from molex_adapt.processes import place
from molex_adapt.run import Run

MOST_LISTED = 10
_MOST_FAMILIES, _CLUSTERED = 8, 1500
_CERTAIN = 0.05


def known_of_features(detector: Detector, features: Features) -> KnownSpeech:
    """Exemplars as known speech."""
    return _known(observe_features(detector, features), Corpus.of_features(features))


def known_of_table(detector: Detector, table: Table, run: Run) -> KnownSpeech:
    """Labelled recordings as known speech."""
    return _known(observe_together(detector, table, run)[0], Corpus.of_table(table))


def novelty(
    detector: Detector, table: Table, known: KnownSpeech, run: Run, *, longest: int | None = None
) -> Novelty:
    """Compare recordings, whose labels are not read, with known speech. Several processes hear a part each.

    Args:
        detector: with experts.
        table: the recordings.
        known: what is known; calibrates the p-values.
        run: decoding threads, listener.
        longest: frames of each recording that are routed, as many as of the known ones; None for a whole window.

    Raises:
        DataError: none of them can be used, or too little is known.
    """
    expected = known_distances(known)  # first of all: it refuses too little that is known
    corpus = Corpus.of_table(table).whole()
    rank, count = place()
    mine, lost = list(range(rank, len(table), count)), list[Failed]()
    listened: dict[int, Listened] = {}
    run.progress.start("novelty", len(mine))
    portions = decoded(detector, table, mine, run, lost, listened)
    observed = observe(detector, corpus, _cut(portions, longest))
    observed = replace(observed, longer=longer(listened))
    observed, failed = joined(table, observed, lost)
    run.progress.stop()
    if not len(observed.profiled):
        raise DataError("none of the recordings can be used; give a folder of recordings")
    heard = BothViews(observed.before, observed.spectrum)
    space = Space.of(known.heard, known.kinds)
    distances, nearest = space.distances(heard)
    p = p_values(distances, expected)
    paths = [corpus.keys[int(i)] for i in observed.profiled]
    order = np.argsort(-distances)[:MOST_LISTED]
    new = int((p <= ALPHA).sum())
    areas, interval = left_out(known, BONA_FIDE)
    found = Novelty(
        recordings=len(paths),
        unlike=new,
        expected=ALPHA,
        p=more_than_chance(new, len(paths), len(known.kinds)),
        most_unlike=[Unlike(paths[at], float(p[at]), float(distances[at]), nearest[at]) for at in order],
        families=_families(space.place(heard), p, nearest, observed.gates, detector.mixture.names),
        left_out=areas,
        auroc=float(np.mean([item.auroc for item in areas])) if areas else None,
        auroc_ci=interval,
        known=len(known.kinds),
        failed=failed,
        remarks=tuple(on_length(observed.longer, detector.recipe.data.window_seconds)),
    )
    return replace(found, sentence=_sentence(found))


def _known(observed: Observed, corpus: Corpus) -> KnownSpeech:
    chosen = corpus.of(observed.profiled)
    return KnownSpeech(BothViews(observed.before, observed.spectrum), chosen.attacks, chosen.sources)


def _cut(portions: Iterator[Portion], longest: int | None) -> Iterator[Portion]:
    for item in portions:
        if longest is None:
            yield item
        else:
            frames = item.frames.clamp(max=longest)
            yield replace(item, features=item.features[:, : int(frames.max())], frames=frames)


def _families(
    placed: NDArray[np.float64],
    p: NDArray[np.float64],
    nearest: list[str],
    gates: NDArray[np.float32],
    experts: list[str],
) -> list[NovelGroup]:
    """Groups by Ward's linkage, as many as have the best silhouette; the most unlike group first."""
    at = np.random.default_rng(0).permutation(len(placed))[:_CLUSTERED]
    found = []
    label = _grouped(placed[at])
    for number in np.unique(label):
        own = at[label == number]
        names = [nearest[int(i)] for i in own]
        shares = gates[own].mean((0, 1))
        most = int(shares.argmax())
        found.append(
            NovelGroup(
                len(own),
                float((p[own] <= ALPHA).mean()),
                max(set(names), key=names.count),
                experts[most],
                float(shares[most]),
            )
        )
    return sorted(found, key=lambda item: (-item.unlike, -item.recordings))


def _grouped(placed: NDArray[np.float64]) -> NDArray[np.intp]:
    """(N,) numbers of groups from (N, K) coordinates; one group where no division is better than none."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist, squareform

    alone = np.zeros(len(placed), dtype=np.intp)
    if len(placed) < 2 * _MOST_FAMILIES:
        return alone
    apart = pdist(placed)
    tree, whole = linkage(apart, method="ward"), squareform(apart)
    divisions = [fcluster(tree, count, criterion="maxclust") for count in range(2, _MOST_FAMILIES + 1)]
    rated = [(_silhouette(whole, label), -at) for at, label in enumerate(divisions)]
    best, at = max(rated)
    return np.asarray(divisions[-at], dtype=np.intp) if best > 0 else alone


def _silhouette(apart: NDArray[np.float64], label: NDArray[np.intp]) -> float:
    """Mean silhouette; Source: Rousseeuw 1987."""
    numbers, inverse = np.unique(label, return_inverse=True)
    member = np.eye(len(numbers))[inverse]
    counts = member.sum(0)
    mean = apart @ member / counts
    row = np.arange(len(label))
    own = mean[row, inverse] * counts[inverse] / np.maximum(counts[inverse] - 1, 1)
    mean[row, inverse] = np.inf
    other = mean.min(1)
    scores = np.where(counts[inverse] > 1, (other - own) / np.maximum(np.maximum(other, own), 1e-12), 0.0)
    return float(scores.mean())


def _sentence(found: Novelty) -> str:
    share = 100 * found.unlike / found.recordings
    told = f"{found.unlike} of {found.recordings} recordings ({share:.0f} %) are unlike anything known"
    if found.p > _CERTAIN:
        seen = "" if found.auroc is None else f" (AUROC {found.auroc:.2f} on known attacks, were they new)"
        return f"{told}, about the {100 * found.expected:.0f} % that chance brings. What it cannot see may be new{seen}"
    return (
        f"{told}, where chance brings {100 * found.expected:.0f} % (p = {found.p:.3g}): listen to the most unlike, and "
        "if they are forged, add an expert"
    )
