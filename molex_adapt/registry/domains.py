"""Which domain a figure in a generation's metrics is about.

A domain goes by its name there. Experts that came to it later, with data of their own, go by "domain (expert)"; but
while `add-expert` adds one, the new one has the bare name and the old one is "domain (expert)" or "domain (known)".
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping

from molex_adapt.registry.records import ExpertRecord, GenerationRecord

Experts = Mapping[str, ExpertRecord]


def arrivals(records: Iterable[GenerationRecord]) -> dict[str, int]:
    """Experts to the first generation that has them."""
    found: dict[str, int] = {}
    for record in sorted(records, key=lambda record: record.number):
        for name in record.names:
            found.setdefault(name, record.number)
    return found


def labels(experts: Experts, came: Mapping[str, int]) -> dict[str, str]:
    """Experts to what their domain is called throughout, oldest first; those trained together on one share it.

    `came` says of all that are asked for in which generation they came, in the order of the routers.
    """
    found: dict[str, str] = {}
    called: dict[Hashable, str] = {}
    for name in came:
        domain = experts[name].domain
        label = f"{domain} ({name})" if domain in called.values() else domain
        found[name] = called.setdefault(trained_together(experts[name], came), label)
    return found


def trained(record: GenerationRecord, parent: GenerationRecord | None, experts: Experts) -> set[str]:
    """The experts that were trained for this generation, not pulled; none where its parent is gone."""
    if record.origin is not None or (parent is None and record.parent is not None):
        return set()
    old = [] if parent is None else parent.names
    return {name for name in record.names if name not in old and experts[name].origin is None}


def owners(
    record: GenerationRecord, new: Collection[str], experts: Experts, came: Mapping[str, int]
) -> dict[str, str]:
    """Keys that the generation's metrics may have to the expert that each is about; `new` were trained for it."""
    firsts: dict[Hashable, str] = {}
    for name in record.names:
        firsts.setdefault(trained_together(experts[name], came), name)
    by_domain: dict[str, list[str]] = {}
    for name in firsts.values():
        by_domain.setdefault(experts[name].domain, []).append(name)
    found: dict[str, str] = {}
    for domain, names in by_domain.items():
        first, newest = names[0], names[-1]
        found |= {f"{domain} ({name})": name for name in names[1:]} | {domain: first}
        apart = (f"{domain} ({first})", f"{domain} (known)")
        if len(names) > 1 and (newest in new or any(key in record.metrics for key in apart)):
            found |= dict.fromkeys(apart, first) | {domain: newest}
    return found


def trained_together(expert: ExpertRecord, came: Mapping[str, int]) -> Hashable:
    """What experts that were trained together on one domain have in common, and no others.

    They came in one generation, as `arrivals` says; others may have learnt later from the same recordings, by the same
    seed. The exemplars alone do not say it: of those that came without, none is known.
    """
    return expert.domain, expert.exemplars_sha256, expert.data.digest, expert.seed, came.get(expert.name)
