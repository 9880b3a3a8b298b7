"""What a new generation is made of, and how its files are laid out."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molex_adapt.digest import sha256
from molex_adapt.errors import ExpertError, RegistryError
from molex_adapt.plain import for_yaml
from molex_adapt.registry import checks, files
from molex_adapt.registry.cards import expert_card
from molex_adapt.registry.files import Arrays
from molex_adapt.registry.layout import (
    ADAPTER,
    ADAPTER_CONFIG,
    CARD,
    EXEMPLARS,
    EXPERT,
    GENERATION,
    HEAD,
    RECIPE,
    ROUTER,
    ROUTING,
    SUMMARIES,
)
from molex_adapt.registry.records import (
    CalibrationRecord,
    DataRecord,
    ExpertEntry,
    ExpertRecord,
    ExpertSummary,
    GenerationRecord,
    OriginRecord,
    UnheardRecord,
    package_versions,
)
from molex_adapt.text import short


@dataclass(frozen=True)
class NewExpert:
    """An expert to be written; the store fills the hashes into its record.

    `weights` are its LoRA matrices under their PEFT names, written as given; `exemplars` are `replay.*`, `check.*` and
    `heard.*`, and `routing` is what routers read of its domain; None where nothing may be kept.
    """

    record: ExpertRecord
    weights: Arrays
    exemplars: Arrays | None = None
    routing: Arrays | None = None


@dataclass(frozen=True)
class GenerationDraft:
    """A generation to be written.

    Attributes:
        parent: the generation it was made from, which must still be the active one; None for the first.
        experts: names in router order, old and new.
        new_experts: those of them that are not in the registry yet.
        router: `blocks.{l}.rows` (E, D + 1), `.centre` (D,), `.spread` (D,), float32.
        calibration: (scale, offset).
        threshold, unheard: in nats, and what it refuses of voices that it was not chosen on, if that was measured.
        recipe: the resolved recipe as YAML; its structure is the generation's.
        command: what the user typed.
        seed, data, machine: what training was decided by besides the recipe; see the record.
        metrics, changes: by domain, figures and what changed against the parent on the same recordings.
        profile: routing shares.
        origin: where the whole mixture was pulled from; None for one made here.
        raised: as in the record, of a mixture that was pulled whole; None where the parent tells.
    """

    parent: int | None
    experts: list[str]
    router: Arrays
    head: Arrays
    recipe: str
    calibration: tuple[float, float] = (1.0, 0.0)
    threshold: float = 0.0
    unheard: UnheardRecord | None = None
    new_experts: list[NewExpert] = field(default_factory=list)
    command: str = ""
    seed: int | None = None
    data: list[DataRecord] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    origin: OriginRecord | None = None
    raised: Mapping[str, float] | None = None

    def check(self) -> None:
        """Everything that can be known without the disk; RegistryError or ExpertError where it does not fit."""
        new = [item.record.name for item in self.new_experts]
        if len(set(self.experts)) != len(self.experts) or len(set(new)) != len(new):
            raise RegistryError(f"an expert is named twice in {self.experts}, new {new}; name each once")
        if not set(new) <= set(self.experts):
            raise RegistryError(
                f"new experts {new} are not all among the generation's experts {self.experts}"
            )
        files.parse_yaml(self.recipe.encode(), Path(RECIPE))
        checks.check_router(self.router, len(self.experts), "new generation")
        checks.check_head(self.head, "new generation")
        for item in self.new_experts:
            checks.check_expert(item.record, item.weights, f"new expert {item.record.name!r}")
            if item.exemplars is not None:
                checks.check_exemplars(item.exemplars, f"exemplars of {item.record.name!r}")
            if item.routing is not None:
                checks.check_routing(item.routing, f"routing statistics of {item.record.name!r}")


def expert_files(new: NewExpert) -> tuple[ExpertRecord, dict[str, bytes]]:
    """The record with its hashes, and every file of the expert's folder."""
    weights = files.dump_tensors(new.weights)
    kept = {
        name: files.dump_tensors(arrays)
        for name, arrays in ((EXEMPLARS, new.exemplars), (ROUTING, new.routing))
        if arrays is not None
    }
    digests = {name: sha256(body) for name, body in kept.items()}
    record = new.record.model_copy(
        update={
            "metrics": for_yaml(new.record.metrics),
            "weights_sha256": sha256(weights),
            "exemplars_sha256": digests.get(EXEMPLARS),
            "routing_sha256": digests.get(ROUTING),
        }
    )
    content = {ADAPTER_CONFIG: adapter_config(record), ADAPTER: weights, EXPERT: files.dump_record(record)}
    return record, content | kept | {CARD: expert_card(record).encode()}


