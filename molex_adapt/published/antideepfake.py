"""The AntiDeepfake detectors: a wav2vec 2.0, HuBERT, XLS-R or MMS, the mean over frames, and a linear layer.

Source: Ge et al. (arXiv 2506.21090) and their code: output 0 is fake, output 1 real, and a waveform is normalised as by
a layer norm. A waveform shorter or longer than those of training is heard as it is.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from molex_adapt.base import load_base
from molex_adapt.base.encoder import BaseIdentity
from molex_adapt.base.families import family_of
from molex_adapt.base.load import MASK_EMBEDDING, PREPROCESSOR, VARIANCE_EPSILON, loading
from molex_adapt.errors import RegistryError
from molex_adapt.published.detector import PublishedDetector, head_state
from molex_adapt.published.fairseq import config_of, renamed
from molex_adapt.published.labels import bona_fide_label

HEAD = "proj_fc"
_LABELS = {0: "fake", 1: "real"}
_ENCODER = re.compile(r"^(.*?)feature_extractor\.conv_layers\.0\.")
_LAYER_NORM_EPSILON = 1e-5


@contextmanager
def read_antideepfake(
    folder: Path, identity: tuple[str, str], config: dict[str, Any], bona_fide: str | None
) -> Iterator[PublishedDetector]:
    """A detector from a folder; its encoder, written anew as transformers has it, lies on disk while the context lasts.

    Args:
        folder: with safetensors.
        identity: id and revision of the detector.
        config: what config.json states, for what no shape tells.
        bona_fide: the label that the user named.

    Raises:
        RegistryError: weights are missing, or others are there.
    """
    name = identity[0]
    weights = _weights(folder)
    classifier = weights.pop(f"{HEAD}.weight"), weights.pop(f"{HEAD}.bias", None)
    if classifier[1] is None or classifier[0].shape[:1] != (2,) or classifier[1].shape != (2,):
        raise RegistryError(
            f"{name} has a {HEAD} of another shape than two outputs with their biases; give the checkpoint as it was "
            "published"
        )
    real = bona_fide_label(_LABELS, bona_fide, name)
    encoder = _encoder(weights, name)
    with TemporaryDirectory() as made:
        target = Path(made)
        _write(encoder, list(weights), config, name, target)
        _copy_texts(folder, target)
        base = load_base(target)
        base.identity = BaseIdentity(*identity, base.identity.sha256)
        yield PublishedDetector(
            base,
            target,
            head_state((classifier[0], classifier[1]), real, closing=base.family.closing()),
            "AntiDeepfake",
            _LABELS[real],
            (_LABELS[1 - real],),
            folder / "README.md",
        )


def _weights(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    with loading(str(folder)):
        for path in sorted(folder.glob("*.safetensors")):
            found |= load_file(path)
    return found


def _encoder(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The encoder's weights under transformers' names."""
    prefix = next((found[1] for key in weights if (found := _ENCODER.match(key))), None)
    others = [key for key in weights if prefix is None or not key.startswith(prefix)]
    if prefix is None or others:
        raise RegistryError(
            f"{name} has a {HEAD}, and {others[0] if others else 'nothing'} beside it, which belongs to no wav2vec 2.0 "
            "or HuBERT; detectors of an encoder, the mean over frames and one linear layer can be taken in"
        )
    names = {key: renamed(key.removeprefix(prefix)) for key in weights}
    return {new: weights[key].float() for key, new in names.items() if new is not None}


def _write(
    encoder: dict[str, Tensor], former: list[str], stated: dict[str, Any], name: str, target: Path
) -> None:
    config = config_of(encoder, former, stated, name)
    with loading(name):
        model = family_of(config.model_type).draw(config)
        missing, unexpected = model.load_state_dict(encoder, strict=False)
    wrong = [f"lacks {key}" for key in missing if key != MASK_EMBEDDING]
    wrong += [f"has {key}, which is not known" for key in unexpected]
    if wrong:
        raise RegistryError(
            f"the encoder of {name} {wrong[0]} (as transformers calls it); give the checkpoint as it was published"
        )
    with loading(name):
        model.save_pretrained(target)
    heard = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "sampling_rate": 16_000,
        "do_normalize": True,
        VARIANCE_EPSILON: _LAYER_NORM_EPSILON,
    }
    (target / PREPROCESSOR).write_text(json.dumps(heard, indent=2) + "\n", encoding="utf-8")


def _copy_texts(folder: Path, target: Path) -> None:
    """Card and licence go with the weights."""
    for pattern in ("README.md", "LICENSE*"):
        for path in folder.glob(pattern):
            if path.is_file():
                shutil.copy(path, target)
