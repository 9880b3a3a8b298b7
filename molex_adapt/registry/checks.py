"""Whether tensors are what their record says: names, shapes, number types, finite values.

Shapes: S statistics of the low-level view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from molex_adapt.conventions import SPEECH
from molex_adapt.errors import ExpertError, RegistryError
from molex_adapt.registry.files import Arrays
from molex_adapt.registry.records import BaseRecord, ExpertRecord
from molex_adapt.text import command_line, short, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

PEFT_PREFIX = "base_model.model."

_LARGEST_HALF = 65504.0
_SHIPPED = "embedded"
"""What the base that comes with the package is called."""
_PARTS = ("replay", "check")
_OF_TRAINING = ("train", "dev")
_OF_GAUSSIANS = {"mean": 2, "directions": 3, "rest": 2, "utterances": 1}
"""Tensors of a Gaussian, and their number of dimensions."""
_OF_UTTERANCES = ("frames", "lengths", "bona_fide", "sources", "attacks", "statistics")


def peft_key(block: int, target: str, matrix: str) -> str:
    """Name of a LoRA matrix ("lora_A" or "lora_B") in an adapter file, as PEFT writes it."""
    return f"{PEFT_PREFIX}encoder.layers.{block}.{target}.{matrix}.weight"


def check_base(record: ExpertRecord, base: BaseRecord) -> None:
    """Refuse, by an ExpertError, an expert of another base."""
    if record.base.sha256 != base.sha256:
        raise ExpertError(
            f"Expert {record.name!r} was trained on {record.base}; this registry's base is {base}. "
            f"{_registry_on(record.base)}"
        )


def _registry_on(base: BaseRecord) -> str:
    """How to begin a registry on a base; of an embedded one, the name is that of a folder somewhere."""
    if not base.embedded:
        where = command_line(["molex-adapt", "init", base.id, "--revision", base.revision])
        return f"Start a registry on the expert's base: {where} --registry other/"
    if base.id == _SHIPPED:
        return f"Start a registry on the expert's base: molex-adapt init {_SHIPPED} --registry other/"
    return (
        f"Its base is no model on the Hub, but came from a folder called {shown(base.id)}: with that folder, "
        "molex-adapt init FOLDER --registry other/; or pull the mixture that it was trained in, which holds the base: "
        "molex-adapt pull --mixture ORG/REPO --registry other/"
    )


def check_expert(record: ExpertRecord, weights: Arrays, where: str) -> None:
    """Every matrix of every block and target, in the record's rank, and nothing else; else ExpertError."""
    places = [(block, target) for block in range(record.blocks) for target in record.targets]
    expected = {peft_key(*place, matrix) for place in places for matrix in ("lora_A", "lora_B")}
    if expected != set(weights):
        missing, extra = sorted(expected - set(weights)), sorted(set(weights) - expected)
        raise ExpertError(
            f"{where}: expert {record.name!r} must hold lora_A and lora_B of "
            f"{short(', '.join(record.targets), 200)} in {record.blocks} blocks; missing: {_first(missing)}; "
            f"unexpected: {_first(extra)}. Train the expert again, or restore its folder from a copy."
        )
    for name, weight in sorted(weights.items()):
        rank = weight.shape[0 if name.endswith(".lora_A.weight") else -1] if weight.ndim == 2 else None
        if rank != record.rank:
            raise ExpertError(
                f"{where}: {name} has shape {weight.shape}, thus rank {rank}; the record of expert "
                f"{record.name!r} says rank {record.rank}. Restore both files from one copy, or train it again."
            )
        _check_values(name, weight, ("float16", "float32"), where, ExpertError)


