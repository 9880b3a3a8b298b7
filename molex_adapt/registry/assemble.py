"""Between the registry's arrays and a working detector."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molex_adapt.base import Base, BaseIdentity, load_base
from molex_adapt.calibration import Calibration
from molex_adapt.conventions import Precision
from molex_adapt.detector import Detector, head_for
from molex_adapt.errors import RegistryError
from molex_adapt.mixture import ExpertSpec, ExpertWeights, Mixture
from molex_adapt.recipe import Recipe, validate
from molex_adapt.registry import layout, packed
from molex_adapt.registry.checks import PEFT_PREFIX
from molex_adapt.registry.files import Arrays, parse_yaml, require_plain
from molex_adapt.registry.identity import weights_digest
from molex_adapt.registry.records import PUBLISHED, GenerationRecord
from molex_adapt.registry.store import Store
from molex_adapt.witnesses import names_of


def open_base(store: Store) -> Base:
    """The registry's base; RegistryError where it cannot be loaded, or has other weights than are recorded."""
    record = store.base
    folder = store.base_folder
    for path in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []:
        require_plain(path, store.path)
    base = load_base(record.id, record.revision) if folder is None else _load_embedded(folder)
    if base.identity.sha256 != record.sha256:
        raise RegistryError(
            f"base {base.identity} is not the one this registry was made for, {record}. "
            "Restore its files, or start a registry on this base with molex-adapt init."
        )
    base.identity = BaseIdentity(record.id, record.revision, record.sha256)
    return base


def _load_embedded(folder: Path) -> Base:
    try:
        return load_base(folder)
    except RegistryError as error:
        raise RegistryError(f"{error}. It came with the registry: restore {folder} from a copy.") from None


@contextmanager
def embeddable(folder: Path, base: Base) -> Iterator[Path]:
    """A folder whose files hold exactly the weights of `base`, for `Store.create` to copy.

    That is the folder it was loaded from, or, where its checkpoint has other names or further weights (a pretraining
    head, say), a temporary one with the base written anew.
    """
    if weights_digest(folder) == base.identity.sha256:
        yield folder
        return
    with TemporaryDirectory() as made:
        base.model.save_pretrained(made)
        for name in ("preprocessor_config.json", "README.md"):
            if (folder / name).is_file():
                shutil.copy(folder / name, made)
        yield Path(made)


def build_detector(
    store: Store,
    generation: int | None = None,
    device: str | torch.device = "cpu",
    base: Base | None = None,
    precision: Precision | None = None,
) -> Detector:
    """The detector of one generation, or of the active one, with its experts attached.

    A base that is given carries one detector at a time. Without a precision the generation's recipe decides.

    Raises:
        RegistryError: no such generation, or a file of it is damaged.
        ExpertError: an expert does not fit the base.
    """
    record = store.generation(generation)
    number = record.number
    folder = layout.generation_folder(store.path, number)
    base = base if base is not None else open_base(store)
    recipe = _read_recipe(store, number, folder / layout.RECIPE)
    router, head = _tensors(store.router_tensors(number)), _tensors(store.head_tensors(number))
    require_router(base, router, folder / layout.ROUTER)
    require_head(base, recipe, head, folder / layout.HEAD)
    calibration = Calibration(record.calibration.scale, record.calibration.offset)
    detector = Detector(base, recipe, calibration, head_for(base, recipe, head))
    rows = [router[f"blocks.{block}.rows"] for block in range(len(detector.mixture.routers))]
    _fill(detector.mixture, store, record, rows)
    for block, module in enumerate(detector.mixture.routers):
        fixed = {part: router[f"blocks.{block}.{part}"] for part in ("centre", "spread")}
        module.load_state_dict(fixed, strict=False)
    detector.head.load_state_dict(head)
    detector.requires_grad_(False).eval().to(device)
    base.compute_in(precision or recipe.precision)
    return detector


def _fill(mixture: Mixture, store: Store, record: GenerationRecord, rows: list[Tensor]) -> None:
    found = packed.load(store.path, record)
    if found is not None and mixture.fits(found.specs, found.tables):
        mixture.adopt(found.specs, found.tables, rows)
        return
    experts = [
        (
            ExpertSpec(expert.name, expert.rank, expert.alpha),
            arrays_to_weights(layout.read_weights(store.path, expert)),
        )
        for expert in store.experts(record.number)
    ]
    mixture.extend(experts, list(zip(*rows, strict=True)))
    packed.keep(store.path, record, mixture)


