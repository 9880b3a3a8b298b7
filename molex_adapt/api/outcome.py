"""From a finished stage to a generation on disk, and to the report of it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from molex_adapt.analyze import analyse
from molex_adapt.conventions import SPLITS
from molex_adapt.data import Failed
from molex_adapt.detector import Detector
from molex_adapt.recipe import Recipe, dump
from molex_adapt.registry import DataRecord, ExpertRecord, GenerationDraft, NewExpert, Store
from molex_adapt.registry.assemble import expert_arrays, head_arrays, router_arrays
from molex_adapt.registry.exemplars import arrays_to_features, features_to_arrays
from molex_adapt.registry.files import Arrays
from molex_adapt.reports import StageReport
from molex_adapt.train.adapt import Adapted
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.old import OldDomain
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.reads import arrays_to_reads, reads_to_arrays


@dataclass(frozen=True)
class Origin:
    """What a new generation was made from.

    Attributes:
        parent: the generation that was active when the work began; None for an empty registry.
        old: its domains.
        recipe, seed: as used.
        licence: of the new experts.
        command: what the user typed.
        failed: recordings left out.
        remarks: on the data.
        data: what is trained and measured on.
    """

    parent: int | None
    old: Mapping[str, OldDomain]
    recipe: Recipe
    seed: int
    licence: str = "other"
    command: str = ""
    failed: tuple[Failed, ...] = ()
    remarks: tuple[str, ...] = ()
    data: Sequence[DomainData] = ()


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


def write_generation(
    store: Store,
    detector: Detector,
    result: Adapted,
    owners: Mapping[str, tuple[str, DomainData]],
    origin: Origin,
) -> StageReport:
    """Write the new generation, active unless the gate refused it.

    Args:
        store: the registry.
        detector: as the stages left it.
        result: what stages and gate came to.
        owners: domain and data of each new expert.
        origin: what it all came from.

    Raises:
        RegistryError: another writer was first, or the disk failed.
    """
    remarks = [*origin.remarks, *result.remarks]
    draft = GenerationDraft(
        parent=origin.parent,
        experts=detector.mixture.names,
        router=router_arrays(detector),
        head=head_arrays(detector),
        recipe=dump(origin.recipe),
        calibration=(detector.calibration.scale, detector.calibration.offset),
        threshold=result.threshold,
        new_experts=[
            NewExpert(
                _record(store, detector, name, domain, data, result, origin),
                expert_arrays(detector, name),
                _exemplar_arrays(result.exemplars[name], data, origin.recipe),
            )
            for name, (domain, data) in owners.items()
        ],
        command=origin.command,
        seed=origin.seed,
        data=[_data_record(item, origin.recipe) for item in origin.data],
        machine=_machine(detector),
        metrics={domain: rates.as_dict() for domain, rates in result.after.items()},
        changes={domain: change.as_dict() for domain, change in result.changes.items()},
        profile=_profile(detector, result, origin),
        remarks=[*remarks, *result.refused],
    )
    number = store.add_generation(draft, activate=not result.refused)
    return StageReport(
        expert=result.experts[0] if len(result.experts) == 1 else result.experts,
        generation=number,
        activated=not result.refused,
        before=result.before,
        after=result.after,
        change=result.changes,
        novel=next((domain for domain, _ in owners.values()), None) if result.before else None,
        seconds=result.seconds,
        failed=origin.failed,
        remarks=remarks,
        refused=result.refused,
        not_measured=result.not_measured,
        training={stage: asdict(fitted) for stage, fitted in result.stages.items()},
    )


def _record(
    store: Store,
    detector: Detector,
    name: str,
    domain: str,
    data: DomainData,
    result: Adapted,
    origin: Origin,
) -> ExpertRecord:
    spec = detector.mixture.specs[detector.mixture.index(name)]
    rates = result.after.get(domain)
    return ExpertRecord(
        name=name,
        domain=domain,
        rank=spec.rank,
        alpha=spec.alpha,
        targets=list(origin.recipe.lora.targets),
        blocks=len(detector.base.blocks),
        base=store.base,
        data=_data_record(data, origin.recipe),
        recipe=dump(origin.recipe),
        seed=origin.seed,
        metrics={domain: rates.as_dict()} if rates is not None else {},
        licence=origin.licence,
        machine=_machine(detector),
    )


def _data_record(data: DomainData, recipe: Recipe) -> DataRecord:
    return DataRecord(
        digest=data.table.digest(),
        counts={split: data.table.select(split=split).counts() for split in SPLITS},
        attacks=data.table.attacks,
        split_by=recipe.data.split_by,
    )


def _machine(detector: Detector) -> dict[str, str]:
    return {
        "processor": platform.machine(),
        "device": str(detector.device),
        "precision": str(detector.base.dtype).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
    }


def _exemplar_arrays(exemplars: Exemplars, data: DomainData, recipe: Recipe) -> Arrays | None:
    if recipe.exemplars.replay + recipe.exemplars.check + recipe.exemplars.directions == 0:
        return None
    attacks = data.table.attacks
    return {
        **features_to_arrays(exemplars.replay, "replay", attacks),
        **features_to_arrays(exemplars.check, "check", attacks),
        **reads_to_arrays(exemplars.reads),
    }


def _profile(detector: Detector, result: Adapted, origin: Origin) -> dict[str, dict[str, float]]:
    """Routing shares on the check exemplars, old and new."""
    sets = {key: item.exemplars.check for key, item in origin.old.items() if item.exemplars is not None}
    sets |= {name: item.check for name, item in result.exemplars.items()}
    return analyse(detector, sets).usage
