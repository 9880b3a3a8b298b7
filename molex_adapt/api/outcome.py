"""From a finished stage to a generation on disk, and to the report of it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from molex_adapt.api.known import analyse_known
from molex_adapt.api.profile import profile_of
from molex_adapt.api.training import Owners, Training
from molex_adapt.conventions import SPLITS
from molex_adapt.detector import Detector
from molex_adapt.processes import from_first
from molex_adapt.recipe import Recipe, dump
from molex_adapt.registry import DataRecord, ExpertRecord, GenerationDraft, NewExpert
from molex_adapt.registry.assemble import expert_arrays, head_arrays, router_arrays
from molex_adapt.registry.exemplars import features_to_arrays, heard_to_arrays, remembered_to_arrays
from molex_adapt.registry.files import Arrays
from molex_adapt.reports import StageReport
from molex_adapt.train.acceptance import still_accepted, unknown
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.judgement import Adapted
from molex_adapt.train.old import OldDomain
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.remembering import remember
from molex_adapt.witnesses import speech_arrays

_PROFILED = 64
"""Recordings of each class of a new domain's test split."""


def routing_profile(detector: Detector, known: Mapping[str, OldDomain]) -> dict[str, Any]:
    """How domains are routed, by what is kept of them; empty where that is nothing."""
    found = analyse_known(detector, known)
    return {} if found is None else profile_of(found)


def write_generation(
    training: Training, result: Adapted, owners: Owners, accept: bool = False
) -> StageReport:
    """Write the new generation, from the detector as the stages left it; active if it was accepted, or by `accept`.

    Of several processes, whose detectors are the same, the first writes.

    Raises:
        RegistryError: another writer was first, or the disk failed.
    """
    detector, recipe, run = training.detector, training.recipe, training.run
    remarks = [line for item in training.data for line in item.remarks] + training.remarks + result.remarks
    remarks += result.told
    remarks += [
        line for domain, _ in owners.values() for line in still_accepted(result.changes, result.after, domain)
    ]
    new = [domain for domain, _ in owners.values()]
    more = "--check DATA measures on more recordings" if new else "give more recordings of them as DATA"
    remarks += unknown(result.changes, result.after, new, recipe.gate, result.refused, more)
    # Experts that share a domain remember the same of it.
    remembered = {
        id(data): remembered_to_arrays(remember(detector, data.train, recipe.data.crop_seconds))
        for data in {id(data): data for _, data in owners.values()}.values()
    }
    head = head_arrays(detector)
    draft = GenerationDraft(
        parent=None if training.active is None else training.active.number,
        experts=detector.mixture.names,
        router=router_arrays(detector),
        head=head,
        recipe=dump(recipe),
        calibration=(detector.calibration.scale, detector.calibration.offset),
        threshold=result.threshold,
        new_experts=[
            NewExpert(
                _record(training, name, domain, data, result),
                expert_arrays(detector, name),
                _exemplar_arrays(result.exemplars[name], data, recipe),
                remembered[id(data)] | _speech_arrays(head, result.speech.get(name)),
            )
            for name, (domain, data) in owners.items()
        ],
        command=run.command,
        seed=run.seed,
        data=[data_record(item, recipe) for item in training.data],
        machine=machine_of(detector, run.micro_batch),
        metrics={domain: rates.as_dict() for domain, rates in result.after.items()},
        changes={domain: change.as_dict() for domain, change in result.changes.items()},
        profile=routing_profile(detector, {**training.old, **_as_known(owners, result)}),
        remarks=[*remarks, *result.refused],
    )
    activated = accept or not result.refused
    number = from_first(lambda: training.store.add_generation(draft, activate=activated))
    return StageReport(
        expert=result.experts[0] if len(result.experts) == 1 else result.experts,
        generation=number,
        activated=activated,
        before=result.before,
        after=result.after,
        change=result.changes,
        real_speech=result.real_speech,
        voices=result.voices,
        withdrawn=result.withdrawn,
        gain=result.gain,
        novel=next((domain for domain, _ in owners.values()), None) if result.before else None,
        tolerance=recipe.gate.tolerance,
        seconds=result.seconds,
        failed=(*(failed for item in training.data for failed in item.failed), *training.failed),
        remarks=remarks,
        refused=result.refused,
        not_measured=result.not_measured,
        training={stage: asdict(fitted) for stage, fitted in result.stages.items()},
    )


def _as_known(owners: Owners, result: Adapted) -> dict[str, OldDomain]:
    """New domains by their exemplars, or as if some of their test split were kept; experts that share one share it."""
    found: dict[str, OldDomain] = {}
    for name, (domain, data) in owners.items():
        if len(result.exemplars[name].check):
            found[domain] = OldDomain(None, result.exemplars[name])
            continue
        rows = [at for real in (True, False) for at in data.test.of_class(real)[:_PROFILED]]
        some = replace(data.test.pick(rows), states=None)
        found[domain] = OldDomain(None, Exemplars(some.pick([]), some))
    return found


def _record(training: Training, name: str, domain: str, data: DomainData, result: Adapted) -> ExpertRecord:
    detector, recipe = training.detector, training.recipe
    spec = detector.mixture.specs[detector.mixture.index(name)]
    rates = result.after.get(domain)
    return ExpertRecord(
        name=name,
        domain=domain,
        rank=spec.rank,
        alpha=spec.alpha,
        targets=list(recipe.lora.targets),
        blocks=len(detector.base.blocks),
        base=training.store.base,
        data=data_record(data, recipe),
        recipe=dump(recipe),
        seed=training.run.seed,
        metrics={domain: rates.as_dict()} if rates is not None else {},
        licence=training.licence,
        machine=machine_of(detector, training.run.micro_batch),
    )


def data_record(data: DomainData, recipe: Recipe) -> DataRecord:
    """What a generation or an expert says of the recordings it learnt from."""
    return DataRecord(
        digest=data.table.digest(),
        counts={split: data.table.select(split=split).counts() for split in SPLITS},
        attacks=data.table.attacks,
        conditions=data.table.conditions(),
        split_by=recipe.data.split_by,
    )


def machine_of(detector: Detector, micro_batch: int | None = None) -> dict[str, str]:
    """What the last digits of a result depend on, besides versions."""
    found = {
        "processor": platform.machine(),
        "device": str(detector.device),
        "precision": str(detector.base.dtype).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
    }
    return found if micro_batch is None else found | {"micro_batch": str(micro_batch)}


def _speech_arrays(head: Arrays, speech: tuple[Tensor, Tensor] | None) -> Arrays:
    return {} if speech is None else speech_arrays(head, [part.numpy() for part in speech])


def _exemplar_arrays(exemplars: Exemplars, data: DomainData, recipe: Recipe) -> Arrays:
    heard = heard_to_arrays(data.table)
    if recipe.exemplars.replay + recipe.exemplars.check == 0:
        return heard
    attacks = data.table.attacks
    return {
        **heard,
        **features_to_arrays(exemplars.replay, "replay", attacks),
        **features_to_arrays(exemplars.check, "check", attacks),
    }
