"""From a registry to the Hub, in one commit, repeated safely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from molex_adapt.errors import HubError
from molex_adapt.hub.client import Client, Listing
from molex_adapt.hub.contents import EXPERT_FILES, MIXTURE
from molex_adapt.hub.pack import Package, pack_expert, pack_mixture
from molex_adapt.hub.reference import Reference, parse_reference
from molex_adapt.hub.streams import size_of
from molex_adapt.hub.unpack import RefusedError, expert_contents, mixture_contents, read_expert, read_mixture
from molex_adapt.hub.upstream import recorded, upstream
from molex_adapt.registry import layout
from molex_adapt.registry.records import ExpertRecord
from molex_adapt.registry.store import Store
from molex_adapt.reports import PushReport, Replaced, Upstream
from molex_adapt.run import Run

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
        replace: bool = False,
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
            replace: put one expert in the place of another one of its domain, which is refused otherwise.
            run: hears of bytes sent, and of the report's remarks before the first of them.

        Raises:
            ExpertError: there is no such expert.
            RegistryError: there is no generation.
            HubError: nobody could pull it, not allowed, cut off, the repository holds something else, another expert
                and `replace` was not asked for, or somebody else was first.
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
        replaced = None
        if package.expert is None:
            ours = _files_of_a_mixture(former)
        else:
            replaced = _replaced(client, former, package.expert, replace)
            ours = set(EXPERT_FILES)
        obsolete = sorted(path for path in ours & set(former.files) if path not in package.files)
        if replaced is not None:
            package.remarks.append(f"this replaces {replaced}")
        package.remarks.extend(_left_in_history(former, obsolete))
        for line in package.remarks:
            run.progress.note(line)  # before anything leaves
        commit = client.commit(target, package.files, former, package.summary, package.description, obsolete)
        return _report(target, package, commit, changed=commit != former.commit, replaced=replaced)

    def outdated(self, *, token: str | None = None) -> list[Upstream]:
        """Every pulled expert of the active generation, and the mixture where it came whole, beside what is there now.

        What was pulled at a commit is compared with the default branch. A repository that cannot be asked is listed
        with the reason; where none can be, that is an error.

        Raises:
            HubError: no repository could be asked.
        """
        return upstream(self.store, Client(token))


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


def _replaced(client: Client, former: Listing, ours: ExpertRecord, replace: bool) -> Replaced | None:
    """The expert that a push puts ours in the place of; None where there is none, or ours is there."""
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
        return None
    there = recorded(client, former)
    if there.domain != ours.domain:
        raise HubError(
            f"push to {former.reference} failed: it holds expert {there.name!r} for domain {there.domain!r}, not one "
            f"for {ours.domain!r}. Choose another repository, or delete that one on the Hub first"
        )
    if ours.is_the_same(there):
        return None
    found = Replaced(there.name, str(there.weights_sha256), former.commit)
    if not replace:
        raise HubError(
            f"push to {former.reference} failed: it holds {found}, which is not the one here (weights "
            f"{str(ours.weights_sha256)[:8]}): somebody may have pushed it, or trained it anew. Look at it there, "
            "choose another repository, or put yours in its place by --replace"
        )
    return found


def _left_in_history(former: Listing, obsolete: Sequence[str]) -> list[str]:
    if not any(path.endswith(layout.EXEMPLARS) for path in obsolete):
        return []
    repository = former.reference.repository
    told = (
        f"the history of {repository} keeps the exemplars and fingerprints that were pushed before: whoever may read "
        "it can have them. To take them back, delete the repository on the Hub and push again"
    )
    return [told]


def _report(
    target: Reference,
    package: Package,
    commit: str | None,
    *,
    changed: bool,
    replaced: Replaced | None = None,
) -> PushReport:
    sizes = {path: size_of(content) for path, content in package.files.items()}
    return PushReport(target.repository, target.revision, commit, changed, sizes, package.remarks, replaced)
