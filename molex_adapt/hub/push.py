"""From a registry to the Hub, in one commit, repeated safely; and what is newer there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from molex_adapt.errors import HubError
from molex_adapt.hub.client import Client, Listing
from molex_adapt.hub.contents import EXPERT_FILES, MIXTURE
from molex_adapt.hub.pack import Package, pack_expert, pack_mixture
from molex_adapt.hub.reference import Reference, parse_reference
from molex_adapt.hub.streams import size_of
from molex_adapt.hub.unpack import RefusedError, expert_contents, mixture_contents, read_expert, read_mixture
from molex_adapt.registry import layout
from molex_adapt.registry.records import OriginRecord
from molex_adapt.registry.store import Store
from molex_adapt.reports import PushReport, Upstream
from molex_adapt.run import Run

_Answers: TypeAlias = dict[tuple[str, str | None], tuple[str, str | None] | HubError]
"""Commit and time of change of repositories at revisions, or why they are not known."""

_OF_A_MODEL = ("config.json", "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")


class Hub:
    """What a registry sends to the Hugging Face Hub and asks of it. Loads no model."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def push(
        self,
        name: str | None,
        repository: str,
        *,
        private: bool = False,
        revision: str | None = None,
        token: str | None = None,
        exemplars: bool = True,
        dry_run: bool = False,
        run: Run = Run(),
    ) -> PushReport:
        """Upload one expert of the active generation as a repository that stock PEFT loads, or the whole generation.

        Args:
            name: the expert; None for the generation, with its base where that is embedded.
            repository: ORG/REPO; made where it is missing.
            private: make it private; refused where it is public already.
            revision: a branch; made where it is missing. None for the default one.
            token: None for HF_TOKEN, or what `hf auth login` left.
            exemplars: whether features of recordings travel along.
            dry_run: only say what would be uploaded; the Hub is not asked.
            run: hears of bytes sent, and of the report's remarks before the first of them.

        Raises:
            ExpertError: there is no such expert.
            RegistryError: there is no generation.
            HubError: nobody could pull it, not allowed, cut off, the repository holds something else, or somebody
                else was first.
        """
        target = _target(repository, revision)
        if name is None:
            package = pack_mixture(self.store, target.repository, exemplars)
        else:
            package = pack_expert(self.store, name, target.repository, exemplars)
        _require_readable(package, target)
        if dry_run:
            return _report(target, package, None, changed=False)
        client = Client(token, run.progress)
        former = _prepared(client, target, private)
        if name is None:
            ours = _files_of_a_mixture(former)
        else:
            _require_same_expert(client, former, self.store.expert(name).domain)
            ours = set(EXPERT_FILES)
        obsolete = sorted(path for path in ours & set(former.files) if path not in package.files)
        package.remarks.extend(_left_in_history(former, obsolete))
        for line in package.remarks:
            run.progress.note(line)  # before anything leaves
        commit = client.commit(target, package.files, former, package.summary, package.description, obsolete)
        return _report(target, package, commit, changed=commit != former.commit)

    def outdated(self, *, token: str | None = None) -> list[Upstream]:
        """Every pulled expert of the active generation, and the mixture where it came whole, beside what is there now.

        What was pulled at a commit is compared with the default branch. A repository that cannot be asked is listed
        with the reason; where none can be, that is an error.

        Raises:
            HubError: no repository could be asked.
        """
        client = Client(token)
        asked: _Answers = {}
        found = [_compare(client, what, origin, asked) for what, origin in _origins(self.store)]
        failures = [answer for answer in asked.values() if isinstance(answer, HubError)]
        if failures and len(failures) == len(asked):
            raise failures[0]
        return found


def _target(repository: str, revision: str | None) -> Reference:
    found = parse_reference(repository if revision is None else f"{repository}@{revision}")
    if revision is None and found.revision is not None:
        raise HubError(
            f"{repository!r} names a revision; a push takes a branch by --revision {found.revision}"
        )
    return found


def _require_readable(package: Package, target: Reference) -> None:
    """Refuse to send what a pull would refuse."""
    content = {
        path: body if isinstance(body, bytes) else body.read_bytes()
        for path, body in package.files.items()
        if not path.startswith(f"{layout.BASE}/")
    }
    try:
        if MIXTURE in content:
            read_mixture(mixture_contents(content[MIXTURE], MIXTURE), _listed(content), MIXTURE)
        else:
            contents = expert_contents(content[layout.EXPERT], layout.EXPERT)
            read_expert(contents, _listed(content), layout.EXPERT)
    except RefusedError as error:
        raise HubError(
            f"push to {target} failed: nobody could pull it. {error.reason} Nothing was sent. molex-adapt verify names "
            "what is damaged; a name of a class or an attack is changed by training again from renamed folders"
        ) from None


