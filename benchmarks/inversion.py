"""What can be rebuilt from what an expert keeps: a recording's spectrum, whether it was heard, whose voice it is.

The attacker has the registry, the base, and other recordings of his own. A cell is what he looks at: `exemplars`,
prefix features of recordings; `statistics`, Gaussians of what routers read; or `moments`, second moments of what the
readout reads of a domain's real speech. What is kept comes from one half of the voices, the attacker's own recordings
from the other.

Shapes: N recordings, F frames, M mel bands, K features.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from benchmarks.plan import Cell, Plan
from benchmarks.workbench import WORK
from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.data import Table, Utterance, decode, read
from molex_adapt.detector import Detector
from molex_adapt.features import Features, extract, readings_of
from molex_adapt.readout.view import Moments, half_of, whole_of
from molex_adapt.registry import Store
from molex_adapt.registry.assemble import build_detector
from molex_adapt.rehearsal import Gaussian
from molex_adapt.run import Run
from molex_adapt.train.reads import reads_of

Floats = NDArray[np.float64]
_MELS, _RIDGE = 40, 10.0
_RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
"""Of the distance from second moments, whose diagonal is about 1; half precision leaves 1e-3 of noise."""


def measure(
    plan: Plan, cells: list[Cell], domains: Path = WORK / "domains"
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Try to rebuild, from bona fide speech of `bonafide.csv` in a folder that tools.wideband.domains made."""
    run = Run(device="cpu", precision="fp32")
    detector = build_detector(Store(Path("registry")), precision="fp32")
    seconds = detector.recipe.data.crop_seconds
    parts = _parts(read(domains / "bonafide.csv"), int(plan.settings["each"]))
    features = {name: extract(detector, rows, run)[0].cut(seconds) for name, rows in parts.items()}
    mels = {name: [_log_mel(item, seconds) for item in rows] for name, rows in parts.items()}
    attacks = {"exemplars": _from_features, "statistics": _from_statistics, "moments": _from_moments}
    for cell in cells:
        attack = attacks[cell.method]
        yield cell, attack(detector, features, mels) | {"recordings": len(parts["kept"])}


def _parts(table: Table, each: int) -> dict[str, Table]:
    """`kept`: what a registry learnt; `twins`: other recordings of these voices; `own`: the attacker's, of others."""
    plain = [item for item in table if item.condition == "none" and item.speaker]
    voices: dict[str, list[Utterance]] = {}
    for item in plain:
        voices.setdefault(str(item.speaker), []).append(item)
    enough = sorted(voice for voice, items in voices.items() if len(items) >= 8)
    first, second = enough[::2], enough[1::2]
    halves = {
        "kept": [item for voice in first for item in voices[voice][::2]],
        "twins": [item for voice in first for item in voices[voice][1::2]],
        "own": [item for voice in second for item in voices[voice]],
    }
    return {name: Table(tuple(_spread(items, each)), name) for name, items in halves.items()}


