"""A LoRA adapter that stock PEFT made, anywhere: taken where plain LoRA on this mixture's layers says the same."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molex_adapt.errors import ExpertError, HubError
from molex_adapt.hub.unpack import PulledExpert, parse_config, refusing
from molex_adapt.registry import checks, files, layout
from molex_adapt.registry.draft import NewExpert
from molex_adapt.registry.files import Arrays
from molex_adapt.registry.records import BaseRecord, DataRecord, ExpertRecord
from molex_adapt.text import short, shown

_KEY = re.compile(
    r"base_model\.model\.(?:[a-z0-9_]+\.)?encoder\.layers\.(\d{1,4})\.(.{1,200})\.(lora_[AB])(?:\.default)?\.weight"
)
# fmt: off
_WITHOUT_EFFECT = frozenset(
    {
        "task_type", "auto_mapping", "peft_version", "inference_mode", "exclude_modules", "lora_dropout",
        "fan_in_fan_out", "layers_to_transform", "layers_pattern", "megatron_core", "loftq_config",
        "eva_config", "qalora_group_size", "runtime_config", "ensure_weight_tying", "peft_type",
        "base_model_name_or_path", "revision", "r", "lora_alpha", "target_modules", "bias", "use_rslora",
        "init_lora_weights",
    }
)
# fmt: on
"""Options of a LoraConfig that are read here, or that do not change what saved matrices compute."""

_INITIALISATIONS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Others (PiSSA, OLoRA, LoftQ, ...) change the base as well."""


@dataclass(frozen=True)
class Places:
    """Where a mixture takes experts."""

    base: BaseRecord
    blocks: int
    sizes: Mapping[str, tuple[int, int]]
    """Inputs and outputs of every adapted layer of a block."""


def read_stock(
    content: Mapping[str, bytes],
    name: str,
    places: Places,
    licence: str | None,
    source: str,
    *,
    assume_base: bool,
) -> PulledExpert:
    """An expert from a stock adapter's two files.

    Args:
        content: adapter_config.json and adapter_model.safetensors.
        name: of the new expert, and of its domain, which nobody stated.
        places: what it must fit.
        licence: as the Hub says; None where it does not.
        source: the repository, for messages.
        assume_base: take it for one of this base, whatever its config calls the base.

    Raises:
        HubError: damaged, not finite, or more than plain LoRA.
        ExpertError: of another base, or on other layers.
    """
    with refusing(source):
        config = parse_config(content[layout.ADAPTER_CONFIG], layout.ADAPTER_CONFIG)
        rank, alpha = _read_config(config)
        weights = files.parse_tensors(content[layout.ADAPTER], Path(layout.ADAPTER))
    remarks = [_check_base(config, places.base, source, assume_base)]
    with refusing(source):
        whole, filled = _on_places(weights, rank, places)
    if filled:
        remarks.append(f"it leaves {filled} of the mixture's adapted layers as they are")
    record = ExpertRecord(
        name=name,
        domain=name,
        rank=rank,
        alpha=alpha,
        targets=list(places.sizes),
        blocks=places.blocks,
        base=places.base,
        data=DataRecord(digest="unknown", counts={}),
        recipe="",
        seed=0,
        licence=short(licence or "other", 60),
        versions={"peft": short(config.get("peft_version") or "unknown", 40)},
    )
    with refusing(source):
        checks.check_expert(record, whole, layout.ADAPTER)
    return PulledExpert(NewExpert(record, whole), remarks=tuple(remarks))


