"""Scores of recordings, and of features that were computed before.

Shapes: P pooled states of the frozen base.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.base import send
from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.data import Failed, Table
from molex_adapt.data.alike import require_alike
from molex_adapt.detector import Detector
from molex_adapt.features.batches import Listened, batch_seconds, length_batches, window_batches
from molex_adapt.features.clips import StoredClip, StoredClips, held_of, pad, pad_clips
from molex_adapt.features.sets import Features
from molex_adapt.processes import gathered, own_part, place, summed
from molex_adapt.readout import Readings
from molex_adapt.run import Run
from molex_adapt.windows import UtteranceScore, together


def score_table(
    detector: Detector,
    table: Table,
    run: Run = Run(),
    *,
    told: Callable[[UtteranceScore], None] | None = None,
) -> tuple[list[UtteranceScore], tuple[Failed, ...]]:
    """Score every file of a table, of up to two hours each, in the order of the table.

    Silence, dead channels and channels in anti-phase are not scored: they have failed. `told` hears of each score as
    soon as it is there, in any order. Of several processes each scores a part, and hears of that; all return the whole.

    Raises:
        ExpertError: nothing in the detector speaks.
        DataError: another process has other recordings.
    """
    detector.require_voice()
    require_alike(table)
    known = all(item.seconds is not None for item in table)
    mine = own_part([item.seconds or 0.0 if known else 1.0 for item in table])
    scored, failed = _scored(detector, table, mine, run, told)
    parts = gathered((scored, failed))
    whole = {index: item for part, _ in parts for index, item in part.items()}
    lost = {index: item for _, part in parts for index, item in part.items()}
    return [whole[index] for index in sorted(whole)], tuple(lost[index] for index in sorted(lost))


def _scored(
    detector: Detector,
    table: Table,
    mine: list[int],
    run: Run,
    told: Callable[[UtteranceScore], None] | None,
) -> tuple[dict[int, UtteranceScore], dict[int, Failed]]:
    """Scores of some recordings by index, and what failed."""
    run.progress.start("score", len(mine))
    items = [table[index] for index in mine]
    failed: list[Failed] = []
    listened: dict[int, Listened] = {}
    parts: dict[int, list[tuple[int, float, NDArray[np.float32]]]] = {}
    scored: dict[int, UtteranceScore] = {}
    batches = window_batches(detector, items, run, failed, first_window=False, listened=listened)
    for batch in batches:
        wave, lengths = pad([row for _, row in batch])
        scores, shares = (
            found.cpu() for found in detector.score_and_shares(send(wave, detector.device), lengths)
        )
        for (index, row), score, share in zip(batch, scores.tolist(), shares.numpy(), strict=True):
            parts.setdefault(index, []).append((len(row), score, share))
            known = listened[index]
            if len(parts[index]) == known.windows:
                whole = together(items[index], parts.pop(index), known.heard, detector.mixture.names)
                scored[index] = replace(whole, audio=known.audio)
                if told is not None:
                    told(scored[index])
    run.progress.stop()
    silent = [index for at, index in enumerate(mine) if at not in scored]
    return {mine[at]: item for at, item in scored.items()}, dict(zip(silent, failed, strict=True))


@contextmanager
def unmoved(detector: Detector) -> Iterator[None]:
    """While mixture and head stay as they are: compute each clip's logit once, however often it is asked for.

    The readout may learn meanwhile. Its evidence is computed anew each time, from states that sets may carry.
    """
    detector.known_logits = {}
    try:
        yield
    finally:
        detector.known_logits = None


def logits_of(detector: Detector, features: Features) -> Tensor:
    """(N,) logits of whole utterances with the readout, on the CPU, in evaluation mode."""
    return with_witnesses(detector, features, _mixture_logits(detector, features))


@torch.no_grad()
def with_witnesses(detector: Detector, features: Features, logits: Tensor) -> Tensor:
    """(N,) whole logits from those of the mixture and what the readout hears of the same utterances, on the CPU."""
    readout = detector.head.readout
    if readout is None or not readout.has_learnt or not len(features):
        return logits
    parts = readings_of(detector, features).parts
    said = logits.to(detector.device).split([len(part.states) for part in parts])
    return torch.cat(
        [detector.whole(own, readout.each(part).float()).cpu() for own, part in zip(said, parts, strict=True)]
    )


def parts_of(detector: Detector, features: Features) -> tuple[Tensor, Tensor]:
    """(N,) logits of the mixture and (N,) evidence of the readout in nats, both on the CPU; 0 without a readout."""
    readout = detector.head.readout
    silent = readout is None or not readout.has_learnt

    logits = _mixture_logits(detector, features)
    if readout is None or silent:
        return logits, torch.zeros_like(logits)
    return logits, readout.of_many(readings_of(detector, features))


def _mixture_logits(detector: Detector, features: Features) -> Tensor:
    """(N,) on the CPU; those that are known are not computed again."""
    if detector.readout_alone:
        return torch.zeros(len(features))

    def compute(asked: Features) -> Tensor:
        return _of_all(detector, asked, lambda clips, frames: detector.logit(clips, frames)[:, None], 1)[:, 0]

    known = detector.known_logits
    if known is None or isinstance(features.clips, StoredClips):
        return compute(features)
    new = [at for at, clip in enumerate(features.clips) if id(clip) not in known]
    for at, logit in zip(new, compute(features.pick(new)), strict=True):
        # The clip is kept beside its logit: while it lives, no other can have its id.
        known[id(features.clips[at])] = features.clips[at], logit
    return torch.stack([known[id(clip)][1] for clip in features.clips]) if len(features) else torch.zeros(0)


def readings_of(detector: Detector, features: Features) -> Readings:
    """What the readout reads of N utterances, on the CPU."""
    statistics = features.statistics
    if statistics is None:
        statistics = detector.unheard(len(features))
    states = features.states
    if states is None:
        return Readings(statistics, states_of(detector, features))
    missing = states.isnan().any(1).nonzero()[:, 0].tolist()
    if missing:
        states = states.clone()
        states[missing] = states_of(detector, features.pick(missing))
    return Readings(statistics, states)


def states_of(detector: Detector, features: Features) -> Tensor:
    """(N, P) float16 on the CPU, the pooled states of the frozen base."""
    return _of_all(detector, features, detector.pooled_states, detector.pooled_width).half()


@torch.no_grad()
def _of_all(
    detector: Detector,
    features: Features,
    compute: Callable[[Tensor, Tensor], Tensor],
    width: int,
) -> Tensor:
    """(N, width) on the CPU, from batches of clips and their frames.

    Domains of one corpus share their bona fide speech, and their sets hold the very same tensors of it: these are
    computed once. Of several processes each computes some of the batches, and all return the whole.
    """
    training = detector.training
    detector.eval()
    once, at = _distinct(features)
    found = torch.zeros(len(once), width)
    budget = batch_seconds(detector.device) * SAMPLE_RATE / FRAME_SAMPLES
    rank, count = place()
    for indices in list(length_batches([len(features.clips[i]) for i in once], budget))[rank::count]:
        clips, frames = pad_clips([features.clips[once[i]] for i in indices])
        found[indices] = compute(send(clips, detector.device), frames).float().cpu()
    detector.train(training)
    return summed(found)[at]


def _distinct(features: Features) -> tuple[list[int], list[int]]:
    """Indices of clips that are not the same tensor or file, and for every clip its place among them."""
    first: dict[int | str, int] = {}
    once: list[int] = []
    place: list[int] = []
    for index, clip in enumerate(held_of(features.clips)):
        same = clip.key if isinstance(clip, StoredClip) else id(clip)
        if same not in first:
            first[same] = len(once)
            once.append(index)
        place.append(first[same])
    return once, place
