"""Prefix features of many utterances, for training, exemplars and measuring; and the scores of recordings."""

from molex_adapt.features.batches import Listened, batch_seconds, length_batches, window_batches
from molex_adapt.features.clips import StoredClips, crop_at, pad, pad_clips
from molex_adapt.features.extract import extract
from molex_adapt.features.hearing import with_draws
from molex_adapt.features.large import OnlineFeatures
from molex_adapt.features.scoring import (
    logits_of,
    parts_of,
    readings_of,
    score_table,
    states_of,
    unmoved,
    with_witnesses,
)
from molex_adapt.features.sets import Features, concatenate, source_id, take_id, voices_of

__all__ = [
    "Features",
    "Listened",
    "OnlineFeatures",
    "StoredClips",
    "batch_seconds",
    "concatenate",
    "crop_at",
    "extract",
    "length_batches",
    "logits_of",
    "pad",
    "pad_clips",
    "parts_of",
    "readings_of",
    "score_table",
    "source_id",
    "states_of",
    "take_id",
    "unmoved",
    "voices_of",
    "window_batches",
    "with_draws",
    "with_witnesses",
]
