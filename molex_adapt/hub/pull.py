"""From the Hub into memory: only what is needed, at one commit, and nothing that is not safetensors, YAML or JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from molex_adapt.errors import HubError
from molex_adapt.hub.client import Client, Listing
from molex_adapt.hub.contents import MIXTURE, ExpertContents
from molex_adapt.hub.reference import parse_reference
from molex_adapt.hub.stock import Places, read_stock
from molex_adapt.hub.unpack import (
    PulledExpert,
    PulledMixture,
    expert_contents,
    mixture_contents,
    read_expert,
    read_mixture,
)
from molex_adapt.progress import Progress
from molex_adapt.registry import layout
from molex_adapt.registry.records import OriginRecord
from molex_adapt.text import short

_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
_MOST_RECORD = 16 * 2**20
_MOST_TENSORS = 16 * 2**30
_MOST_FILES = 30_000


@dataclass(frozen=True)
class FoundExpert:
    """A repository with an expert of ours, of which only the record was read, or with a stock adapter."""

    listing: Listing
    contents: ExpertContents | None
    """expert.yaml; None for a stock adapter."""
    client: Client

    @property
    def origin(self) -> OriginRecord:
        """What the registry keeps of it."""
        return _origin(self.listing)

    def fetch(self) -> PulledExpert:
        """Download and check every file of an expert of ours.

        Raises:
            HubError: one cannot be had, is missing, changed, damaged or absurd.
        """
        if self.contents is None:
            raise HubError(f"{self.listing} is a stock adapter: it is read against a mixture")
        wanted = [path for path in self.contents.files if path != layout.CARD]
        return read_expert(self.contents, _content(self.client, self.listing, wanted), str(self.listing))

    def fetch_stock(self, name: str, places: Places, *, assume_base: bool) -> PulledExpert:
        """Download and check the two files of a stock adapter; see `read_stock`."""
        content = _content(self.client, self.listing, [layout.ADAPTER_CONFIG, layout.ADAPTER])
        return read_stock(
            content, name, places, self.listing.licence, str(self.listing), assume_base=assume_base
        )


@dataclass(frozen=True)
class FetchedMixture:
    """A whole generation, checked, and the files of its base where that is embedded."""

    origin: OriginRecord
    mixture: PulledMixture
    base: dict[str, Path]


def find_expert(
    reference: str, *, token: str | None = None, skip_pickled: bool = False, progress: Progress | None = None
) -> FoundExpert:
    """Look at a repository with one expert; only its record is downloaded.

    Args:
        reference: ORG/REPO or ORG/REPO@REV.
        token: None for HF_TOKEN, or what `hf auth login` left.
        skip_pickled: leave pickled files where they are, instead of refusing a repository that holds some.
        progress: hears of bytes received.

    Raises:
        HubError: it cannot be had, is something else, or holds what is not to be trusted.
    """
    client = Client(token, progress)
    listing = client.look(parse_reference(reference), "pull of")
    _check_listing(listing, skip_pickled)
    if MIXTURE in listing.files:
        raise HubError(
            f"{listing} holds a whole mixture, not one expert. Pull it into a new registry: molex-adapt pull "
            f"--mixture {listing.reference} --registry NEW"
        )
    if layout.EXPERT not in listing.files:
        _require_adapter(listing)
        return FoundExpert(listing, None, client)
    content = _content(client, listing, [layout.EXPERT])
    return FoundExpert(listing, expert_contents(content[layout.EXPERT], str(listing)), client)


def fetch_mixture(
    reference: str, *, token: str | None = None, skip_pickled: bool = False, progress: Progress | None = None
) -> FetchedMixture:
    """Download a whole generation; arguments and errors as for `find_expert`."""
    client = Client(token, progress)
    listing = client.look(parse_reference(reference), "pull of")
    _check_listing(listing, skip_pickled)
    if MIXTURE not in listing.files:
        single = layout.EXPERT in listing.files
        what = "one expert: leave --mixture out" if single else "no mixture of molex-adapt's"
        raise HubError(
            f"{listing} holds {what}. Expected a repository that `molex-adapt push --mixture` made"
        )
    contents = mixture_contents(_content(client, listing, [MIXTURE])[MIXTURE], str(listing))
    paths = [path for path in contents.files if PurePosixPath(path).name != layout.CARD]
    base = [path for path in paths if path.startswith(f"{layout.BASE}/")]
    content = _content(client, listing, paths)
    mixture = read_mixture(contents, content, str(listing))
    found = client.fetch(listing, base) if base else {}
    return FetchedMixture(_origin(listing), mixture, {Path(path).name: file for path, file in found.items()})


def _content(client: Client, listing: Listing, paths: Iterable[str]) -> dict[str, bytes]:
    wanted = list(paths)
    missing = [path for path in wanted if path not in listing.files]
    if missing:
        raise HubError(
            f"{listing} was refused: {missing[0]} is named in its record but missing there. The registry is as it "
            "was. Ask its owner to push it again, or pull another revision: ORG/REPO@REV"
        )
    for path in wanted:
        most = _MOST_TENSORS if path.endswith(".safetensors") else _MOST_RECORD
        if (listing.files[path].size or 0) > most:
            raise HubError(
                f"{listing} was refused: {path} has {listing.files[path].size} bytes; at most {most} are believable "
                "there. The registry is as it was. Ask its owner, or pull another revision: ORG/REPO@REV"
            )
    return {path: file.read_bytes() for path, file in client.fetch(listing, wanted).items()}


def _check_listing(listing: Listing, skip_pickled: bool) -> None:
    if len(listing.files) > _MOST_FILES:
        raise HubError(f"{listing} was refused: {len(listing.files)} files are no expert's. Check the name")
    for path in listing.files:
        parts = PurePosixPath(path).parts
        outside = path.startswith("/") or ".." in parts or "\\" in path or re.match(r"[A-Za-z]:", path)
        if outside or not path.isprintable():
            raise HubError(
                f"{listing} was refused: it lists {short(ascii(path), 120)}, which leads out of it. The registry "
                "is as it was. Do not use this repository, and tell the Hub about it"
            )
    pickled = sorted(path for path in listing.files if PurePosixPath(path).suffix.lower() in _PICKLED)
    if pickled and not skip_pickled:
        shown = ", ".join(pickled[:3]) + (f" and {len(pickled) - 3} more" if len(pickled) > 3 else "")
        raise HubError(
            f"{listing} was refused: it holds {shown}, which may run code where they are loaded; only safetensors "
            "are read here, and nothing of it was downloaded. The registry is as it was. Ask its owner to remove "
            "them; where you trust the rest of it, --skip-pickled leaves them where they are"
        )


def _require_adapter(listing: Listing) -> None:
    missing = [path for path in (layout.ADAPTER_CONFIG, layout.ADAPTER) if path not in listing.files]
    if missing:
        shown = ", ".join(sorted(listing.files)[:4]) or "nothing"
        raise HubError(
            f"{listing} holds no expert: {' and '.join(missing)} missing, it has {shown}. Expected what `molex-adapt "
            "push` or PEFT's save_pretrained uploads (safetensors). Check the name"
        )


def _origin(listing: Listing) -> OriginRecord:
    return OriginRecord(
        repository=listing.reference.repository, revision=listing.reference.revision, commit=listing.commit
    )
