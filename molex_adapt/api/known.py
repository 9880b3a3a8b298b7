"""What is known of the domains that a generation already has."""

from __future__ import annotations

from molex_adapt.registry import ExpertRecord, Store
from molex_adapt.registry.exemplars import arrays_to_features
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.old import OldDomain
from molex_adapt.train.reads import arrays_to_reads


def old_domains(store: Store, generation: int) -> dict[str, OldDomain]:
    """What is known of every domain of a generation.

    Experts that were trained together on one domain keep the same exemplars and have one entry, which belongs to none
    of them alone; a second expert that came later, with data of its own, has a second entry.
    """
    found: dict[str, OldDomain] = {}
    kept: dict[tuple[str, str | None], str] = {}
    for record in store.experts(generation):
        together = (record.domain, record.exemplars_sha256)
        if together in kept:
            key = kept[together]
            found[key] = OldDomain(None, found[key].exemplars)
            continue
        key = record.domain if record.domain not in found else f"{record.domain} ({record.name})"
        found[key] = OldDomain(record.name, _exemplars(store, record, generation))
        kept[together] = key
    return found


def _exemplars(store: Store, record: ExpertRecord, generation: int) -> Exemplars | None:
    arrays = store.exemplar_tensors(record.name, generation)
    if arrays is None:
        return None
    replay = arrays_to_features(arrays, "replay", record.data.attacks)
    check = arrays_to_features(arrays, "check", record.data.attacks)
    if replay is None or check is None:
        return None
    return Exemplars(replay, check, arrays_to_reads(arrays))
