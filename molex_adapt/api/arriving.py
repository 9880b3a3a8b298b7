"""An expert that arrives from the Hub: into the mixture that is there, or as the first of an empty registry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from molex_adapt.api.fitting import choose_rows, exemplars_of
from molex_adapt.api.heads import about_head, about_witnesses, trained_under
from molex_adapt.api.inputs import recipe_on
from molex_adapt.api.known import old_domains
from molex_adapt.api.outcome import routing_profile
from molex_adapt.api.trying import require_sound
from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector, head_for
from molex_adapt.errors import ExpertError, RecipeError, RegistryError
from molex_adapt.hub.contents import Surroundings
from molex_adapt.hub.pull import FoundExpert
from molex_adapt.hub.router_rows import Rows, is_withdrawn
from molex_adapt.hub.stock import Places, name_from
from molex_adapt.hub.unpack import PulledExpert, refusing
from molex_adapt.mixture import ExpertSpec
from molex_adapt.recipe import Recipe, validate
from molex_adapt.registry import ExpertRecord, GenerationDraft, GenerationRecord, OriginRecord, Store
from molex_adapt.registry.assemble import (
    arrays_to_weights,
    build_detector,
    head_arrays,
    open_base,
    require_head,
    require_router,
    router_arrays,
)
from molex_adapt.registry.checks import check_base
from molex_adapt.registry.draft import expert_files
from molex_adapt.registry.exemplars import arrays_to_remembered
from molex_adapt.registry.files import Arrays, parse_yaml
from molex_adapt.registry.layout import HEAD, RECIPE, ROUTER
from molex_adapt.reports import PullReport
from molex_adapt.run import Run
from molex_adapt.train.adopt import adopt_expert
from molex_adapt.train.old import OldDomain
from molex_adapt.witnesses import of_expert, only_those_of, trained_part, with_those_of

_ROWS = {
    "carried": "its router rows are those it was trained with",
    "aligned": "its router rows are those it was trained with, brought to the level here by {shared} expert(s) that "
    "both mixtures have; rows have been trained since, so molex-adapt retrain-router may improve them",
    "heard": "it comes from another mixture: its router rows were made from what routers read of its domain; "
    "molex-adapt retrain-router improves them",
    "centred": "it comes from another mixture, and brought nothing of its domain: its router rows were brought to the "
    "mean level here, which is a guess; molex-adapt retrain-router DATA improves them",
    "mean": "nothing is known of where it should act: its router rows are the mean of those here; molex-adapt "
    "retrain-router DATA teaches the routers when to choose it",
}
_WITNESSES_STAY = (
    "what the readout knows of its attacks stayed behind: it was learnt from features that the readout here does not "
    "make. Recordings of the domain teach it: molex-adapt add-expert"
)
_OTHERS_STAY = "{count} witness(es) of other experts' attacks stayed behind: they come with these experts"
_NOTHING_ACTS = (
    "no expert acts here and there is no readout: every score is what the head makes of the frozen base, which was "
    "measured by nobody. Pull or train an expert that acts"
)
_FIRST = "the registry was empty: head, routers, calibration and threshold came with the expert"
_ON_PUBLISHED = "the detector was as published: routers, calibration and threshold came with the expert"


@dataclass(frozen=True)
class Arrival:
    """One pull into a registry; see `Registry.pull`."""

    store: Store
    found: FoundExpert
    name: str | None
    assume_base: bool
    run: Run

    def pull(self) -> PullReport:
        """See `Registry.pull`."""
        active = self.store.active
        self._require_new(active)
        if active is None or (active.is_published and self.found.contents is not None):
            return self._begin(active)
        return self._join(active)

    def _require_new(self, active: GenerationRecord | None) -> None:
        found = self.found
        own = found.contents.expert if found.contents is not None else None
        self._require_other(active, own)
        wanted = self.name or (own.name if own is not None else name_from(found.origin.repository))
        if wanted in self.store.taken_names():
            raise RegistryError(
                f"an expert named {wanted!r} is already in registry {self.store.path}, perhaps in a generation that "
                f"is not active. Pull it under another name: --as NAME, or first molex-adapt remove {wanted} --purge "
                f"--registry {self.store.path}"
            )
        if own is not None:
            check_base(own, self.store.base)

    def _require_other(self, active: GenerationRecord | None, sent: ExpertRecord | None) -> None:
        """Refuse what is here already, by its weights and what it learnt, or by the commit that it comes from."""
        origin = self.found.origin
        for here in [] if active is None else self.store.experts(active.number):
            pulled = here.origin
            again = pulled is not None and (pulled.repository, pulled.commit) == (
                origin.repository,
                origin.commit,
            )
            if again or (sent is not None and here.is_the_same(sent)):
                raise RegistryError(
                    f"{origin} is here already: expert {here.name!r} has the same weights. Nothing was changed"
                )

    def _join(self, active: GenerationRecord) -> PullReport:
        """Beside the experts of the active generation, under its head."""
        origin = self.found.origin
        recipe = recipe_on(self.store, active, None)
        detector = build_detector(
            self.store, active.number, self.run.find_device(), precision=self.run.precision
        )
        pulled = self._named(self._fetch(detector))
        self._require_other(active, expert_files(pulled.new)[0])
        _require_targets(pulled, recipe, detector, origin)
        if pulled.router is not None:
            with refusing(str(origin)):
                require_router(detector.base, pulled.router, Path(ROUTER))
        own = self.store.router_tensors(active.number)
        exemplars = exemplars_of(pulled.new, detector, str(origin))
        rows = choose_rows(pulled, exemplars, detector, own, [entry.sha256 for entry in active.experts])
        remarks = [*pulled.remarks, _ROWS[rows.source].format(shared=rows.shared)]
        head, told = self._with_witnesses(pulled, head_arrays(detector))
        remarks += [*about_head(pulled.new.record, head), *told]
        draft = GenerationDraft(
            parent=active.number,
            experts=[],
            router={},
            head=head,
            recipe=self.store.recipe(active.number) or "",
            threshold=active.threshold,
        )
        return self._adopt(pulled, detector, rows, recipe, draft, remarks)

    def _with_witnesses(self, pulled: PulledExpert, head: Arrays) -> tuple[Arrays, list[str]]:
        """The head with what the expert's readout knows of its domain, and remarks."""
        expert = "" if self.found.contents is None else self.found.contents.expert.name
        sent, name = pulled.head or {}, pulled.new.record.name
        count = len(of_expert(sent, expert)) if expert else 0
        if not count:
            return head, about_witnesses(name, head)
        if of_expert(head, name):
            raise RegistryError(
                f"the readout of registry {self.store.path} has witnesses of an expert {name!r} already, which is not "
                "among its experts. Pull it under another name: --as NAME"
            )
        found = with_those_of(head, sent, expert, name, pulled.new.routing)
        if found is None:
            return head, [_WITNESSES_STAY]
        return found, [f"{count} witness(es) of its attacks came along for the readout, to the bit"]

    def _begin(self, active: GenerationRecord | None) -> PullReport:
        """The first expert of an empty registry, with the head it was trained under; or of that published detector."""
        found = self.found
        if found.contents is None:
            raise RegistryError(
                f"{found.origin} is a stock adapter, and registry {self.store.path} has no head and no routers to "
                "take it in. Begin with a mixture: molex-adapt train, molex-adapt add-expert, or pull one that "
                "molex-adapt made"
            )
        pulled = self._named(found.fetch())
        mixture, router = found.contents.mixture, pulled.router or {}
        own = found.contents.expert.name
        head, left = only_those_of(pulled.head or {}, own, pulled.new.record.name, pulled.new.routing)
        if active is not None and not _same(trained_part(head), self.store.head_tensors(active.number)):
            return self._join(active)
        with refusing(str(found.origin)):
            recipe = _recipe(mixture.recipe)
            base = open_base(self.store)
            require_router(base, router, Path(ROUTER))
            require_head(base, recipe, head, Path(HEAD))
            detector = Detector(base, recipe, head=head_for(base, recipe, head))
        _require_targets(pulled, recipe, detector, found.origin)
        _set_up(detector, router, head, mixture)
        detector.to(self.run.find_device())
        base.compute_in(self.run.precision or recipe.precision)
        rows = Rows([router[f"blocks.{block}.rows"][0] for block in range(len(base.blocks))], "carried")
        draft = GenerationDraft(
            parent=None if active is None else active.number,
            experts=[],
            router={},
            head=head,
            recipe=mixture.recipe,
            threshold=mixture.threshold,
        )
        remarks = [*pulled.remarks, _FIRST if active is None else _ON_PUBLISHED]
        remarks += [*about_head(pulled.new.record, head), *about_witnesses(pulled.new.record.name, head)]
        if left:
            remarks.append(_OTHERS_STAY.format(count=left))
        return self._adopt(pulled, detector, rows, recipe, draft, remarks)

    def _fetch(self, detector: Detector) -> PulledExpert:
        found = self.found
        if found.contents is not None:
            return found.fetch()
        layers = detector.mixture.layers
        sizes = {
            target: (layer.linear.in_features, layer.linear.out_features)
            for target, layer in layers[0].items()
        }
        return found.fetch_stock(
            self.name or name_from(found.origin.repository),
            Places(self.store.base, len(layers), sizes),
            assume_base=self.assume_base,
        )

    def _named(self, pulled: PulledExpert) -> PulledExpert:
        sent = pulled.new.record
        update = {
            "name": self.name or sent.name,
            "base": self.store.base,
            "origin": self.found.origin,
            "head_sha256": trained_under(sent, pulled.head),
        }
        record = sent.model_copy(update=update)
        return replace(pulled, new=replace(pulled.new, record=record))

    def _adopt(
        self,
        pulled: PulledExpert,
        detector: Detector,
        rows: Rows,
        recipe: Recipe,
        draft: GenerationDraft,
        remarks: list[str],
    ) -> PullReport:
        record, origin = pulled.new.record, self.found.origin
        old = old_domains(self.store, draft.parent) if draft.parent is not None else {}
        domain = record.domain if record.domain not in old else f"{record.domain} ({record.name})"
        exemplars = exemplars_of(pulled.new, detector, str(origin))
        routing = pulled.new.routing
        arrived = OldDomain(
            record.name, exemplars, None if routing is None else arrays_to_remembered(routing)
        )
        result = adopt_expert(
            detector,
            ExpertSpec(record.name, record.rank, record.alpha),
            arrays_to_weights(pulled.new.weights),
            [torch.from_numpy(row.copy()) for row in rows.values],
            domain,
            exemplars,
            old,
            draft.threshold,
            recipe,
            {key: torch.from_numpy(array) for key, array in draft.head.items()},
            withdrawn=pulled.router is not None and is_withdrawn(pulled.router),
            # An empty registry, or one with a published detector alone, takes the head as well.
            tried=lambda: require_sound(detector, [pulled.new], str(origin), whole=not old),
        )
        remarks = [*remarks, *result.remarks]
        mixture = detector.mixture
        if not detector.head.relative and all(mixture.has_withdrawn(name) for name in mixture.names):
            remarks.append(_NOTHING_ACTS)
        number = self.store.add_generation(
            replace(
                draft,
                experts=detector.mixture.names,
                router=router_arrays(detector),
                calibration=(detector.calibration.scale, detector.calibration.offset),
                new_experts=[pulled.new],
                command=self.run.command,
                metrics={key: item.as_dict() for key, item in result.after.items()},
                changes={key: item.as_dict() for key, item in result.changes.items()},
                profile=routing_profile(detector, {**old, domain: arrived}),
                remarks=[f"expert {record.name} was pulled from {origin}", *remarks, *result.refused],
            ),
            activate=not result.refused,
        )
        return PullReport(
            expert=record.name,
            repository=origin.repository,
            commit=origin.commit,
            generation=number,
            activated=not result.refused,
            rows=rows.source,
            before=result.before,
            after=result.after,
            change=result.changes,
            real_speech=result.real_speech,
            novel=domain if result.before else None,
            tolerance=recipe.gate.tolerance,
            remarks=remarks,
            refused=result.refused,
            not_measured=result.not_measured,
            withdrawn=detector.mixture.has_withdrawn(record.name),
        )