def _spread(items: list[Utterance], count: int) -> list[Utterance]:
    return [items[at * len(items) // count] for at in range(min(count, len(items)))]


def _log_mel(item: Utterance, seconds: float) -> Floats:
    """(F, M) log-mel power, a frame for each frame of the base."""
    wave = decode(item.path, duration=seconds)
    bank = mel_filter_bank(257, _MELS, 50.0, 7600.0, SAMPLE_RATE)
    found = spectrogram(
        wave, window_function(400, "hann"), 400, FRAME_SAMPLES, fft_length=512, power=2.0, mel_filters=bank
    )
    return np.asarray(np.log(np.maximum(found.T, 1e-8)))


def _from_features(
    detector: Detector, features: dict[str, Features], mels: dict[str, list[Floats]]
) -> dict[str, float]:
    """Ridge regression from frames of features to log-mel spectra, learnt on the attacker's own recordings."""
    model = Ridge(_RIDGE).fit(*_frames(features["own"], mels["own"]))
    rebuilt = [model.predict(clip.double().numpy()) for clip in features["kept"].clips]
    means = {
        name: torch.stack([clip.double().mean(0) for clip in item.clips]) for name, item in features.items()
    }
    middle = means["own"].mean(0)
    units = {name: F.normalize(item - middle, dim=1) for name, item in means.items()}
    # How like a recording is to the likest of those that were kept.
    likest = {name: (item @ units["kept"].T).amax(1).numpy() for name, item in units.items()}
    return _spectra(rebuilt, mels["kept"], mels["own"]) | _told(likest)


def _from_statistics(
    detector: Detector, features: dict[str, Features], mels: dict[str, list[Floats]]
) -> dict[str, float]:
    """What a Gaussian says: one spectrum for all recordings, and likelihoods."""
    reads = {name: reads_of(detector, item) for name, item in features.items()}
    kept = Gaussian.fit(reads["kept"])
    x = reads["own"].flatten(1).double().numpy()
    y = np.stack([mel.mean(0) for mel in mels["own"]])
    model = Ridge(_RIDGE).fit(x, y)
    # The best that is known of any of them is the mean of all, in every frame.
    one = model.predict(kept.mean.flatten()[None].double().numpy())[0]
    rebuilt = [np.broadcast_to(one, mel.shape) for mel in mels["kept"]]
    likelihood = {name: _log_likelihood(kept, item) for name, item in reads.items()}
    return _spectra(rebuilt, mels["kept"], mels["own"]) | _told(likelihood)


def _from_moments(
    detector: Detector, features: dict[str, Features], mels: dict[str, list[Floats]]
) -> dict[str, float]:
    """What second moments say: one spectrum for all recordings, and how well a recording lies among them."""
    readout = detector.head.readout
    assert readout is not None
    reads = {name: readout.features(readings_of(detector, item)) for name, item in features.items()}
    everyone = torch.zeros(len(reads["kept"][0]), dtype=torch.int64)
    kept = [whole_of(half_of(Moments.of(view, everyone, 1).mean())) for view in reads["kept"]]
    y = np.stack([mel.mean(0) for mel in mels["own"]])
    model = Ridge(_RIDGE).fit(torch.cat(reads["own"], dim=1).double().numpy(), y)
    # The last column of the moments holds the means.
    one = model.predict(torch.cat([view[:, -1] for view in kept])[None].numpy())[0]
    rebuilt = [np.broadcast_to(one, mel.shape) for mel in mels["kept"]]
    told = []
    for ridge in _RIDGES:
        far = {
            name: sum(_far(own, rows, ridge) for own, rows in zip(kept, views, strict=True))
            for name, views in reads.items()
        }
        told.append(_told({name: -np.asarray(item) for name, item in far.items()}))
    # Whatever serves the attacker best, question by question.
    return _spectra(rebuilt, mels["kept"], mels["own"]) | {
        key: max(item[key] for item in told) for key in told[0]
    }


def _far(moments: Tensor, rows: Tensor, ridge: float) -> Floats:
    """How far (N, K) rows lie outside of (K, K) moments; a small ridge counts what the moments have nothing of."""
    held = moments + ridge * torch.eye(len(moments), dtype=torch.float64)
    values = rows.double()
    return np.asarray((values * torch.linalg.solve(held, values.T).T).sum(1))


def _frames(features: Features, mels: list[Floats]) -> tuple[Floats, Floats]:
    pairs = list(zip(features.clips, mels, strict=True))
    lengths = [min(len(clip), len(mel)) for clip, mel in pairs]
    x = np.concatenate([clip[:n].double().numpy() for (clip, _), n in zip(pairs, lengths, strict=True)])
    return x, np.concatenate([mel[:n] for (_, mel), n in zip(pairs, lengths, strict=True)])


def _spectra(rebuilt: list[Floats], truth: list[Floats], own: list[Floats]) -> dict[str, float]:
    """How much of the variance about the attacker's own mean spectrum is rebuilt; and within each recording."""
    prior = np.concatenate(own).mean(0)
    whole, within = [], []
    for guess, real in zip(rebuilt, truth, strict=True):
        n = min(len(guess), len(real))
        guess, real = guess[:n], real[:n]
        whole.append((np.square(real - guess).sum(), np.square(real - prior).sum()))
        centred = real - real.mean(0)
        within.append((np.square(centred - (guess - guess.mean(0))).sum(), np.square(centred).sum()))
    shares = [1 - sum(left for left, _ in item) / sum(all_ for _, all_ in item) for item in (whole, within)]
    return {"spectrum_r2": float(shares[0]), "within_r2": float(shares[1])}


def _told(scores: dict[str, Floats]) -> dict[str, float]:
    """AUROC of whether a recording was heard, among others of its voices; and whether a voice was, among others."""
    pairs = {"member_auroc": ("kept", "twins"), "voice_auroc": ("twins", "own")}
    return {
        name: float(
            roc_auc_score(
                np.r_[np.ones(len(scores[one])), np.zeros(len(scores[other]))],
                np.r_[scores[one], scores[other]],
            )
        )
        for name, (one, other) in pairs.items()
    }


def _log_likelihood(gaussian: Gaussian, reads: Tensor) -> Floats:
    """(N,) of all blocks together, up to a constant."""
    found = torch.zeros(len(reads), dtype=torch.float64)
    for block in range(reads.shape[1]):
        along = gaussian.directions[block].double()
        covariance = along.T @ along + gaussian.rest[block].double().clamp(min=1e-6).diag()
        apart = (reads[:, block] - gaussian.mean[block]).double()
        found -= 0.5 * (apart * torch.linalg.solve(covariance, apart.T).T).sum(1)
    return found.numpy()
