"""One pass over recordings: decode, prefix, blocks, and at once into sums; no features are kept.

A recording passes the blocks twice, as in scoring: with the experts, and with the base as it was frozen. The second
pass is what the readout reads; the head hears it too, and so says what the score would be without any expert. The few
recordings of `Corpus.ablated` pass again for each expert that is switched off, while their features are there.

Shapes: A witnesses of the readout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from molex_adapt.analysis.corpus import Corpus
from molex_adapt.analysis.observed import Observed
from molex_adapt.analysis.tally import Tally
from molex_adapt.analysis.witnessed import without_each, witnesses_of
from molex_adapt.base import frame_mask, send
from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.data import Failed, Table
from molex_adapt.detector import Detector
from molex_adapt.errors import ExpertError
from molex_adapt.features import (
    Features,
    Listened,
    batch_seconds,
    length_batches,
    pad,
    pad_clips,
    window_batches,
)
from molex_adapt.mixture import Heirs
from molex_adapt.run import Run

HEIRS: tuple[Heirs, ...] = get_args(Heirs)


@dataclass(frozen=True)
class Portion:
    """Prefix features of some recordings, on the device.

    Attributes:
        at: B indices into the corpus.
        features: (B, F, C).
        frames: (B,) int64 on the CPU.
        heard: (B, statistics) of the low-level view; None where there is no readout.
    """

    at: list[int]
    features: Tensor
    frames: Tensor
    heard: Tensor | None


def observe_table(
    detector: Detector, table: Table, run: Run, *, ablate: bool = False, part: tuple[int, int] = (0, 1)
) -> tuple[Observed, tuple[Failed, ...]]:
    """Observe the first window of every recording of a table, straight from the files.

    What is no recording of speech, such as silence, is none of them.

    Args:
        detector: with experts.
        table: what to observe.
        run: decoding threads, listener.
        ablate: switch every expert off as well, for a sample.
        part: which of how many equal parts of the table is this process's; `Observed.merge` joins them.

    Raises:
        ExpertError: there is no expert.
    """
    number, parts = part
    corpus, mine = Corpus.of_table(table), range(number, len(table), parts)
    failed, listened = list[Failed](), dict[int, Listened]()
    run.progress.start("analyze", len(mine))
    portions = decoded(detector, table, list(mine), run, failed, listened)
    observed = observe(detector, corpus, portions, ablate=ablate)
    run.progress.stop()
    return replace(observed, longer=longer(listened)), tuple(failed)


def observe_features(detector: Detector, features: Features, *, ablate: bool = False) -> Observed:
    """Observe prefix features that are there already, such as exemplars; ExpertError where there is no expert."""
    return observe(detector, Corpus.of_features(features), held(detector, features), ablate=ablate)


@dataclass(frozen=True)
class ScoreParts:
    """What the scores of B recordings are made of, all uncalibrated.

    Attributes:
        whole: (B,) the scores.
        bare: (B,) the same on the frozen base, which is left without experts.
        told: (B,) the part of the readout in `bare`.
        logit: (B,) of the head, with experts.
        each: (B, A) what the readout's witnesses say, in nats.
        frozen: L + 1 tensors (B, F, D) of the frozen base.
    """

    whole: Tensor
    bare: Tensor
    told: Tensor
    logit: Tensor
    each: Tensor
    frozen: list[Tensor]


@torch.no_grad()
def observe(
    detector: Detector, corpus: Corpus, portions: Iterable[Portion], *, ablate: bool = False
) -> Observed:
    """Take in portions of a corpus, in any order.

    Raises:
        ExpertError: there is no expert.
    """
    if not detector.mixture.names:
        raise ExpertError("the mixture has no experts to look at; add one first: molex-adapt add-expert")
    notes = _Notes(detector, corpus, ablate)
    for portion in portions:
        notes.take(portion)
    return notes.close()


def parts_of_score(detector: Detector, features: Tensor, frames: Tensor, heard: Tensor | None) -> ScoreParts:
    """What scores are made of, from one pass with the experts and one of the frozen base.

    Args:
        detector: whose head and readout hear it.
        features, frames: (B, F, C) and (B,) as for `Detector.logit`.
        heard: (B, statistics) of the low-level view; None where there is no readout.
    """
    mask = frame_mask(frames, features)
    frozen = detector.frozen_states(features, frames)
    told = detector.told(each := detector.witnessed(frozen, mask, heard))
    bare = detector.head(frozen, mask, frozen).float() + told
    logit = detector.logit(features, frames, frozen)
    return ScoreParts(detector.whole(logit, each), bare, told, logit, each, frozen)


class _Notes:
    """Tables on the device that a pass fills; their size is known before it begins."""

    def __init__(self, detector: Detector, corpus: Corpus, ablate: bool) -> None:
        self.detector, self.corpus = detector, corpus
        device, blocks = detector.device, len(detector.mixture.routers)
        experts = len(detector.mixture.names)
        self.profiled = {int(index): at for at, index in enumerate(corpus.profiled)}
        self.ablated = {int(index): at for at, index in enumerate(corpus.ablated)} if ablate else {}
        self.tally = Tally.empty(len(corpus.rows), blocks, experts, device)
        self.logits = torch.full((len(corpus), 3), torch.nan, device=device)
        shape = (len(self.profiled), blocks, experts)
        self.gates, self.before = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
        self.spectrum = send(detector.unheard(len(self.profiled)), device)
        self.witnesses = witnesses_of(detector)
        shape = (2, len(self.profiled), len(self.witnesses))
        self.witnessed = torch.zeros(shape, device=device)
        self.without = torch.zeros(len(self.ablated), experts, len(HEIRS), device=device)
        self.seen = np.zeros(len(corpus), dtype=bool)

    def take(self, portion: Portion) -> None:
        """Score a portion, and note how it was routed; then its experts are switched off."""
        detector, features, frames = self.detector, portion.features, portion.frames
        mask = frame_mask(frames, features)
        parts = parts_of_score(detector, features, frames, portion.heard)
        rows = self._index([int(self.corpus.row_of[i]) for i in portion.at])
        means = self.tally.add(detector.mixture.routings, mask, rows)
        self.logits.index_copy_(
            0, self._index(portion.at), torch.stack([parts.whole, parts.bare, parts.told], dim=1)
        )
        self.seen[portion.at] = True
        places = [(at, self.profiled[i]) for at, i in enumerate(portion.at) if i in self.profiled]
        if places:
            here, there = (self._index(list(part)) for part in zip(*places, strict=True))
            self.gates.index_copy_(0, there, means.gates[here])
            self.before.index_copy_(0, there, means.before[here])
            if portion.heard is not None:
                self.spectrum.index_copy_(0, there, portion.heard[here])
            if self.witnesses:
                each = parts.each[here]
                said = torch.stack([each, without_each(detector, parts.logit[here], each)])
                self.witnessed.index_copy_(1, there, said)
        self._switch_off(portion, parts)

    def _switch_off(self, portion: Portion, parts: ScoreParts) -> None:
        places = [(at, self.ablated[i]) for at, i in enumerate(portion.at) if i in self.ablated]
        if not places:
            return
        here, there = (list(part) for part in zip(*places, strict=True))
        frames = portion.frames[here]
        at, to = self._index(here), self._index(there)
        longest = int(frames.max())
        features = portion.features[at][:, :longest]
        frozen = [state[at][:, :longest] for state in parts.frozen]
        mixture = self.detector.mixture
        for number, name in enumerate(mixture.names):
            for column, heirs in enumerate(HEIRS):
                with mixture.without(name, heirs):
                    logit = self.detector.logit(features, frames, frozen)
                whole = self.detector.whole(logit, parts.each[at])
                self.without[:, number, column].index_copy_(0, to, whole)

    def close(self) -> Observed:
        """Everything on the CPU; the first time that the device is waited for."""
        calibration = self.detector.calibration
        whole, bare, told = self.logits.cpu().double().numpy().T
        kept = [at for index, at in sorted(self.profiled.items()) if self.seen[index]]
        said = self.witnessed.cpu().double().numpy()[:, kept]
        switched = [at for index, at in sorted(self.ablated.items()) if self.seen[index]]
        return Observed(
            self.tally.on_cpu(),
            self.seen,
            calibration.apply(whole),
            calibration.apply(bare),
            calibration.scale * told,
            np.array([i for i in sorted(self.profiled) if self.seen[i]], dtype=np.intp),
            self.gates.cpu().numpy()[kept],
            self.before.cpu().numpy()[kept],
            self.spectrum.cpu().numpy()[kept],
            np.array([i for i in sorted(self.ablated) if self.seen[i]], dtype=np.intp),
            calibration.apply(self.without.cpu().double().numpy()[switched]),
            self.witnesses,
            said[0],
            calibration.apply(said[1]),
        )

    def _index(self, at: list[int]) -> Tensor:
        return send(torch.tensor(at), self.detector.device)


def decoded(
    detector: Detector,
    table: Table,
    mine: list[int],
    run: Run,
    failed: list[Failed],
    listened: dict[int, Listened],
) -> Iterator[Portion]:
    """First windows of recordings by index, straight from the files.

    What cannot be scored is added to `failed`, and what is heard in the others to `listened`.
    """
    items = [table[index] for index in mine]
    for batch in window_batches(detector, items, run, failed, first_window=True, listened=listened):
        wave, lengths = pad([row for _, row in batch])
        wave = send(wave, detector.device)
        features, frames = detector.base.prefix(wave, lengths)
        yield Portion([mine[at] for at, _ in batch], features, frames, detector.statistics(wave, lengths))


def longer(listened: Mapping[int, Listened]) -> int:
    """How many recordings go on after the window that was observed."""
    return sum(item.windows > 1 for item in listened.values())


def held(detector: Detector, features: Features) -> Iterator[Portion]:
    """Prefix features in batches of similar length."""
    budget = batch_seconds(detector.device) * SAMPLE_RATE / FRAME_SAMPLES
    for at in length_batches([len(clip) for clip in features.clips], budget):
        clips, frames = pad_clips([features.clips[i] for i in at])
        heard = None if features.statistics is None else send(features.statistics[at], detector.device)
        yield Portion(at, send(clips, detector.device), frames, heard)