def check_router(router: Arrays, experts: int, where: str) -> None:
    """Rows (E, D + 1), centre (D,) and spread (D,) for every block; else RegistryError."""
    blocks = -(-len(router) // 3)
    parts = ("rows", "centre", "spread")
    expected = {f"blocks.{block}.{part}" for block in range(blocks) for part in parts}
    if not router or set(router) != expected:
        raise RegistryError(
            f"{where}: router tensors must be blocks.0.rows, .centre, .spread and so on for every block; "
            f"missing: {_first(sorted(expected - set(router)))}; unexpected: "
            f"{_first(sorted(set(router) - expected))}. Restore the file from a copy or roll back."
        )
    width = router["blocks.0.centre"].shape[0] if router["blocks.0.centre"].ndim == 1 else None
    for block in range(blocks):
        for part in parts:
            name = f"blocks.{block}.{part}"
            need = (experts, (width or 0) + 1) if part == "rows" else (width,)
            if router[name].shape != need:
                raise RegistryError(
                    f"{where}: {name} has shape {router[name].shape}; {experts} experts and routing width {width} "
                    f"need {need}. Restore the file from a copy or roll back."
                )
            _check_values(name, router[name], ("float32",), where, RegistryError)
        if float(router[f"blocks.{block}.spread"].min(initial=1.0)) <= 0:
            raise RegistryError(
                f"{where}: blocks.{block}.spread has values of 0 or less; what a router reads is divided by them. "
                "Restore the file from a copy or roll back."
            )


def check_head(head: Arrays, where: str) -> None:
    """At least one tensor, all finite; else RegistryError."""
    if not head:
        raise RegistryError(f"{where}: the head has no tensors. Restore the file from a copy or roll back.")
    for name, weight in head.items():
        types = ("uint8",) if name.endswith(".names") else ("float16", "float32")
        _check_values(name, weight, types, where, RegistryError)


def check_exemplars(exemplars: Arrays, where: str) -> None:
    """For `replay` and `check`: frames (ΣF, C) float16, lengths (N,) that sum to ΣF, bona_fide (N,); else ExpertError.

    Where there are `sources` they are (N, 8) bytes, `attacks` (N,) integers, and `statistics` (N, S). `reads`, which
    were kept once, are passed over: nothing uses them. `heard.train` and `.dev` are (N, 8) bytes: which recordings.
    """
    for part in sorted({name.partition(".")[0] for name in exemplars}):
        if part in _PARTS:
            _check_utterances(exemplars, part, where)
        elif part == "heard":
            _check_heard(exemplars, where)
        elif part != "reads":
            raise ExpertError(
                f"{where}: {part!r} is no part of exemplars; replay and check are. Train the expert again."
            )


def _check_heard(exemplars: Arrays, where: str) -> None:
    for name, rows in exemplars.items():
        part, _, split = name.partition(".")
        if part != "heard":
            continue
        if split not in _OF_TRAINING or str(rows.dtype) != "uint8" or rows.ndim != 2 or rows.shape[1] != 8:
            raise ExpertError(
                f"{where}: {name} must be heard.train or heard.dev of (N, 8) bytes, and is {rows.dtype} of "
                f"{rows.shape}. Restore the file from a copy."
            )


def check_routing(found: Arrays, where: str) -> None:
    """`centre`, `spread` (L, D), and of each class mean (L, D), directions (L, R, D), rest (L, D); else ExpertError.

    There may be what `witnesses.speech_arrays` gives beside them.
    """
    expected = {"centre": 2, "spread": 2}
    for label in ("bonafide", "spoof"):
        if any(name.startswith(f"{label}.") for name in found):
            expected |= {f"{label}.{part}": count for part, count in _OF_GAUSSIANS.items()}
    shape = found["centre"].shape if "centre" in found else ()
    if any(name.startswith(SPEECH) for name in found):
        expected |= {f"{SPEECH}{part}": 1 for part in ("spectrum", "states", "features")}
    fits = set(found) == set(expected) and all(
        array.ndim == expected[name]
        and (
            array.shape == (1,)
            if name.endswith(".utterances")
            else name.startswith(SPEECH) or (array.shape[0], array.shape[-1]) == shape
        )
        for name, array in found.items()
    )
    if not fits:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in sorted(found.items()))
        raise ExpertError(
            f"{where}: tensors do not fit together: {short(shapes, 400)}. centre and spread (L, D), and of each "
            "class mean (L, D), directions (L, R, D), rest (L, D) and utterances (1,) are expected. "
            "Restore the file from a copy."
        )
    for name, array in found.items():
        kinds = {"utterances": ("int32",), "features": ("uint8",)}.get(
            name.rpartition(".")[2], ("float16", "float32")
        )
        _check_values(name, array, kinds, where, ExpertError)
        least = (
            float(array.min(initial=1.0))
            if name == "spread" or name.endswith(("rest", "utterances"))
            else 1.0
        )
        if least < 0 or (least == 0 and name == "spread"):
            raise ExpertError(
                f"{where}: {name} has the value {least:g}; what is a deviation, a variance or a count cannot. "
                "Restore the file from a copy."
            )


