"""Training sets that fit neither into memory nor into the cache."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.base import send
from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.data import Utterance
from molex_adapt.detector import Detector
from molex_adapt.features.clips import pad
from molex_adapt.features.hearing import hear
from molex_adapt.features.sets import source_id, take_id


@dataclass(frozen=True)
class OnlineFeatures:
    """Utterances whose prefix is computed anew for every batch.

    The one difference to `Features`: a crop is normalised by its own mean and deviation, not by those of the recording.
    """

    detector: Detector
    utterances: tuple[Utterance, ...]
    workers: int = 1

    @cached_property
    def bona_fide(self) -> Tensor:
        """(N,) bool."""
        return torch.tensor([item.label == "bonafide" for item in self.utterances], dtype=torch.bool)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """N ids of source recordings, as `source_id` makes them."""
        return tuple(source_id(item.source) for item in self.utterances)

    @cached_property
    def takes(self) -> tuple[str, ...]:
        """N ids of takes, as `take_id` makes them."""
        return tuple(map(take_id, self.utterances))

    def statistics_of(self, indices: Sequence[int]) -> Tensor | None:
        """As those of `Features`, of some utterances, which are read for it up to the length of a scoring window."""
        if self.detector.head.readout is None:
            return None
        window = self.detector.recipe.data.window_seconds

        def statistics(item: Utterance) -> Tensor:
            wave = torch.from_numpy(self.detector.base.prepare(hear(item, duration=window)))[None]
            found = self.detector.statistics(send(wave, self.detector.device), torch.tensor([wave.shape[1]]))
            assert found is not None
            return found[0].half().float().cpu()

        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            return torch.stack(list(pool.map(statistics, (self.utterances[at] for at in indices))))

    def __len__(self) -> int:
        return len(self.utterances)

    def of_attacks(self, attacks: Sequence[str]) -> OnlineFeatures:
        """All bona fide utterances, and those of some attacks."""
        kept = tuple(item for item in self.utterances if item.attack is None or item.attack in attacks)
        return replace(self, utterances=kept)

    def batch(self, indices: Sequence[int], crop: int, places: Sequence[float]) -> tuple[Tensor, Tensor]:
        """As `Features.batch`, the features on the detector's device."""
        base = self.detector.base
        length = (crop - 1) * FRAME_SAMPLES + base.receptive_samples  # exactly what `crop` frames see

        def load(index: int, place: float) -> NDArray[np.float32]:
            item = self.utterances[index]
            spare = (item.seconds or 0.0) - length / SAMPLE_RATE
            start = max(0.0, place * spare)
            return base.prepare(hear(item, start=start, duration=length / SAMPLE_RATE))

        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            wave, lengths = pad(list(pool.map(load, indices, places)))
        return base.prefix(send(wave, self.detector.device), lengths)