def adapter_config(record: ExpertRecord) -> bytes:
    """A stock PEFT LoraConfig."""
    alpha = int(record.alpha) if record.alpha == int(record.alpha) else record.alpha
    content = {
        "peft_type": "LORA",
        "task_type": None,  # PEFT's feature extraction wrapper passes input_ids, which speech models do not take
        "base_model_name_or_path": record.base.id,
        "revision": None if record.base.embedded else record.base.revision,
        "r": record.rank,
        "lora_alpha": alpha,
        "target_modules": list(record.targets),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    return (json.dumps(content, indent=2) + "\n").encode()


def check_adapter_config(record: ExpertRecord, found: Mapping[str, Any], where: str) -> None:
    """Refuse, by an ExpertError, what would make PEFT compute something else than we do."""
    expected = json.loads(adapter_config(record))
    for key in ("peft_type", "r", "lora_alpha", "target_modules"):
        if found.get(key) != expected[key]:
            raise ExpertError(
                f"{where} says {key} = {short(found.get(key), 100)}; {EXPERT} says {expected[key]}: PEFT would load "
                f"another adapter than molex-adapt. {files.RESTORE}"
            )


def generation_files(
    draft: GenerationDraft,
    number: int,
    experts: list[ExpertRecord],
    raised: Mapping[str, float] | None = None,
    pulled: Collection[str] = (),
) -> tuple[GenerationRecord, dict[str, bytes]]:
    """The record, and every file of the generation's folder.

    Args:
        draft, number: what is to be written.
        experts: in router order, with their hashes.
        raised: as in the record.
        pulled: those of which the parent says that they were.
    """
    content = {
        SUMMARIES: summaries(experts),
        RECIPE: draft.recipe.encode(),
        ROUTER: files.dump_tensors(draft.router),
        HEAD: files.dump_tensors(draft.head),
    }
    scale, offset = draft.calibration
    record = GenerationRecord(
        number=number,
        parent=draft.parent,
        command=draft.command,
        seed=draft.seed,
        data=list(draft.data),
        machine=dict(draft.machine),
        versions=package_versions(),
        experts=[ExpertEntry(name=item.name, sha256=str(item.weights_sha256)) for item in experts],
        calibration=CalibrationRecord(scale=float(scale), offset=float(offset)),
        threshold=float(draft.threshold),
        raised=None if raised is None else dict(raised),
        unheard=draft.unheard,
        withdrawn=_withdrawn(draft),
        pulled=[item.name for item in experts if draft.origin or item.origin or item.name in pulled],
        metrics=for_yaml(draft.metrics),
        changes=for_yaml(draft.changes),
        profile=for_yaml(draft.profile),
        remarks=[str(remark) for remark in draft.remarks],
        origin=draft.origin,
        files={name: sha256(body) for name, body in content.items()},
    )
    return record, content | {GENERATION: files.dump_record(record)}


def _withdrawn(draft: GenerationDraft) -> list[str]:
    from molex_adapt.registry.withdrawn import closed

    rows = draft.router["blocks.0.rows"]
    return [name for name, shut in zip(draft.experts, closed(rows), strict=True) if shut]


def summaries(experts: list[ExpertRecord]) -> bytes:
    """A generation's experts.json: a line per expert, in router order."""
    lines = [ExpertSummary.of(record).model_dump_json() for record in experts]
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()