def _read_config(config: Mapping[str, Any]) -> tuple[int, float]:
    """Rank and alpha of plain LoRA.

    Raises:
        ExpertError: it is something else.
    """
    if config.get("peft_type") != "LORA":
        raise ExpertError(f"it is a {short(config.get('peft_type'), 40)} adapter, not a LORA one.")
    odd = [key for key, value in config.items() if key not in _WITHOUT_EFFECT and value]
    odd += ["bias"] if config.get("bias") not in (None, "none") else []
    odd += ["init_lora_weights"] if config.get("init_lora_weights", True) not in _INITIALISATIONS else []
    if odd:
        raise ExpertError(
            f"it is more than plain LoRA: {', '.join(f'{key} = {short(config[key], 40)}' for key in sorted(odd)[:5])}. "
            "An expert here is A and B of one rank, nothing else."
        )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not (isinstance(rank, int) and not isinstance(rank, bool) and 1 <= rank <= 4096):
        raise ExpertError(f"its rank r = {short(rank, 40)} is none from 1 to 4096.")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1e6:
        raise ExpertError(f"its lora_alpha = {short(alpha, 40)} is no positive number.")
    # Rank-stabilised LoRA divides by the root of the rank: another alpha says the same.
    return rank, float(alpha) * (math.sqrt(rank) if config.get("use_rslora") else 1.0)


def _check_base(config: Mapping[str, Any], base: BaseRecord, source: str, assume_base: bool) -> str:
    named = short(config.get("base_model_name_or_path") or "no base at all", 200)
    revision = config.get("revision")
    agrees = named == base.id and revision in (None, base.revision)
    if not agrees and not assume_base:
        stated = f"{named}@{short(revision, 60)}" if revision is not None else named
        raise ExpertError(
            f"{source} is an adapter for {stated}; this registry's base is {base}. If it is the same base under "
            "another name, pull it with --assume-base; else start a registry on its base: molex-adapt init BASE"
        )
    how = "by its name" if agrees else "because you say so"
    return f"a stock adapter carries no hash of its base: it is taken for one of {base.id} {how}"


def _on_places(weights: Arrays, rank: int, places: Places) -> tuple[Arrays, int]:
    """Matrices under the names and in the shapes of this mixture, and how many layers had none."""
    found = _by_place(weights, places)
    layers = {place[:2] for place in found}
    whole: Arrays = {}
    for block in range(places.blocks):
        for target, (inputs, outputs) in places.sizes.items():
            for matrix, shape in (("lora_A", (rank, inputs)), ("lora_B", (outputs, rank))):
                array = found.get((block, target, matrix))
                if array is None and (block, target) in layers:
                    raise ExpertError(f"block {block}, {target}: {matrix} is missing beside its counterpart.")
                if array is not None and array.shape != shape:
                    raise ExpertError(
                        f"block {block}, {target}: {matrix} has shape {array.shape}; rank {rank} on this base needs "
                        f"{shape}."
                    )
                name = checks.peft_key(block, target, matrix)
                whole[name] = _unused(matrix, shape) if array is None else array
    return whole, places.blocks * len(places.sizes) - len(layers)


def _unused(matrix: str, shape: tuple[int, int]) -> NDArray[Any]:
    """A layer that changes nothing, as a fresh expert's does: B is zero, A is not, so that it could be trained."""
    if matrix == "lora_B":
        return np.zeros(shape, np.float16)
    return (np.random.default_rng(0).normal(size=shape) / math.sqrt(shape[1])).astype(np.float16)


def _by_place(weights: Arrays, places: Places) -> dict[tuple[int, str, str], NDArray[Any]]:
    """Matrices by block, target and kind; whatever task's model they were saved from."""
    found: dict[tuple[int, str, str], NDArray[Any]] = {}
    for key, array in weights.items():
        match = _KEY.fullmatch(key)
        place = (int(match[1]), match[2], match[3]) if match else None
        if place is None or place[0] >= places.blocks or place[1] not in places.sizes or place in found:
            raise ExpertError(
                f"it adapts {shown(key, 160)}; this mixture adapts {', '.join(places.sizes)} of {places.blocks} blocks."
            )
        found[place] = array
    if not found:
        raise ExpertError("it holds no matrix at all.")
    return found


def name_from(repository: str) -> str:
    """A name for an expert whose owner gave it none: the repository's, in lower case.

    Raises:
        HubError: it makes no name.
    """
    name = re.sub(r"[^a-z0-9_.-]+", "-", repository.partition("/")[2].lower())[:64]
    if not re.fullmatch(r"[a-z0-9].*", name):
        raise HubError(f"{repository} makes no name for an expert; give one by --as NAME")
    return name