def _check_utterances(exemplars: Arrays, part: str, where: str) -> None:
    import numpy as np

    own = {name for name in exemplars if name.startswith(f"{part}.")}
    if unknown := sorted(own - {f"{part}.{name}" for name in _OF_UTTERANCES}):
        raise ExpertError(
            f"{where}: {unknown[0]!r} is no such tensor as exemplars have: {', '.join(_OF_UTTERANCES)}. "
            "Restore the file from a copy."
        )
    try:
        frames, lengths, labels = (exemplars[f"{part}.{name}"] for name in ("frames", "lengths", "bona_fide"))
    except KeyError as error:
        raise ExpertError(f"{where}: no usable tensor {error}. Train the expert again.") from None
    count = len(labels) if labels.ndim == 1 else -1
    pointers = exemplars.get(f"{part}.attacks", lengths)
    sources = exemplars.get(f"{part}.sources", np.zeros((count if count >= 0 else 0, 8), np.uint8))
    whole = (
        lengths.dtype.kind == pointers.dtype.kind == "i"
        and labels.dtype.kind in "ub"
        and sources.dtype == np.uint8
    )
    if (
        not whole
        or frames.ndim != 2
        or lengths.shape != (count,)
        or pointers.shape != (count,)
        or sources.shape != (count, 8)
    ):
        raise ExpertError(
            f"{where}: {part}.frames {frames.shape}, .lengths {lengths.dtype}{lengths.shape}, .bona_fide "
            f"{labels.dtype}{labels.shape}, .sources {sources.shape} and .attacks {pointers.shape} do not fit "
            "together; frames (ΣF, C) and one length, label, source (8 bytes) and attack per utterance are expected. "
            "Restore the file from a copy."
        )
    if count and not 1 <= int(lengths.min()) <= int(lengths.max()) <= len(frames):
        raise ExpertError(
            f"{where}: {part}.lengths go from {lengths.min()} to {lengths.max()}, but there are {len(frames)} frames. "
            "Restore the file from a copy."
        )
    if int(lengths.sum()) != len(frames):
        raise ExpertError(
            f"{where}: {part}.lengths sum to {int(lengths.sum())}, but there are {len(frames)} frames. "
            "Restore the file from a copy."
        )
    statistics = exemplars.get(f"{part}.statistics", np.zeros((count, 1), np.float16))
    if statistics.ndim != 2 or len(statistics) != count:
        raise ExpertError(
            f"{where}: {part}.statistics {statistics.shape} are not one row for each of {count} utterances. "
            "Restore the file from a copy."
        )
    _check_values(f"{part}.statistics", statistics, ("float16", "float32"), where, ExpertError)
    _check_values(f"{part}.frames", frames, ("float16", "float32"), where, ExpertError)
    if float(np.abs(frames).max(initial=0.0)) > _LARGEST_HALF:
        raise ExpertError(
            f"{where}: {part}.frames holds values beyond {_LARGEST_HALF:g}, which half precision cannot hold. "
            "Restore the file from a copy."
        )


def _check_values(
    name: str,
    weight: NDArray[Any],
    kinds: tuple[str, ...],
    where: str,
    error: type[ExpertError | RegistryError],
) -> None:
    import numpy as np

    if weight.dtype.name not in kinds:
        raise error(
            f"{where}: {name} holds {weight.dtype.name}; {' or '.join(kinds)} is expected. Convert it."
        )
    bad = int(weight.size - np.isfinite(weight).sum())
    if bad:
        raise error(
            f"{where}: {bad} of {weight.size} values of {name} are NaN or infinite. "
            "Restore the file from a copy, or train again with a lower learning rate."
        )


def _first(names: list[str]) -> str:
    if not names:
        return "none"
    first = short(names[0], 200)
    return f"{first} and {len(names) - 1} more" if len(names) > 1 else first
