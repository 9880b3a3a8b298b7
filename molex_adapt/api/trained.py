"""What of a data set the mixture learnt from.

An expert keeps a digest of the decoded audio of every recording that it was trained or chosen on: such a recording is
found again under any name, in any container and beside any others. Experts that were made before that was kept, and
retrained routers, have one digest of their whole data set, over paths, sizes, classes, sources and splits: that very
data set is recognised, also when it was moved, and divided as training divided it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from molex_adapt.data import Table, Utterance, assign_splits
from molex_adapt.errors import DataError
from molex_adapt.recipe import Recipe, validate
from molex_adapt.registry import DataRecord, GenerationRecord, Store
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
    by_recording = _by_recording(store, generation, usable)
    return by_recording or _by_data_set(store, generation, table, usable)


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
            divided = _divided(store, record, known, (table, usable))
            if divided is not None:
                return _of(store, record, parent, divided)
    return None


def _divided(
    store: Store, record: GenerationRecord, known: DataRecord, tables: tuple[Table, ...]
) -> Table | None:
    """The table divided as training did, if its digest is then that of the record."""
    if not sum(known.counts.get("train", {}).values()):
        return None  # a threshold was chosen on it; nothing learnt from it
    text = store.recipe(record.number) or ""
    options = validate(
        Recipe, parse_yaml(text.encode(), Path("recipe.yaml")), "a generation's recipe", stored=True
    ).data
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
    return Trained(
        counts,
        frozenset(item.path for item in train),
        frozenset(item.path for item in divided.select(split="dev")),
    )


def _is_for(item: Utterance, attacks: list[str]) -> bool:
    return item.attack is None or item.attack in attacks
