"""Audio classifiers of transformers: encoder, optional weighted sum of its states, projector, mean, classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForAudioClassification, PreTrainedModel

from molex_adapt.base import load_base
from molex_adapt.base.load import loading
from molex_adapt.errors import RegistryError
from molex_adapt.published.detector import PublishedDetector, head_state
from molex_adapt.published.labels import bona_fide_label

_PARTS = {"projector.weight", "projector.bias", "classifier.weight", "classifier.bias"}
_TOLERANCE = 1e-4
"""Of scores, of the encoder taken apart against transformers' own; rounding alone makes far less."""


def read_classifier(
    name: str, revision: str | None, config: dict[str, Any], card: Path, bona_fide: str | None
) -> PublishedDetector:
    """A classifier from a folder or the Hub.

    Args:
        name, revision: as for `load_base`.
        config: its config.json.
        card: its README.md.
        bona_fide: the label that the user named.

    Raises:
        RegistryError: it cannot be loaded, its labels do not say which is bona fide, or it computes otherwise.
    """
    if config.get("model_type") == "whisper":
        raise RegistryError(
            f"{name} is a Whisper classifier, which averages over 30 s whatever it hears, silence included; recordings "
            "are heard as long as they are here, so its scores could not be reproduced. Take its encoder alone as a "
            "base: --encoder-only"
        )
    base = load_base(name, revision)
    model = _model(name, revision)
    state = {key: value for key, value in model.state_dict().items() if not key.startswith(_encoder(model))}
    if model.main_input_name != "input_values":
        raise RegistryError(
            f"{name} is a {type(model).__name__}, which hears spectra; classifiers of waveforms can be taken in. Take "
            "its encoder alone as a base: --encoder-only"
        )
    if set(state) - {"layer_weights"} != _PARTS:
        raise RegistryError(
            f"{name} is a {type(model).__name__} with the head {', '.join(sorted(state))}; projector and classifier "
            "are expected. Take its encoder alone as a base: --encoder-only"
        )
    labels = {int(at): str(label) for at, label in (model.config.id2label or {}).items()}
    real = bona_fide_label(labels, bona_fide, name)
    weighted = "layer_weights" in state
    closing = base.family.closing()
    # Until version 4 transformers counted the normalised state as the last of the sum, since then the raw one.
    as_before = (
        weighted and closing is not None and str(config.get("transformers_version", "")).startswith("4.")
    )
    found = PublishedDetector(
        base,
        Path(name) if Path(name).is_dir() else None,
        head_state(
            (state["classifier.weight"], state["classifier.bias"]),
            real,
            (state["projector.weight"], state["projector.bias"]),
            state.get("layer_weights"),
            closing if as_before or not weighted else None,
        ),
        type(model).__name__,
        labels[real],
        tuple(label for at, label in sorted(labels.items()) if at != real),
        card,
    )
    if not as_before:
        _require_same(found, model, real, name)
    return found


def _model(name: str, revision: str | None) -> PreTrainedModel:
    with loading(name):
        model, info = AutoModelForAudioClassification.from_pretrained(
            name, revision=revision, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(_encoder(model)))
    if missing:
        raise RegistryError(
            f"{name} lacks {missing[0]}, which its config.json asks for: its head was never trained, or is elsewhere. "
            "Give the whole detector, or take its encoder alone as a base: --encoder-only"
        )
    found: PreTrainedModel = model.eval()
    return found


def _encoder(model: PreTrainedModel) -> str:
    return f"{model.base_model_prefix}."


@torch.no_grad()
def _require_same(found: PublishedDetector, model: PreTrainedModel, real: int, name: str) -> None:
    """Hold scores of noise against transformers' own: a class that computes otherwise than expected is refused."""
    generator = torch.Generator().manual_seed(0)
    for seconds in (0.7, 1.1):
        noise = 0.1 * torch.randn(int(16_000 * seconds), generator=generator)
        wave = torch.from_numpy(found.base.prepare(noise.numpy()))
        ours, theirs = found.score(wave), _log_odds(model(wave[None]).logits[0], real)
        if not abs(ours - theirs) <= _TOLERANCE * max(1.0, abs(theirs)):
            raise RegistryError(
                f"{name} gives noise the score {theirs:.6g} and {ours:.6g} when taken apart: {type(model).__name__} "
                "computes otherwise than expected. Take its encoder alone as a base (--encoder-only), and report this"
            )


def _log_odds(logits: Tensor, real: int) -> float:
    others = torch.cat([logits[:real], logits[real + 1 :]])
    return float(logits[real] - others.logsumexp(0))
