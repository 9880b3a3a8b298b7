"""From YAML to validated options. Unknown keys are refused, and all faults are reported together."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from molex_adapt.errors import RecipeError
from molex_adapt.plain import dump_yaml, load_yaml
from molex_adapt.recipe.options import FEED_FORWARD, Options, Recipe
from molex_adapt.recipe.retired import RETIRED, unsupported, without_retired
from molex_adapt.text import short, shown

R = TypeVar("R", bound=Options)

_MOST_BYTES = 2**20
_MOST_FAULTS = 20


def load(kind: type[R], path: Path | str | None = None, overrides: list[str] | None = None) -> R:
    """Read a recipe file, or the defaults, apply `key.path=value` overrides with values as YAML, validate.

    Raises:
        RecipeError: unreadable file, broken YAML, unknown keys or bad values (all of them in one message).
    """
    content = _overridden(_read_yaml(Path(path)) if path is not None else {}, overrides)
    return validate(kind, content, str(path) if path is not None else "recipe")


def with_overrides(recipe: R, overrides: list[str] | None) -> R:
    """A recipe with `key.path=value` overrides, as for `load`."""
    return validate(type(recipe), _overridden(recipe.model_dump(mode="json"), overrides), "recipe")


def validate(kind: type[R], content: Any, where: str, *, stored: bool = False) -> R:
    """Validate parsed YAML; `where` names its origin in messages.

    What is `stored` is a registry's own: options that are gone since are passed over in it, or taken from their old
    places.

    Raises:
        RecipeError: unknown keys or bad values (all of them in one message), or a stored structure that this version
            cannot build.
    """
    if stored:
        if (reason := unsupported(content)) is not None:
            raise RecipeError(f"{where}: {reason}")
        content = without_retired(content)
    if not isinstance(content, dict):
        raise RecipeError(f"{where}: expected a mapping of options, found {type(content).__name__}. Mend it")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        found = error.errors()
        faults = "\n".join(f"  {_describe(kind, fault)}" for fault in found[:_MOST_FAULTS])
        faults += f"\n  and {len(found) - _MOST_FAULTS} more" if len(found) > _MOST_FAULTS else ""
        raise RecipeError(f"{where}: {error.error_count()} wrong option(s):\n{faults}") from None


def parse_overrides(overrides: list[str] | None) -> dict[str, Any]:
    """`key.path=value` texts to the nested values they stand for, parsed as YAML; RecipeError for other forms."""
    return _overridden({}, overrides)


def with_structure_of(
    active: Recipe, given: Recipe, feed_forwards: Collection[tuple[str, ...]] = ()
) -> Recipe:
    """The given recipe on the structure of an existing mixture; RecipeError where it states another.

    Adapted layers, routing, head, readout and window are what the mixture was built with; the rank of a new expert is
    free. `feed_forwards` are the targets that the default ones may stand for.
    """
    fixed = (
        ("lora", ("targets",)),
        ("router", ("routing", "top_k")),
        ("head", ("width", "readout")),
        ("data", ("window_seconds",)),
    )
    updates, conflicts = {}, []
    for section, keys in fixed:
        here, there = getattr(given, section), getattr(active, section)
        conflicts += [
            f"  {section}.{key} = {getattr(here, key)!r}; the mixture has {getattr(there, key)!r}"
            for key in keys
            if section in given.model_fields_set
            and key in here.model_fields_set
            and not _says(getattr(here, key), getattr(there, key), feed_forwards)
        ]
        # An option that the recipe does not state is a default and no wish: the mixture's value replaces it silently.
        updates[section] = here.model_copy(update={key: getattr(there, key) for key in keys})
    if conflicts:
        raise RecipeError(
            "the recipe asks for another structure than this registry's mixture was built with:\n"
            + "\n".join(conflicts)
            + "\nLeave these options out, or start another registry with molex-adapt init"
        )
    return given.model_copy(update=updates)


def _says(wish: object, own: object, feed_forwards: Collection[tuple[str, ...]]) -> bool:
    """Whether an option means what the mixture has; the default targets mean the feed-forward by the base's names."""
    return wish == own or (wish == FEED_FORWARD and own in feed_forwards)


def dump(recipe: Options) -> str:
    """The recipe as YAML with all of its options. Reading it gives an equal recipe."""
    return dump_yaml(recipe.model_dump(mode="json"))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise RecipeError(
                f"recipe {path} is larger than {_MOST_BYTES} bytes; give the path of a YAML file"
            )
        content = load_yaml(text.decode("utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"recipe {path} does not exist; give the path of a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path} cannot be read: {error}. Give the path of a YAML file") from None
    except ValueError as error:
        raise RecipeError(f"recipe {path} is not valid YAML: {error}\nMend it there") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RecipeError(
            f"recipe {path}: expected a mapping of options, found {type(content).__name__}. Mend it"
        )
    return content


def _overridden(content: dict[str, Any], overrides: list[str] | None) -> dict[str, Any]:
    for override in overrides or []:
        _apply_override(content, override)
    return content


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    said = shown(override)
    if not equals or not key:
        raise RecipeError(f"override {said} must read key.path=value, e.g. --set lora.rank=4")
    *parents, last = key.strip().split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise RecipeError(f"override {said}: {shown(parent)} is a value, not a section")
    try:
        content[last] = load_yaml(value)
    except ValueError as error:
        raise RecipeError(f"override {said}: the value is not valid YAML: {error}") from None


def _describe(kind: type[Options], fault: Any) -> str:
    path = ".".join(shown(part).strip("'") for part in fault["loc"]) or "(recipe)"
    value = shown(fault["input"])
    if fault["type"] != "extra_forbidden":
        return f"{path} = {value}: {short(fault['msg'], 300)}"
    if path in RETIRED:
        return f"{path} = {value}: this option is gone, leave it out; {RETIRED[path]}"
    known = _keys(kind, fault["loc"][:-1])
    near = difflib.get_close_matches(short(fault["loc"][-1], 100), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return f"{path} = {value}: unknown option; {hint}"


def _keys(kind: type[Options], location: tuple[Any, ...]) -> list[str]:
    for part in location:
        field = kind.model_fields.get(str(part))
        annotation = field.annotation if field is not None else None
        if not (isinstance(annotation, type) and issubclass(annotation, Options)):
            return []
        kind = annotation
    return list(kind.model_fields)
