"""What callers hand over, checked before any work begins: data, names, recipes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from molex_adapt.conventions import BONA_FIDE, NAME_PATTERN, PER_ATTACK, Precision
from molex_adapt.data import Table, Utterance, read
from molex_adapt.data.folder import Found, search
from molex_adapt.data.formats import FORMATS
from molex_adapt.data.manifest import read_unlabelled
from molex_adapt.data.read import names_parts
from molex_adapt.errors import DataError, RecipeError
from molex_adapt.recipe import Recipe, validate, with_structure_of
from molex_adapt.registry import GenerationRecord, Store
from molex_adapt.registry.files import parse_yaml

Data: TypeAlias = Table | Path | str
"""A folder, manifest, protocol, corpus or data set of the Hub by its path or address, or a table."""


def table_of(data: Data) -> Table:
    """The table itself, or what is read from the path."""
    return data if isinstance(data, Table) else read(data)


def several(data: Sequence[Data] | Data) -> Sequence[Data]:
    """What may be one set of data or a list of them, as a list."""
    return [data] if isinstance(data, Table | Path | str) else data


def recordings(inputs: Sequence[Path | str] | Path | str | Table) -> Table:
    """Files, and the audio files of folders, as a table without truth; a table as it is.

    Of a manifest, of a part of a data set (`DIR#eval`) and of one on the Hub, the recordings that it lists; a manifest
    needs no labels here.

    Raises:
        DataError: nothing is there to score.
    """
    if isinstance(inputs, Table):
        return inputs
    named = [inputs] if isinstance(inputs, Path | str) else list(inputs)
    paths: list[Path] = []
    passed: list[Path] = []
    for item in map(Path, named):
        found = _found(item)
        paths += found.audio
        passed += found.others
    if not paths:
        shown = ", ".join(map(str, named)) or "nothing was named"
        raise DataError(f"no recordings to score ({shown}); name audio files, or folders that hold some")
    once = dict.fromkeys(paths)  # a file may be named beside its folder
    return Table(
        tuple(Utterance(path, BONA_FIDE, source=str(path)) for path in once),
        "the command line",
        tuple(map(str, dict.fromkeys(passed))),
    )


def _found(item: Path) -> Found:
    if names_parts(item):
        return Found([utterance.path for utterance in read(item)], [])
    if item.suffix.lower() in FORMATS and item.is_file():
        return Found([utterance.path for utterance in read_unlabelled(item)], [])
    return search(item) if item.is_dir() else Found([item], [])


def check_name(name: str, what: str) -> str:
    """A name that is safe as a file's and a repository's.

    Raises:
        DataError: it is none.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise DataError(
            f"{what} name {name!r} cannot be used; names have 1 to 64 of a-z 0-9 _ . - and start with a letter or "
            "digit. Choose such a name"
        )
    return name


def expert_names(domain: str | None, experts: int | Sequence[str]) -> list[str]:
    """What the experts of a first mixture are called; empty where their data decides.

    `experts` is how many, or their names, or `PER_ATTACK`, with which alone `domain` is None.

    Raises:
        RecipeError: domain and number of experts do not go together.
        DataError: a name cannot be used.
    """
    if experts == PER_ATTACK:
        if domain is not None:
            raise RecipeError(
                f"domain {domain!r} was given for experts per attack, whose domains are the attacks of the data. Leave "
                "the domain out, or say how many experts share it (molex-adapt train --domain NAME --experts N)"
            )
        return []
    if domain is None:
        raise RecipeError(
            f"no domain was given. Name what the experts are for by --domain, or train one for each attack of the "
            f"data: --experts {PER_ATTACK}"
        )
    check_name(domain, "domain")
    if isinstance(experts, int):
        if experts < 1:
            raise RecipeError(f"{experts} experts cannot be trained; ask for 1 or more, or {PER_ATTACK}")
        experts = [domain] if experts == 1 else [f"{domain}-{number + 1}" for number in range(experts)]
    return [check_name(name, "expert") for name in experts]


def recipe_on(
    store: Store, active: GenerationRecord | None, given: Recipe | None, precision: Precision | None = None
) -> Recipe:
    """The given recipe on a generation's structure; the generation's own where none is given.

    Args:
        store, active: the registry and the generation; None for an empty registry.
        given: options of a training.
        precision: to compute in; None for what the recipe says.

    Raises:
        RecipeError: the given recipe asks for another structure.
    """
    recipe = given or Recipe()
    if active is not None:
        text = store.recipe(active.number) or ""
        content = parse_yaml(text.encode(), Path("recipe.yaml"))
        own = validate(Recipe, content, "the active generation's recipe", stored=True)
        if given is None:
            recipe = own
        else:
            recipe = _on_published(own, given) if active.is_published else _on_structure(own, given)
    return recipe if precision is None else recipe.model_copy(update={"precision": precision})


def with_readout(given: Recipe | None) -> Recipe:
    """The given recipe, or the default one, with a readout."""
    recipe = given or Recipe()
    return recipe.model_copy(update={"head": recipe.head.model_copy(update={"readout": True})})


def _on_structure(own: Recipe, given: Recipe) -> Recipe:
    from molex_adapt.base.families import FEED_FORWARDS  # loads torch, which a training needs

    return with_structure_of(own, given, FEED_FORWARDS)


def _on_published(own: Recipe, given: Recipe) -> Recipe:
    """The given recipe, for the first training on a published detector: only its windows are the detector's own."""
    if "data" in given.model_fields_set and "window_seconds" in given.data.model_fields_set:
        return given
    data = given.data.model_copy(update={"window_seconds": own.data.window_seconds})
    return given.model_copy(update={"data": data})
