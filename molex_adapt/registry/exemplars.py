"""What an expert keeps of its domain: what routers read of it, which recordings it heard, prefix features; no audio.

Shapes: S statistics of the low-level view; L, D and R as in `rehearsal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from molex_adapt.conventions import BONA_FIDE, SPOOF, Split
from molex_adapt.data import Table
from molex_adapt.features import Features, source_id
from molex_adapt.registry.files import Arrays
from molex_adapt.rehearsal import Gaussian, Remembered

Part = Literal["replay", "check"]
HEARD: tuple[Split, ...] = ("train", "dev")


def features_to_arrays(features: Features, part: Part, attacks: Sequence[str]) -> Arrays:
    """`{part}.frames` (ΣF, C) float16, `.lengths` (N,), `.bona_fide` (N,), `.sources` (N, 8), `.attacks` (N,).

    Where a low-level view heard them, also `.statistics` (N, S) float16.
    `attacks` are the names in the expert's `data.attacks`; utterances point into it, -1 for bona fide or unnamed.
    """
    place = {name: index for index, name in enumerate(attacks)}
    sources = b"".join(bytes.fromhex(source) for source in features.sources)
    frames = torch.cat(list(features.clips)) if len(features) else torch.zeros(0, 0)
    heard = {} if features.statistics is None else {f"{part}.statistics": features.statistics.half().numpy()}
    return heard | {
        f"{part}.frames": frames.to(torch.float16).cpu().numpy(),
        f"{part}.lengths": np.array([len(clip) for clip in features.clips], dtype=np.int32),
        f"{part}.bona_fide": features.bona_fide.numpy().astype(np.uint8),
        f"{part}.sources": np.frombuffer(sources, np.uint8).reshape(-1, 8),
        f"{part}.attacks": np.array([place.get(name or "", -1) for name in features.attacks], dtype=np.int32),
    }


def heard_to_arrays(table: Table) -> Arrays:
    """`heard.train` and `heard.dev`, (N, 8) bytes: by `Utterance.audio`, what was trained and chosen on."""
    found = {}
    for split in HEARD:
        audio = sorted({item.audio for item in table.select(split=split) if item.audio is not None})
        found[f"heard.{split}"] = np.frombuffer(bytes.fromhex("".join(audio)), np.uint8).reshape(-1, 8)
    return found


def arrays_to_heard(arrays: Arrays, split: Split) -> frozenset[str]:
    """The inverse, of checked arrays; empty where an expert does not say what it heard."""
    return frozenset(bytes(row).hex() for row in arrays.get(f"heard.{split}", np.zeros((0, 8), np.uint8)))


def remembered_to_arrays(remembered: Remembered) -> Arrays:
    """`centre` and `spread` (L, D) float32, and of each class, in half precision, what a `Gaussian` has.

    That is `{class}.mean` (L, D), `.directions` (L, R, D), `.rest` (L, D), and `.utterances` (1,).
    """
    found: Arrays = {
        "centre": remembered.centre.numpy(),
        "spread": remembered.spread.numpy(),
    }
    for label, each in ((BONA_FIDE, remembered.bona_fide), (SPOOF, remembered.spoof)):
        if each is not None:
            found |= {
                f"{label}.mean": each.mean.half().numpy(),
                f"{label}.directions": each.directions.half().contiguous().numpy(),
                f"{label}.rest": each.rest.half().numpy(),
                f"{label}.utterances": np.array([each.utterances], np.int32),
            }
    return found


def arrays_to_remembered(arrays: Arrays) -> Remembered:
    """The inverse, of checked arrays."""

    def read(name: str) -> Tensor:
        return torch.from_numpy(arrays[name].astype(np.float32))

    classes = [
        Gaussian(
            read(f"{label}.mean"),
            read(f"{label}.directions"),
            read(f"{label}.rest"),
            int(arrays[f"{label}.utterances"][0]),
        )
        if f"{label}.mean" in arrays
        else None
        for label in (BONA_FIDE, SPOOF)
    ]
    return Remembered(classes[0], classes[1], read("centre"), read("spread"))


def arrays_to_features(arrays: Arrays, part: Part, attacks: Sequence[str]) -> Features | None:
    """The inverse, of checked arrays; where sources were not kept, equal clips have one. None where not kept."""
    if f"{part}.frames" not in arrays:
        return None
    lengths = arrays[f"{part}.lengths"].tolist()
    frames = torch.from_numpy(arrays[f"{part}.frames"].astype(np.float16))
    real = arrays[f"{part}.bona_fide"].astype(bool)
    pointers = arrays.get(f"{part}.attacks", np.full(len(lengths), -1))
    sources, statistics = arrays.get(f"{part}.sources"), arrays.get(f"{part}.statistics")
    clips = tuple(clip.clone() for clip in torch.split(frames, lengths)) if lengths else ()
    return Features(
        clips,
        torch.from_numpy(real),
        tuple(source_id(clip.numpy().tobytes().hex()) for clip in clips)
        if sources is None
        else tuple(bytes(row).hex() for row in sources),
        tuple(attacks[at] if 0 <= at < len(attacks) else None for at in pointers.tolist()),
        None if statistics is None else torch.from_numpy(statistics.astype(np.float32)),
    )
