"""What is known of the domains that a generation already has."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from molex_adapt.analysis import analyse_recalled
from molex_adapt.detector import Detector
from molex_adapt.errors import RegistryError
from molex_adapt.features import concatenate
from molex_adapt.registry import Store
from molex_adapt.registry.domains import trained_together
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
    risen = _risen(store, generation)
    kept: dict[Hashable, str] = {}
    for record in store.experts(generation):
        together = trained_together(record)
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
            risen=risen.get(key, 0.0),
        )
        kept[together] = key
    return found


def _risen(store: Store, generation: int) -> dict[str, float]:
    """By how much each domain's EER lies above its best, as records tell; of a damaged ancestor they tell nothing."""
    try:
        courses = store.forgetting(generation).courses
    except RegistryError:
        return {}
    return {course.domain: course.risen for course in courses}


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
