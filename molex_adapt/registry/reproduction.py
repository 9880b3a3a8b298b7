"""The commands that make an expert again, bit for bit, from what the registry recorded when it was made."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molex_adapt.errors import RegistryError
from molex_adapt.recipe import readable
from molex_adapt.registry import layout
from molex_adapt.registry.records import ExpertRecord, GenerationRecord, package_versions
from molex_adapt.registry.store import Store
from molex_adapt.text import command_line

AGAIN = "again"
"""Name of the registry that the commands make: a copy, brought back to where the expert was not there yet."""

_DATA, _RECIPE = "DATA", "RECIPE.yaml"
_TRAINING = ("train", "add-expert")
_UNTRAINED = "--readout-only"
_FLAGS = ("--json", "--quiet", "-q", "--resume", "--accept", "--allow-failures", "--if-needed", _UNTRAINED)


@dataclass(frozen=True)
class Reproduction:
    """How an expert is made again.

    Attributes:
        generation: the first one that has it.
        commands: shell lines, in order; the last one trains.
        remarks: what has to be as it was, and what is not.
    """

    record: ExpertRecord
    generation: GenerationRecord
    commands: list[str]
    remarks: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        kept = {"data", "machine", "seed", "versions", "recipe", "weights_sha256"}
        return {
            "expert": self.record.name,
            "generation": self.generation.number,
            "parent": self.generation.parent,
            "commands": self.commands,
            "remarks": self.remarks,
            **self.record.model_dump(mode="json", include=kept),
        }


def reproduce(store: Store, name: str, recipe: Path | None = None) -> Reproduction:
    """What to run so that an expert of the active generation is made again.

    `recipe` is a file that holds the expert's recipe; without it, that of the generation it came with.

    Raises:
        ExpertError: there is no such expert.
        RegistryError: the generation it came with is damaged, or was purged.
    """
    record = store.expert(name)
    generation = _first_with(store, record)
    typed = _words(generation.command)
    if "remove" in typed[:2]:  # early registries hold it without "molex-adapt"
        raise RegistryError(
            f"the generation that expert {name!r} came with was purged from {store.path}: the first one that is left "
            f"with it, {generation.number}, was made by `{generation.command}`, which trains nothing. Reproduce it "
            f"from a copy made before the purge; molex-adapt show {name} says what is still on record."
        )
    given = recipe or _recipe_of(store, generation, record)
    if typed and typed[0] != "molex-adapt":
        return Reproduction(record, generation, [generation.command], _remarks(store, record, generation))
    made = _new_in(store, generation)
    # Whatever was typed, such as --if-needed: these weights come out where nothing is trained.
    option = [_UNTRAINED] if all(_is_untrained(store, item, generation) for item in made) else []
    training = _training(record, generation, made, given, typed, option)
    commands = [*_registry_before(store, generation, made), training]
    remarks = _remarks(store, record, generation)
    if given is None:
        remarks.append(f"write the recipe first: molex-adapt reproduce {name} --save-recipe {_RECIPE}")
    if typed[1:2] and typed[1] not in _TRAINING:
        remarks.append(
            f"it came by `{generation.command}`: the mixture that it was trained in is not in this registry, and "
            "without it other weights come out"
        )
    return Reproduction(record, generation, commands, remarks)


def _first_with(store: Store, record: ExpertRecord) -> GenerationRecord:
    for generation in store.history():
        if any(
            (item.name, item.sha256) == (record.name, record.weights_sha256) for item in generation.experts
        ):
            return generation
    raise RegistryError(
        f"no generation of {store.path} names expert {record.name!r}. Run molex-adapt verify."
    )


def _recipe_of(store: Store, generation: GenerationRecord, record: ExpertRecord) -> Path | None:
    if store.recipe(generation.number) != record.recipe or readable(record.recipe)[1]:
        return None
    return layout.generation_folder(store.path, generation.number) / layout.RECIPE


def _new_in(store: Store, generation: GenerationRecord) -> list[ExpertRecord]:
    """The experts that came with a generation."""
    known = store.record().generations
    old = store.generation(generation.parent).names if generation.parent in known else []
    return [item for item in store.experts(generation.number) if item.name not in old]


def _is_untrained(store: Store, record: ExpertRecord, generation: GenerationRecord) -> bool:
    """Whether an expert changes nothing: its second matrices are zero, as they are drawn."""
    weights = store.expert_weights(record.name, generation.number)
    return not any(array.any() for name, array in weights.items() if "lora_B" in name)


def _registry_before(store: Store, generation: GenerationRecord, made: list[ExpertRecord]) -> list[str]:
    """Lines that make a registry as it was before the expert."""
    place = command_line([str(store.path)])
    if generation.parent is None:
        base = f"{place}/{layout.BASE}" if store.base.embedded else command_line([store.base.id])
        revision = "" if store.base.embedded else f" --revision {command_line([store.base.revision])}"
        return [f"molex-adapt init {base}{revision} --registry {AGAIN}"]
    return [
        f"cp -r {place} {AGAIN}",
        f"molex-adapt rollback {generation.parent} --registry {AGAIN}",
        *(f"molex-adapt remove {item.name} --purge --registry {AGAIN}" for item in made),
    ]


def _training(
    record: ExpertRecord,
    generation: GenerationRecord,
    made: list[ExpertRecord],
    recipe: Path | None,
    typed: list[str],
    option: list[str],
) -> str:
    data, domain = _typed_data(typed), ["--domain", record.domain]
    if len(made) == 1:
        # Whatever acceptance finds: it is the expert's weights that are made again.
        words = ["add-expert", data, *domain, "--name", record.name, "--accept"]
    elif len({item.domain for item in made}) == 1:
        words = ["train", data, *domain, "--experts", str(len(made))]
    else:
        words = ["train", data, "--experts", "per-attack"]
    seed = record.seed if generation.seed is None else generation.seed
    words += [*option, "--seed", str(seed), "--licence", record.licence]
    words += ["--recipe", str(recipe or _RECIPE)]
    if device := record.machine.get("device", "").partition(":")[0]:
        words += ["--device", device]
    if (most := record.machine.get("micro_batch", "")).isdecimal():
        words += ["--micro-batch", most]
    line = command_line(["molex-adapt", *words, "--registry", AGAIN])
    threads = record.machine.get("threads", "")
    return f"OMP_NUM_THREADS={threads} {line}" if threads.isdecimal() else line


def _typed_data(typed: list[str]) -> str:
    """The one positional argument of the command that was typed; a placeholder where there is no such."""
    found, rest = [], typed[2:] if typed[1:2] and typed[1] in _TRAINING else []
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            found.append(word)
        elif word not in _FLAGS and "=" not in word and rest:
            rest.pop(0)
    return found[0] if len(found) == 1 else _DATA


def _remarks(store: Store, record: ExpertRecord, generation: GenerationRecord) -> list[str]:
    counts = [
        sum(split.get(label, 0) for split in record.data.counts.values()) for label in ("bonafide", "spoof")
    ]
    found = [
        f"the data must be what it was: digest {record.data.digest}, {counts[0]} bona fide and {counts[1]} spoof",
        f"{layout.ADAPTER} comes out with sha256 {record.weights_sha256}",
    ]
    if generation.parent is not None and generation.parent not in store.record().generations:
        found.append(
            f"generation {generation.parent}, which it was added to, was purged: the registry cannot be brought back"
        )
    now = package_versions()
    differing = [
        f"{name} {record.versions.get(name, 'unknown')} then, {now.get(name, 'none')} now"
        for name in now
        if record.versions.get(name) != now[name]
    ]
    if differing:
        found.append(f"other versions may round otherwise: {'; '.join(differing)}")
    gone = readable(record.recipe)[1]
    if gone:
        found.append(f"this version has no {', '.join(gone)} any more, and may train otherwise")
    return found


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []
