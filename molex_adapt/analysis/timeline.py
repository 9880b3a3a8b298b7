"""One recording over time: score, experts and readout in windows that slide, and the stretch that speaks against it.

Shapes: N windows of T samples, S places where one may begin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from molex_adapt.analysis.observe import ScoreParts, parts_of_score
from molex_adapt.base import send
from molex_adapt.conventions import SAMPLE_RATE, Seconds
from molex_adapt.data import listen
from molex_adapt.detector import Detector
from molex_adapt.errors import AudioError, ExpertError
from molex_adapt.features import batch_seconds
from molex_adapt.findings import Moment, Stretch, Timeline

WINDOW: Seconds = 1.0
"""Shorter windows know too little to be scored; longer ones blur where a forged stretch ends."""
HOP: Seconds = 0.25


@torch.no_grad()
def timeline(detector: Detector, path: Path) -> Timeline:
    """Score one recording window by window.

    Args:
        detector: with experts.
        path: an audio file; one shorter than a window is one window.

    Raises:
        AudioError: `listen` refuses it, or it is shorter than the base's receptive field.
        ExpertError: there is no expert.
    """
    if not detector.mixture.names:
        raise ExpertError("the mixture has no experts to look at; add one first: molex-adapt add-expert")
    wave, _ = listen(path)
    try:
        detector.prepare(wave)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None
    # Normalised whole: a window alone would raise its own silence to the level of speech.
    views, begins = _windows(detector.base.prepare(wave))
    moments: list[Moment] = []
    for part in _batches(len(begins), views.shape[1], batch_seconds(detector.device)):
        moments += _moments(detector, views[begins[part]], begins[part])
    return Timeline(str(path), len(wave) / SAMPLE_RATE, moments, worst_stretch(moments))


def worst_stretch(moments: Sequence[Moment]) -> Stretch:
    """The stretch whose windows lie below the mean of the recording by the largest sum.

    Neither many windows that are hardly worse nor one that is bad by chance win. Source: own, by the maximal sum of
    neighbours (Kadane).
    """
    scores = np.array([item.score for item in moments])
    first, last = _largest_sum(scores.mean() - scores)
    begin, end = _edges(moments, first, last)
    rest = np.delete(scores, np.arange(first, last + 1))
    outside = float(rest.mean()) if rest.size else None
    return Stretch(begin, end, float(scores[first : last + 1].mean()), outside)


def overlap(found: Stretch, truth: tuple[Seconds, Seconds]) -> float:
    """Intersection over union of a stretch with the forged part of a recording: 1 for the same, 0 for apart."""
    common = max(0.0, min(found.end, truth[1]) - max(found.begin, truth[0]))
    return common / (max(found.end, truth[1]) - min(found.begin, truth[0])) if common else 0.0


def _edges(moments: Sequence[Moment], first: int, last: int) -> tuple[Seconds, Seconds]:
    """Where the stretch of these windows begins and ends.

    A window that hears the forged part in half of its length is the first that is worse: a forged part begins and ends
    about in the middle of the outermost windows, but for those at the ends of the recording.
    """
    begin = moments[first].begin if first == 0 else (moments[first].begin + moments[first].end) / 2
    end = moments[last].end if last == len(moments) - 1 else (moments[last].begin + moments[last].end) / 2
    return (begin, end) if begin < end else (moments[first].begin, moments[last].end)


def _largest_sum(values: NDArray[np.float64]) -> tuple[int, int]:
    """First and last index of the neighbours with the largest sum."""
    best, found, running, start = -np.inf, (0, 0), 0.0, 0
    for at, value in enumerate(values.tolist()):
        if running <= 0:
            running, start = 0.0, at
        running += value
        if running > best:
            best, found = running, (start, at)
    return found


def _windows(wave: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Where the N windows of a recording begin, the last one flush with its end, in a view (S, T) of all places."""
    size, hop = min(len(wave), int(WINDOW * SAMPLE_RATE)), int(HOP * SAMPLE_RATE)
    begins = np.unique(np.append(np.arange(0, len(wave) - size + 1, hop), len(wave) - size))
    # Not the windows: they overlap, and a long recording would fill the memory several times.
    return np.lib.stride_tricks.sliding_window_view(wave, size), begins


def _batches(count: int, size: int, seconds: Seconds) -> Iterator[slice]:
    step = max(1, int(seconds * SAMPLE_RATE) // size)
    for start in range(0, count, step):
        yield slice(start, start + step)


def _moments(detector: Detector, rows: NDArray[np.float32], begins: NDArray[np.intp]) -> list[Moment]:
    lengths = torch.full((len(rows),), rows.shape[1])
    wave = send(torch.from_numpy(np.ascontiguousarray(rows)), detector.device)
    features, frames = detector.base.prefix(wave, lengths)
    parts = parts_of_score(detector, features, frames, detector.statistics(wave, lengths))
    # Windows are of one length: no frame is padded.
    gates = torch.stack([routing.gates.mean(1) for routing in detector.mixture.routings]).mean(0)
    scores, without, readout = _nats(detector, parts)
    size, names = rows.shape[1] / SAMPLE_RATE, detector.mixture.names
    return [
        Moment(
            begin / SAMPLE_RATE,
            begin / SAMPLE_RATE + size,
            score,
            score - other,
            said,
            dict(zip(names, own, strict=True)),
        )
        for begin, score, other, said, own in zip(
            begins.tolist(), scores, without, readout, gates.tolist(), strict=True
        )
    ]


def _nats(detector: Detector, parts: ScoreParts) -> list[list[float]]:
    return [
        detector.calibrate(parts.whole).tolist(),
        detector.calibrate(parts.bare).tolist(),
        (parts.told * detector.calibration.scale).tolist(),
    ]
