"""From a registry to the files of a repository: stock PEFT at the front, what only we need beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from molex_adapt.digest import sha256, sha256_of_file
from molex_adapt.errors import ExpertError
from molex_adapt.hub import cards
from molex_adapt.hub.contents import MIXTURE, ExpertContents, MixtureContents, Surroundings, is_of_base
from molex_adapt.hub.leaving import Leaving, leaving, remarks, without_places
from molex_adapt.registry import files, layout
from molex_adapt.registry.draft import adapter_config
from molex_adapt.registry.files import Arrays
from molex_adapt.registry.records import FORMAT, ExpertRecord, GenerationRecord
from molex_adapt.registry.store import Store
from molex_adapt.witnesses import domains_of, only_those_of


@dataclass(frozen=True)
class Package:
    """What will be uploaded, in a commit of that summary and description; remarks are for whoever uploads it."""

    files: dict[str, bytes | Path]
    """Content by path; large ones by the path of the registry's own file, which never changes."""
    summary: str
    description: str
    remarks: list[str] = field(default_factory=list)
    expert: ExpertRecord | None = None
    """As it travels; None for a mixture."""


def pack_expert(store: Store, name: str, repository: str, exemplars: bool) -> Package:
    """One expert of the active generation, with its rows of the router, its head, calibration and exemplars.

    Of the readout in the head there are its own witnesses alone, and that for any attack.

    Args:
        store, name: the registry and the expert.
        repository: ORG/REPO, for the card.
        exemplars: whether features of recordings, and digests of which were heard, may travel. What routers and the
            readout read of the domain, which has no recording in it, travels all the same.

    Raises:
        ExpertError: there is no such expert.
        RegistryError: a file of it is damaged.
    """
    generation = store.generation()
    number = generation.number  # another process may activate another one meanwhile
    expert = leaving(store, number, name, repository, exemplars)
    record, kept, routing = expert.record, expert.exemplars, expert.routing
    store.expert_weights(name, number)  # says what is wrong, before anything is sent
    router, whole = store.router_tensors(number), store.head_tensors(number)
    head, _ = only_those_of(whole, name, name, routing)
    content: dict[str, bytes | Path] = {
        layout.ADAPTER_CONFIG: adapter_config(record),
        layout.ADAPTER: (layout.expert_folder(store.path, name) / layout.ADAPTER).read_bytes(),
        layout.ROUTER: files.dump_tensors(_rows_first(router, generation.names.index(name))),
        layout.HEAD: files.dump_tensors(head),
    }
    if kept is not None:
        content[layout.EXEMPLARS] = files.dump_tensors(kept)
    if routing is not None:
        content[layout.ROUTING] = files.dump_tensors(routing)
    content[layout.CARD] = cards.expert_card(expert, repository, generation, head).encode()
    own = next(entry.sha256 for entry in generation.experts if entry.name == name)
    others = [entry.sha256 for entry in generation.experts if entry.name != name]
    contents = ExpertContents(
        format=FORMAT,
        expert=record,
        mixture=Surroundings(
            experts=[own, *others],
            recipe=store.recipe(number) or "",
            calibration=generation.calibration,
            threshold=generation.threshold,
        ),
        files={path: sha256(body) for path, body in content.items() if isinstance(body, bytes)},
    )
    content[layout.EXPERT] = files.dump_record(contents)
    summary = f"Expert {name} for {record.domain}, {cards.shown_eer(record.metrics, record.domain)}"
    told = remarks([expert], head, exemplars, of_all=domains_of(head) > 1)
    return Package(content, summary, cards.description([record]), told, record)


def pack_mixture(store: Store, repository: str, exemplars: bool) -> Package:
    """The whole active generation, with its base where that is embedded.

    Raises:
        RegistryError: there is none, or a file of it is damaged.
        ExpertError: it has no experts.
    """
    generation = store.generation()
    if not generation.names:
        raise ExpertError(
            f"generation {generation.number} of {store.path} has no experts, so there is nothing of its own to push. "
            "Add one: molex-adapt add-expert"
        )
    number = generation.number
    head = store.head_tensors(number)
    content: dict[str, bytes | Path] = {
        layout.ROUTER: files.dump_tensors(store.router_tensors(number)),
        layout.HEAD: files.dump_tensors(head),
        layout.RECIPE: (store.recipe(number) or "").encode(),
    }
    digests: dict[str, str] = {}
    experts = [leaving(store, number, name, repository, exemplars) for name in generation.names]
    for expert in experts:
        _add_expert(store, number, expert, content, digests)
    if store.base_folder is not None:
        for path in sorted(store.base_folder.iterdir()):
            files.require_plain(path, store.path)
            if not is_of_base(path.name):
                continue
            content[f"{layout.BASE}/{path.name}"] = path
            digests[f"{layout.BASE}/{path.name}"] = sha256_of_file(path)
    content[layout.CARD] = cards.mixture_card(experts, repository, generation, head).encode()
    digests |= {path: sha256(body) for path, body in content.items() if isinstance(body, bytes)}
    contents = MixtureContents(
        format=FORMAT,
        base=store.base,
        generation=without_places(_alone(store, generation), repository),
        files=digests,
    )
    content[MIXTURE] = files.dump_record(contents)
    summary = f"Mixture of {len(experts)} experts: {', '.join(generation.names)}"[:72]
    description = cards.description([expert.record for expert in experts])
    return Package(content, summary, description, remarks(experts, head, exemplars))


def _alone(store: Store, generation: GenerationRecord) -> GenerationRecord:
    """With what former generations say of it, which do not travel."""
    tried = store.tried_on_unheard(generation.number)
    return generation.model_copy(
        update={
            "unheard": None if tried is None else tried.unheard,
            "raised": store.raised(generation.number),
        }
    )


def _add_expert(
    store: Store,
    number: int,
    expert: Leaving,
    content: dict[str, bytes | Path],
    digests: dict[str, str],
) -> None:
    record = expert.record
    folder, prefix = layout.expert_folder(store.path, record.name), f"{layout.EXPERTS}/{record.name}"
    store.expert_weights(record.name, number)
    content[f"{prefix}/{layout.ADAPTER}"] = folder / layout.ADAPTER
    digests[f"{prefix}/{layout.ADAPTER}"] = str(record.weights_sha256)
    content[f"{prefix}/{layout.ADAPTER_CONFIG}"] = adapter_config(record)
    content[f"{prefix}/{layout.EXPERT}"] = files.dump_record(record)
    if expert.exemplars is not None:
        content[f"{prefix}/{layout.EXEMPLARS}"] = folder / layout.EXEMPLARS
        digests[f"{prefix}/{layout.EXEMPLARS}"] = str(record.exemplars_sha256)
    if expert.routing is not None:
        content[f"{prefix}/{layout.ROUTING}"] = folder / layout.ROUTING
        digests[f"{prefix}/{layout.ROUTING}"] = str(record.routing_sha256)


def _rows_first(router: Arrays, index: int) -> Arrays:
    """The router with one expert's rows before all others."""
    found = {}
    for name, array in router.items():
        if name.endswith(".rows"):
            array = np.concatenate([array[index : index + 1], np.delete(array, index, axis=0)])
        found[name] = array
    return found
