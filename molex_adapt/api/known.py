"""What is known of the domains that a generation already has."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from molex_adapt.analysis import analyse_recalled
from molex_adapt.detector import Detector
from molex_adapt.errors import RegistryError
from molex_adapt.features import concatenate
from molex_adapt.registry import Store
from molex_adapt.registry.domains import arrivals, trained_together
from molex_adapt.registry.exemplars import arrays_to_features, arrays_to_remembered
from molex_adapt.registry.files import Arrays
from molex_adapt.reports import Analysis
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.old import OldDomain


def old_domains(store: Store, generation: int) -> dict[str, OldDomain]:
    """What is known of every domain of a generation.

    Experts that were trained together on one domain have one entry, which belongs to none of them alone; a second
    expert that came later, with data of its own, has a second entry.
    """
    found: dict[str, OldDomain] = {}
    risen, came = _risen(store, generation), _came(store, generation)
    kept: dict[Hashable, str] = {}
    for record in store.experts(generation):
        together = trained_together(record, came)
        if together in kept:
            key = kept[together]
            found[key] = replace(found[key], expert=None)
            continue
        key = record.domain if record.domain not in found else f"{record.domain} ({record.name})"
        kept_of_it = store.exemplar_tensors(record.name, generation)
        routing = store.routing_tensors(record.name, generation)
        found[key] = OldDomain(
            record.name,
            read_exemplars(kept_of_it, record.data.attacks),
            None if routing is None else arrays_to_remembered(routing),
            risen=risen.get(record.name, 0.0),
        )
        kept[together] = key
    return found


def _risen(store: Store, generation: int) -> dict[str, float]:
    """By expert, how far its domain's EER lies above its best; of a damaged ancestor records tell nothing."""
    try:
        return store.forgetting(generation).risen
    except RegistryError:
        return {}


def _came(store: Store, generation: int) -> dict[str, int]:
    """In which generation experts came; of a damaged ancestor records tell nothing."""
    try:
        return arrivals(store.ancestry(generation))
    except RegistryError:
        return {}


def analyse_known(detector: Detector, known: Mapping[str, OldDomain]) -> Analysis | None:
    """Which experts fire for domains, on the exemplars kept of each, or else by its routing statistics.

    None where neither is kept of any.
    """
    checks = {key: item.exemplars.check for key, item in known.items() if item.exemplars is not None}
    sets = {key: features for key, features in checks.items() if len(features)}
    remembered = {
        key: item.remembered for key, item in known.items() if key not in sets and item.remembered is not None
    }
    if not sets and not remembered:
        return None
    return analyse_recalled(detector, concatenate(list(sets.values())), remembered)


def read_exemplars(arrays: Arrays | None, attacks: Sequence[str]) -> Exemplars | None:
    """Exemplars from an expert's file; None where it keeps no features."""
    replay, check = (arrays_to_features(arrays or {}, part, attacks) for part in ("replay", "check"))
    if arrays is None or replay is None or check is None:
        return None
    return Exemplars(replay, check)