def expert_arrays(detector: Detector, name: str, dtype: type[np.floating[Any]] = np.float16) -> Arrays:
    """An expert's LoRA matrices under their PEFT names, rounded to `dtype`."""
    weights = detector.mixture.weights(name)
    with np.errstate(over="ignore"):  # the store refuses what became infinite, by name
        return {f"{PEFT_PREFIX}{key}.weight": weight.numpy().astype(dtype) for key, weight in weights.items()}


def arrays_to_weights(arrays: Arrays) -> ExpertWeights:
    """The mixture's names and float32 tensors for matrices under PEFT names."""
    return {
        key.removeprefix(PEFT_PREFIX).removesuffix(".weight"): torch.from_numpy(array.astype(np.float32))
        for key, array in arrays.items()
    }


def router_arrays(detector: Detector) -> Arrays:
    """`blocks.{l}.rows` (E, D + 1), `.centre` (D,), `.spread` (D,), float32."""
    return {
        f"blocks.{block}.{part}": _array(value)
        for block, router in enumerate(detector.mixture.routers)
        for part, value in (("rows", router.rows.table), ("centre", router.centre), ("spread", router.spread))
    }


def head_arrays(detector: Detector) -> Arrays:
    """The head's state: float32, but for names in bytes and bases of the readout in half precision."""
    return {name: _array(value) for name, value in detector.head.state_dict().items()}


def _read_recipe(store: Store, number: int, path: Path) -> Recipe:
    content = parse_yaml((store.recipe(number) or "").encode(), path)
    return validate(Recipe, content, str(path), stored=True)


def require_router(base: Base, router: Mapping[str, Any], path: Path) -> None:
    """Refuse, by a RegistryError, a router of other blocks or another width; the shapes alone count."""
    blocks, width = len(router) // 3, len(router["blocks.0.centre"])
    if (blocks, width) != (len(base.blocks), base.width):
        raise RegistryError(
            f"{path} routes {blocks} blocks of width {width}; base {base.identity} has {len(base.blocks)} "
            f"of width {base.width}. Restore the file from a copy, or roll back."
        )


def require_head(base: Base, recipe: Recipe, state: Mapping[str, Any], path: Path) -> None:
    """Refuse a head of another structure than base and recipe need; as `require_router`."""
    # Shapes alone: a recipe that asks for a gigantic head is refused before any memory is taken.
    with torch.device("meta"):
        head = head_for(base, recipe, state)
    if head.readout is not None:
        own = {name.removeprefix("readout."): value for name, value in state.items()}
        head.readout.make_room(own)
        names = names_of(np.asarray(own.get("names", np.zeros(0, np.uint8))))
        # Of a stored scalar there is no length.
        weights, scales = (len(np.atleast_1d(own.get(part, ()))) for part in ("weights", "scales"))
        if not len(names) == weights == scales:
            raise RegistryError(
                f"{path}: {len(names)} names and {scales} scales for {weights} witnesses of the readout. Restore "
                f"{path.name} from a copy, or roll back."
            )
    expected = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise RegistryError(
                f"{path}: {name} has shape {found.get(name)}; this generation's recipe and base need "
                f"{expected.get(name)}. Restore {path.name} and {layout.RECIPE} from one copy, or roll back."
            )


def published_detector(store: Store, recipe: Recipe) -> Detector:
    """The published detector that generation 0 is, for a first training under a recipe that decides all but its head.

    It has a readout that has learnt nothing where the recipe asks for one.
    """
    base, state = open_base(store), _tensors(store.head_tensors(PUBLISHED))
    path = layout.generation_folder(store.path, PUBLISHED) / layout.HEAD
    bare = recipe.model_copy(update={"head": recipe.head.model_copy(update={"readout": False})})
    require_head(base, bare, state, path)
    head = head_for(base, recipe, state)
    head.load_state_dict(state, strict=False)  # a readout is not among what is stored
    return Detector(base, recipe, head=head)


def _tensors(arrays: Arrays) -> dict[str, Tensor]:
    kept = (np.uint8, np.float16)
    return {
        name: torch.from_numpy(array.copy() if array.dtype in kept else array.astype(np.float32))
        for name, array in arrays.items()
    }


def _array(value: Tensor) -> np.ndarray[Any, Any]:
    kept = value.dtype in (torch.uint8, torch.float16)
    return (value if kept else value.float()).detach().cpu().numpy().copy()
