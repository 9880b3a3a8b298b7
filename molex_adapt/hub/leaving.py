"""What of an expert leaves a registry, and what that tells others: of recordings, and of where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molex_adapt.conventions import SPEECH
from molex_adapt.registry.files import Arrays
from molex_adapt.registry.records import ExpertRecord, GenerationRecord, OriginRecord
from molex_adapt.registry.store import Store
from molex_adapt.witnesses import domains_of


@dataclass(frozen=True)
class Disclosure:
    """What experts that travel tell of recordings."""

    features: int
    """Recordings whose features do."""
    fingerprints: int
    """Recordings of which a digest does."""
    moments: bool
    """Whether second moments of what the readout read of real speech do."""
    gaussians: bool
    """Whether means and variances of what routers read of their domains do."""


@dataclass(frozen=True)
class Leaving:
    """One expert of a generation as it travels."""

    record: ExpertRecord
    exemplars: Arrays | None
    routing: Arrays | None
    origin: OriginRecord | None
    """Where it was pulled from, which travels only back to there: the name of a repository may be nobody's business."""
    withdrawn: bool = False
    """Whether its gates are closed here."""

    @property
    def hides_origin(self) -> bool:
        """Whether it was pulled, and what travels does not say so."""
        return self.origin is not None and self.record.origin is None


def leaving(store: Store, number: int, name: str, repository: str, exemplars: bool) -> Leaving:
    """An expert of a generation, without exemplars and fingerprints where these are to stay.

    Raises:
        ExpertError: there is no such expert.
        RegistryError: a file of it is damaged.
    """
    record = store.expert(name, number)
    kept, routing = store.exemplar_tensors(name, number), store.routing_tensors(name, number)
    origin = record.origin
    changes: dict[str, None] = {}
    if kept is not None and not exemplars:
        kept, changes = None, {"exemplars_sha256": None}
    if origin is not None and origin.repository != repository:
        changes |= {"origin": None}
    withdrawn = name in store.withdrawn(number)
    return Leaving(record.model_copy(update=changes), kept, routing, origin, withdrawn)


def without_places(generation: GenerationRecord, repository: str) -> GenerationRecord:
    """What was typed and remarked may name folders of this machine, its origin a private repository: none travels."""
    origin = generation.origin
    back = origin is not None and origin.repository == repository
    return generation.model_copy(update={"command": "", "remarks": [], "origin": origin if back else None})


def kept_of(experts: Sequence[Leaving], head: Arrays) -> Disclosure:
    """What experts that travel tell of recordings, and the head that travels with them."""
    arrays = [(name, array) for expert in experts for name, array in (expert.exemplars or {}).items()]
    routing = [expert.routing for expert in experts if expert.routing is not None]
    return Disclosure(
        sum(len(array) for name, array in arrays if name.endswith(".lengths")),
        sum(len(array) for name, array in arrays if name.startswith("heard.")),
        domains_of(head) > 0 or any(name.startswith(SPEECH) for found in routing for name in found),
        bool(routing),
    )


def remarks(experts: Sequence[Leaving], head: Arrays, asked: bool, of_all: bool = False) -> list[str]:
    """What whoever pushes is to know; `of_all` says that a head's moments are those of experts that stay here too."""
    kept = kept_of(experts, head)
    told: list[str] = []
    if kept.features:
        told.append(
            f"features of {kept.features} recordings travel along as exemplars, so that later experts elsewhere learn "
            "not to forget. They are no audio, but come from somebody's voice: --no-exemplars keeps them here"
        )
    elif asked and experts:
        told.append(
            "no exemplars were kept, so none travel: whoever pulls this cannot measure it without data of its own"
        )
    if kept.fingerprints:
        told.append(
            f"fingerprints of {kept.fingerprints} recordings travel along: whoever has one of these recordings can "
            "tell that it was heard. --no-exemplars keeps them here"
        )
    if kept.moments:
        told.append(
            "second moments of what the readout read of real speech travel along, with --no-exemplars too, for later "
            "witnesses are solved against them: whoever has one of the recordings can tell that it was heard"
        )
    if of_all:
        told.append(
            "the readout's moments of real speech travel along whole, those of other experts' domains with them: "
            "nothing tells this expert's part apart"
        )
    told += [
        f"expert {item.record.name} is withdrawn here: it travels with closed gates; what a readout knows of its "
        "domain comes along"
        for item in experts
        if item.withdrawn
    ]
    told += [
        f"expert {item.record.name} was pulled from {item.origin}; what is pushed does not say so"
        for item in experts
        if item.hides_origin
    ]
    return told
