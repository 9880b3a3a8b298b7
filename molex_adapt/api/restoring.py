"""A whole mixture that arrives from the Hub, into a registry of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from molex_adapt.api.fitting import exemplars_of
from molex_adapt.api.trying import require_sound
from molex_adapt.errors import HubError, MolexError
from molex_adapt.hub.pull import FetchedMixture
from molex_adapt.registry import GenerationDraft, Store
from molex_adapt.registry.assemble import build_detector
from molex_adapt.registry.files import read_tensors
from molex_adapt.run import Run
from molex_adapt.text import short

_MOST_SIZE = 2**20
_MOST_BLOCKS = 256


def restore(fetched: FetchedMixture, path: Path, run: Run) -> None:
    """A whole generation into a new registry; see `Registry.pull_mixture`.

    It is put together in a folder of its own, loaded as a detector once, and copied to its place when that worked.
    """
    base = fetched.mixture.contents.base
    with TemporaryDirectory(prefix="molex-adapt-") as made:
        source = _gather(fetched.base, Path(made) / "base") if base.embedded else None
        try:
            store = Store.create(Path(made) / "registry", base, source)
            number = store.add_generation(_draft(fetched, run.command), activate=True)
            _require_unchanged(store, fetched)
            detector = build_detector(store, number, run.find_device())
            for new in fetched.mixture.experts:
                exemplars_of(new, detector, str(fetched.origin))
            require_sound(detector, fetched.mixture.experts, str(fetched.origin), whole=True)
        except HubError:
            raise
        except MolexError as error:
            raise HubError(f"{fetched.origin} was refused: {error} Nothing was made at {path}.") from None
        Store.copy(store.path, path)


def _draft(fetched: FetchedMixture, command: str) -> GenerationDraft:
    mixture, generation = fetched.mixture, fetched.mixture.contents.generation
    return GenerationDraft(
        parent=None,
        experts=generation.names,
        router=mixture.router,
        head=mixture.head,
        recipe=mixture.recipe,
        calibration=(generation.calibration.scale, generation.calibration.offset),
        unheard=generation.unheard,
        threshold=generation.threshold,
        new_experts=mixture.experts,
        command=command,
        metrics=generation.metrics,
        profile=generation.profile,
        remarks=[f"pulled whole from {fetched.origin}"],
        origin=fetched.origin,
        raised=generation.raised,
    )


def _gather(base: Mapping[str, Path], folder: Path) -> Path:
    """The files of an embedded base under their own names, without links."""
    folder.mkdir()
    for name, path in base.items():
        shutil.copyfile(path, folder / name)
    config = folder / "config.json"
    if config.is_file() and b"auto_map" in config.read_bytes():
        raise HubError(
            "the mixture was refused: its base's config.json names code of its own (auto_map), and no code is taken "
            "from a repository. Ask its owner for one without"
        )
    _require_shapes(folder)
    return folder


def _require_shapes(folder: Path) -> None:
    """A base whose config.json asks for other weights than there are would be drawn at random, at any size."""
    from transformers import AutoConfig

    from molex_adapt.base.families import family_of

    try:
        stated = json.loads((folder / "config.json").read_bytes())
        sizes = [value for item in stated.values() for value in (item if isinstance(item, list) else [item])]
        if any(isinstance(value, int) and abs(value) > _MOST_SIZE for value in sizes):
            raise ValueError(f"it states sizes beyond {_MOST_SIZE}")
        config = AutoConfig.for_model(**stated)
        if not 0 < config.num_hidden_layers <= _MOST_BLOCKS:
            raise ValueError(f"it states {config.num_hidden_layers} blocks")
        with torch.device("meta"):
            model = family_of(config.model_type).draw(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise HubError(
            f"the mixture was refused: the config.json of its base is none ({short(error, 300)}). Ask its owner"
        ) from None
    asked = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= {name: array.shape for name, array in read_tensors(path, folder).items()}
    wrong = sorted(name for name in asked.keys() | found.keys() if asked.get(name) != found.get(name))
    if wrong:
        raise HubError(
            f"the mixture was refused: its base's config.json asks for {wrong[0]} of shape {asked.get(wrong[0])}, the "
            f"weights have {found.get(wrong[0])}. Ask its owner"
        )


def _require_unchanged(store: Store, fetched: FetchedMixture) -> None:
    if store.generation().experts != fetched.mixture.contents.generation.experts:
        raise HubError(
            f"{fetched.origin} was refused: its adapters are not stored as molex-adapt stores them. Ask its owner to "
            "push it again"
        )
