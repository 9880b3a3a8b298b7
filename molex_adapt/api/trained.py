"""What of a data set the mixture learnt from.

An expert keeps a digest of the decoded audio of every recording that it was trained or chosen on: such a recording is
found again under any name, in any container and beside any others. Experts that were made before that was kept, and
retrained routers, have one digest of their whole data set, over paths, sizes, classes, sources and splits: that very
data set is recognised, also when it was moved, and divided as training divided it. So it is with experts that were
pulled without these digests, by what their own records say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from molex_adapt.data import Table, Utterance, assign_splits
from molex_adapt.errors import DataError, MolexError
from molex_adapt.recipe import Recipe, validate
from molex_adapt.registry import DataRecord, ExpertRecord, GenerationRecord, Store
from molex_adapt.registry.exemplars import HEARD, arrays_to_heard
from molex_adapt.registry.files import parse_yaml


@dataclass(frozen=True)
class Trained:
    """What of a table the mixture learnt from."""

    by_expert: dict[str, int]
    """How many of its recordings each expert was trained on."""
    heard: frozenset[Path]
    """Those of the train split."""
    chosen_on: frozenset[Path]
    """Those of the development split, on which training stopped and scores were calibrated."""


def find_trained(store: Store, generation: int, table: Table, usable: Table) -> Trained | None:
    """What of a table a generation or its ancestors were trained on; None where they heard nothing of it.

    Args:
        store, generation: the registry and its generation.
        table: as it was read.
        usable: those of it that were scored, as training's audit left others out, too; with their `audio`.
    """
    found = _by_recording(store, generation, usable) or _by_data_set(store, generation, table, usable)
    parts = [found, *_by_own_data(store, generation, (table, usable))]
    return _together([part for part in parts if part is not None])


def pulled_in_silence(store: Store, generation: int) -> list[str]:
    """Experts from elsewhere that do not say which recordings they heard."""
    whole = {
        name for record in store.ancestry(generation) if record.origin is not None for name in record.names
    }
    silent = _silent(store, generation)
    return [record.name for record in silent if record.origin is not None or record.name in whole]


def _silent(store: Store, generation: int) -> list[ExpertRecord]:
    kept = ((record, store.exemplar_tensors(record.name, generation)) for record in store.experts(generation))
    return [record for record, arrays in kept if not arrays_to_heard(arrays or {}, HEARD[0])]


def _by_own_data(store: Store, generation: int, tables: tuple[Table, ...]) -> Iterator[Trained]:
    for expert in _silent(store, generation):
        try:
            divided = _divided(expert.recipe, expert.data, tables)
        except MolexError:  # a stranger's recipe may be of another version
            continue
        if divided is not None:
            train = divided.select(split="train")
            count = sum(_is_for(item, expert.data.attacks) for item in train)
            yield Trained({expert.name: count}, *_heard(divided))


def _together(parts: Sequence[Trained]) -> Trained | None:
    """Where two parts say what an expert heard, the first is right: it is of the recordings themselves."""
    if not parts:
        return None
    by_expert: dict[str, int] = {}
    for part in parts:
        by_expert = {**part.by_expert, **by_expert}
    return Trained(
        by_expert,
        frozenset().union(*(part.heard for part in parts)),
        frozenset().union(*(part.chosen_on for part in parts)),
    )


def _by_recording(store: Store, generation: int, usable: Table) -> Trained | None:
    kept = {
        record.name: store.exemplar_tensors(record.name, generation) or {}
        for record in store.experts(generation)
    }
    trained_on, chosen_on = (
        {name: heard for name, arrays in kept.items() if (heard := arrays_to_heard(arrays, split))}
        for split in HEARD
    )
    if not trained_on:
        return None
    audio = {item.path: item.audio for item in usable}
    by_expert = {name: sum(own in heard for own in audio.values()) for name, heard in trained_on.items()}
    every, chosen = (frozenset().union(*sets.values()) for sets in (trained_on, chosen_on))
    found = Trained(
        {name: count for name, count in by_expert.items() if count},
        frozenset(path for path, own in audio.items() if own in every),
        frozenset(path for path, own in audio.items() if own in chosen),
    )
    return found if found.heard | found.chosen_on else None


def _by_data_set(store: Store, generation: int, table: Table, usable: Table) -> Trained | None:
    chain = list(store.ancestry(generation))
    for record, parent in zip(chain, [*chain[1:], None], strict=True):
        for known in record.data:
            divided = _divided(store.recipe(record.number) or "", known, (table, usable))
            if divided is not None:
                return _of(store, record, parent, divided)
    return None


def _divided(text: str, known: DataRecord, tables: tuple[Table, ...]) -> Table | None:
    """The table divided as training did by that recipe, if its digest is then that of the record."""
    if not sum(known.counts.get("train", {}).values()):
        return None  # a threshold was chosen on it; nothing learnt from it
    options = validate(Recipe, parse_yaml(text.encode(), Path("recipe.yaml")), "its recipe", stored=True).data
    for table in tables:
        if len(table) != sum(sum(counts.values()) for counts in known.counts.values()):
            continue
        try:
            divided = assign_splits(table, fractions=options.fractions, by=options.split_by)
        except DataError:
            continue
        if divided.digest() == known.digest:
            return divided
    return None


def _of(store: Store, record: GenerationRecord, parent: GenerationRecord | None, divided: Table) -> Trained:
    before = [] if parent is None else parent.names
    train = divided.select(split="train")
    counts = {
        name: sum(_is_for(item, store.expert(name, record.number).data.attacks) for item in train)
        for name in record.names
        if name not in before
    }
    return Trained(counts, *_heard(divided))


def _heard(divided: Table) -> tuple[frozenset[Path], frozenset[Path]]:
    """Of the train split, and of the development split."""
    train, chosen = (frozenset(item.path for item in divided.select(split=name)) for name in ("train", "dev"))
    return train, chosen


def _is_for(item: Utterance, attacks: list[str]) -> bool:
    return item.attack is None or item.attack in attacks
