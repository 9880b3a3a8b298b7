"""Every reader of what others wrote: how its input is made hostile, and what is done with what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.audio_readers import audio, joined, raw
from tests.fuzz.reader import Reader
from tests.fuzz.record_readers import record, registry
from tests.fuzz.strategies import damaged
from tests.fuzz.tensor_readers import checkpoint, contents, labels, tensors
from tests.fuzz.text_readers import (
    corpus,
    delimited,
    folder,
    json_lines,
    key,
    manifest,
    overrides,
    parquet,
    protocol,
    recipe,
    score_table,
    scores,
    trials,
)

READERS: dict[str, Callable[[Path], Reader]] = {
    "manifest-csv": manifest(".csv", damaged([delimited(","), delimited(";")])),
    "manifest-tsv": manifest(".tsv", damaged([delimited("\t")])),
    "manifest-jsonl": manifest(".jsonl", json_lines()),
    "manifest-parquet": parquet,
    "protocol-2019": protocol("ASVspoof2019.LA.cm.train.trn.txt"),
    "protocol-5": protocol("ASVspoof5.train.tsv"),
    "protocol-unnamed": protocol("trial.txt"),
    "protocol-2021": protocol("trial_metadata.txt"),
    "in-the-wild": corpus("meta.csv"),
    "spoofceleb": corpus("metadata/train.csv"),
    "mlaad": corpus("fake/en/tts/meta.csv"),
    "folder": folder,
    "scores": scores,
    "key-text": key("k.txt"),
    "key-tsv": key("k.tsv"),
    "score-table": score_table,
    "trials": trials,
    "recipe": recipe,
    "overrides": overrides,
    "expert.yaml": record("expert"),
    "generation.yaml": record("generation"),
    "registry.yaml": record("registry"),
    "registry": registry,
    "safetensors": tensors,
    "tensors": contents,
    "segment-labels": labels,
    "checkpoint": checkpoint,
    "audio-wav": audio("wav"),
    "audio-compressed": audio("compressed"),
    "audio-other": audio("other"),
    "audio-ffmpeg": audio("ffmpeg"),
    "audio-raw": raw,
    "audio-joined": joined,
}
"""By name: a function of an empty folder."""

SHARE = {
    "registry": 0.1,
    "folder": 0.4,
    "checkpoint": 0.4,
    "audio-ffmpeg": 0.5,
    "audio-joined": 0.5,
    "scores": 0.5,
}
"""Of the inputs that each reader gets; those whose one input takes longest get fewer."""