def _require_targets(pulled: PulledExpert, recipe: Recipe, detector: Detector, origin: OriginRecord) -> None:
    record, blocks = pulled.new.record, len(detector.base.blocks)
    if set(record.targets) != set(recipe.lora.targets) or record.blocks != blocks:
        raise ExpertError(
            f"{origin} adapts {', '.join(record.targets)} of {record.blocks} blocks; this mixture adapts "
            f"{', '.join(recipe.lora.targets)} of {blocks}. Pull it into an empty registry on the same base: "
            "molex-adapt init BASE --no-experts --registry other/"
        )


def _recipe(text: str) -> Recipe:
    try:
        return validate(Recipe, parse_yaml(text.encode(), Path(RECIPE)), "its recipe", stored=True)
    except RecipeError as error:
        raise RegistryError(str(error)) from None


def _set_up(detector: Detector, router: Arrays, head: Arrays, mixture: Surroundings) -> None:
    """A detector without experts, with another mixture's standardisation, head and calibration."""
    for block, module in enumerate(detector.mixture.routers):
        fixed = {
            part: torch.from_numpy(router[f"blocks.{block}.{part}"].copy()) for part in ("centre", "spread")
        }
        module.load_state_dict(fixed, strict=False)
    detector.head.load_state_dict(
        {key: torch.from_numpy(array.astype(np.float32)) for key, array in head.items()}
    )
    detector.calibration = Calibration(mixture.calibration.scale, mixture.calibration.offset)


def _same(left: Arrays, right: Arrays) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[key], right[key]) for key in left)
