"""Loading a base from the Hub or a folder. Only safetensors are read, and an incomplete checkpoint is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from logging import CRITICAL
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from molex_adapt.base.encoder import EPSILON, Base, BaseIdentity
from molex_adapt.base.families import SUPPORTED, family_of
from molex_adapt.digest import sha256_of_weights
from molex_adapt.errors import RegistryError

PREPROCESSOR = "preprocessor_config.json"
VARIANCE_EPSILON = "variance_epsilon"
"""A key of our own in it: waveforms of some detectors were normalised with another epsilon than transformers'."""
MASK_EMBEDDING = "masked_spec_embed"


def load_base(id_or_folder: str | Path, revision: str | None = None) -> Base:
    """Load a base by Hub model id or from a local folder, safetensors only.

    Args:
        id_or_folder: e.g. `microsoft/wavlm-large`, or a folder with config.json and model.safetensors.
        revision: branch, tag or commit on the Hub; the identity records the commit that it stands for.

    Raises:
        RegistryError: nothing there, no safetensors weights, or an unsupported architecture.
    """
    folder = Path(id_or_folder)
    local = folder.is_dir()
    name = str(folder) if local else str(id_or_folder)
    if local and not (folder / "config.json").is_file():
        raise RegistryError(
            f"{folder} has no config.json; expected a folder saved by transformers' save_pretrained. Give a Hub model "
            "id, or such a folder"
        )
    with loading(name):
        commit = "local" if local else _commit(name, revision)
        revision = revision if local else commit  # everything is read from one state of the repository
        config: PreTrainedConfig = AutoConfig.from_pretrained(name, revision=revision)
        _check_kind(config, name)
        family = family_of(config.model_type)
        model, info = family.read(
            name,
            config,
            revision=revision,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
        )
    _require_complete(model, set(info["missing_keys"]), {key for key, *_ in info["mismatched_keys"]}, name)
    identity = BaseIdentity(
        folder.resolve().name if local else str(id_or_folder), commit, weights_hash(model)
    )
    stated = _stated(folder if local else None, name, revision)
    normalised = bool(stated.get("do_normalize", family.normalises(config)))
    return Base(model, identity, normalised, _epsilon(stated, name))


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Transformers says nothing, and what it and its files can raise becomes a RegistryError that names `name`."""
    try:
        with _quiet_transformers():
            yield
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        SafetensorError,
        StrictDataclassError,
    ) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise RegistryError(
            f"base {name!r} cannot be loaded: {reason}. Give a Hub model id with safetensors weights, or a folder that "
            "holds config.json and model.safetensors"
        ) from None


def _commit(name: str, revision: str | None) -> str:
    """The commit that a branch or tag stands for; without a network, the one of the last download."""
    # The cache's folder is named by the commit, so one file tells it without a call for all files.
    from huggingface_hub import hf_hub_download

    found = Path(hf_hub_download(name, "config.json", revision=revision)).parent.name
    return found if re.fullmatch(r"[0-9a-f]{40}", found) else revision or "main"


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars and no reports on stderr. Wrong weights raise an error instead."""
    transformers.utils.logging.disable_progress_bar()
    before = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity(CRITICAL)
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(before)


def _check_kind(config: PreTrainedConfig, name: str) -> None:
    if config.model_type not in SUPPORTED:
        raise RegistryError(
            f"{name} is a {config.model_type!r} model; bases are one of {', '.join(SUPPORTED)}. Give one of these"
        )


@torch.no_grad()
def _require_complete(model: PreTrainedModel, missing: set[str], misshapen: set[str], name: str) -> None:
    """Refuse weights that transformers would draw at random. The mask's embedding may be missing: it is not used."""
    if MASK_EMBEDDING in missing:
        model.get_parameter(MASK_EMBEDDING).zero_()
    for what, keys in (("lacks", missing - {MASK_EMBEDDING}), ("has another shape in", misshapen)):
        if keys:
            raise RegistryError(
                f"base {name!r} {what} {len(keys)} of the weights that its config.json asks for, first {min(keys)}; "
                "random ones would stand in their place. Give a complete checkpoint with its own config.json"
            )


def weights_hash(model: nn.Module) -> str:
    """sha256 over name, shape and float32 bytes of every weight. File format and precision on disk do not matter."""
    state = sorted(model.state_dict().items())
    return sha256_of_weights((name, weight.cpu().float().numpy()) for name, weight in state)


def _stated(folder: Path | None, name: str, revision: str | None) -> dict[str, Any]:
    """What preprocessor_config.json says; nothing without that file."""
    try:
        if folder is None:
            from huggingface_hub import hf_hub_download

            path = Path(hf_hub_download(name, PREPROCESSOR, revision=revision))
        else:
            path = folder / PREPROCESSOR
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stated if isinstance(stated, dict) else {}


def _epsilon(stated: dict[str, Any], name: str) -> float:
    """transformers' own, unless a detector that learnt from another says so."""
    found = stated.get(VARIANCE_EPSILON, EPSILON)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1:
        raise RegistryError(
            f"base {name!r}: {PREPROCESSOR} has {VARIANCE_EPSILON} = {found!r}; a number between 0 and 1 is expected. "
            f"Take it out for the usual {EPSILON:g}"
        )
    return float(found)
