"""Batches have some room, so that few shapes occur."""

from __future__ import annotations

import pytest
import torch

from molex_adapt.base import frames_with_room, samples_with_room
from molex_adapt.features import pad_clips


def test_room_for_samples_is_enough_and_little():
    given = range(400, 480_001, 7)
    found = [samples_with_room(samples) for samples in given]
    assert all(
        0 <= room - samples <= max(6_399, samples // 10) for samples, room in zip(given, found, strict=True)
    )
    assert found == sorted(found) and found[-1] <= 480_000  # what Whisper has positions for
    assert len(set(found)) < 150


@pytest.mark.parametrize(
    ("samples", "room"),
    [(400, 1_600), (32_000, 32_000), (32_001, 32_080), (32_080, 32_080), (32_081, 35_200), (64_001, 64_080)],
)
def test_whole_steps_and_crops_of_whole_steps_stay(samples, room):
    assert samples_with_room(samples) == room


@pytest.mark.parametrize(
    ("frames", "room"),
    [(1, 4), (48, 49), (99, 99), (100, 100), (101, 109), (201, 219), (1_491, 1_499), (1_500, 1_500)],
)
def test_room_for_frames_is_enough_and_zero(frames, room):
    assert frames_with_room(frames) == room
    clips = [torch.ones(frames, 3), torch.ones(1, 3, dtype=torch.float16)]
    padded, lengths = pad_clips(clips)
    assert (padded.shape, padded.dtype, lengths.tolist()) == ((2, room, 3), torch.float32, [frames, 1])
    for row, length in zip(padded, lengths.tolist(), strict=True):
        assert torch.equal(row[:length], torch.ones(length, 3)) and not row[length:].any()