def _listed(content: Mapping[str, bytes]) -> dict[str, bytes]:
    """What the record of a repository lists, but cards."""
    own = (layout.EXPERT, MIXTURE, layout.CARD)
    return {path: body for path, body in content.items() if path not in own}


def _prepared(client: Client, target: Reference, private: bool) -> Listing:
    """The repository as it is, made where it was missing."""
    known = client.exists(Reference(target.repository), "push to")
    if known is not None and private and not known.private:
        raise HubError(
            f"push to {target} failed: it exists and is public, and --private does not hide what is public. Make it "
            "private in its settings on the Hub, or choose another name"
        )
    listing = client.exists(target, "push to") if target.revision is not None else known
    if listing is None:
        client.create(target, private)
        listing = client.look(target, "push to")
    model = [name for name in _OF_A_MODEL if name in listing.files]
    if model:
        raise HubError(
            f"push to {target} failed: it holds a whole model ({', '.join(model)}); an expert has a repository of its "
            "own. Choose another name"
        )
    return listing


def _files_of_a_mixture(former: Listing) -> set[str]:
    """What a push of another mixture may replace or delete there."""
    if layout.EXPERT in former.files:
        raise HubError(
            f"push to {former.reference} failed: it holds a single expert. Choose another repository for the mixture, "
            "or delete that one on the Hub first"
        )
    if MIXTURE not in former.files:
        return set()
    return {path for path in former.files if path.startswith((f"{layout.EXPERTS}/", f"{layout.BASE}/"))}


def _require_same_expert(client: Client, former: Listing, domain: str) -> None:
    """A repository is one expert's: only the same domain replaces what is there."""
    if MIXTURE in former.files:
        raise HubError(
            f"push to {former.reference} failed: it holds a whole mixture. Choose another repository for the expert, "
            "or push with --mixture"
        )
    if layout.EXPERT not in former.files:
        if layout.ADAPTER in former.files:
            raise HubError(
                f"push to {former.reference} failed: it holds an adapter that molex-adapt did not make. Choose another "
                "repository, or delete that one on the Hub first"
            )
        return
    path = client.fetch(former, [layout.EXPERT])[layout.EXPERT]
    there = expert_contents(path.read_bytes(), str(former)).expert
    if there.domain != domain:
        raise HubError(
            f"push to {former.reference} failed: it holds expert {there.name!r} for domain {there.domain!r}, not one "
            f"for {domain!r}. Choose another repository, or delete that one on the Hub first"
        )


def _left_in_history(former: Listing, obsolete: Sequence[str]) -> list[str]:
    if not any(path.endswith(layout.EXEMPLARS) for path in obsolete):
        return []
    repository = former.reference.repository
    told = (
        f"the history of {repository} keeps the exemplars and fingerprints that were pushed before: whoever may read "
        "it can have them. To take them back, delete the repository on the Hub and push again"
    )
    return [told]


def _report(target: Reference, package: Package, commit: str | None, *, changed: bool) -> PushReport:
    sizes = {path: size_of(content) for path, content in package.files.items()}
    return PushReport(target.repository, target.revision, commit, changed, sizes, package.remarks)


def _origins(store: Store) -> list[tuple[str, OriginRecord]]:
    active = store.active
    if active is None:
        return []
    found = [(record.name, record.origin) for record in store.experts() if record.origin is not None]
    # Whatever was added since, the mixture still began as the one that was pulled.
    whole = [generation.origin for generation in store.history() if generation.origin is not None]
    return [*(("mixture", origin) for origin in whole[-1:]), *found]


def _compare(client: Client, what: str, origin: OriginRecord, asked: _Answers) -> Upstream:
    pinned = origin.revision is None or re.fullmatch(r"[0-9a-f]{7,40}", origin.revision)
    reference = Reference(origin.repository, None if pinned else origin.revision)
    key = (reference.repository, reference.revision)
    if key not in asked:
        try:
            listing = client.look(reference, "look at")
            asked[key] = listing.commit, listing.modified
        except HubError as error:
            asked[key] = error
    answer = asked[key]
    if isinstance(answer, HubError):
        return Upstream(what, *key, origin.commit, None, problem=str(answer))
    return Upstream(what, *key, origin.commit, *answer)
