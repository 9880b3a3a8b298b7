"""Where the recipes and the registry that come with the package lie: in a checkout, or inside the wheel."""

from __future__ import annotations

import difflib
from pathlib import Path

from molex_adapt.errors import RecipeError, RegistryError

_PACKAGE = Path(__file__).resolve().parent
_WHEEL = _PACKAGE / "_shipped"
_CHECKOUT = _PACKAGE.parent


def recipe_path(name: str) -> Path:
    """The file of a shipped recipe, by its name below the recipes folder, with or without `.yaml`.

    Raises:
        RecipeError: there is no such recipe; the message lists those there are.
    """
    folder = _folder("recipes")
    path = folder / (name if name.endswith(".yaml") else f"{name}.yaml") if folder is not None else None
    if path is not None and path.is_file():
        return path
    known = recipe_names()
    near = difflib.get_close_matches(name.removesuffix(".yaml"), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(known) or "none: the installation is incomplete, install molex-adapt again"
    raise RecipeError(f"There is no shipped recipe {name!r}. Shipped recipes: {listed}.{hint}")


def recipe_names() -> list[str]:
    """Names of the shipped recipes, sorted."""
    folder = _folder("recipes")
    if folder is None:
        return []
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def registry_path() -> Path:
    """The shipped registry: the embedded base and its experts. Read it; work on a copy.

    Raises:
        RegistryError: this installation has none.
    """
    folder = _folder("registry")
    if folder is not None and (folder / "registry.yaml").is_file():
        return folder
    raise RegistryError(
        f"This installation of molex-adapt has no shipped registry (looked in {_WHEEL / 'registry'} and "
        f"{_CHECKOUT / 'registry'}). Expected one with the embedded base. Install the package again, or start "
        "from a base of your own: molex-adapt init MODEL_ID"
    )


def _folder(name: str) -> Path | None:
    """Inside the wheel, else at the top of a checkout, which pyproject.toml tells from a mere neighbour."""
    if (_WHEEL / name).is_dir():
        return _WHEEL / name
    if (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / name).is_dir():
        return _CHECKOUT / name
    return None
