"""The Hub through its own client: look, fetch, upload. Everything is pinned to commits and held against hashes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from molex_adapt.digest import git_blob, sha256_of_file
from molex_adapt.errors import HubError
from molex_adapt.hub.faults import explained
from molex_adapt.hub.reference import Reference
from molex_adapt.hub.streams import Source, counter, quiet, size_of
from molex_adapt.progress import Progress, Silent
from molex_adapt.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PATIENCE = 30.0
"""Seconds that a question without files may take."""

_OTHER_KINDS = {"dataset": "a data set", "space": "a Space"}


@dataclass(frozen=True)
class RemoteFile:
    """A file as the Hub lists it."""

    size: int | None
    """Bytes; None where the Hub does not say."""
    sha256: str | None
    """Of a large file's content, None of others."""
    blob: str | None
    """Git's name for a small file's content."""

    def is_in(self, path: Path) -> bool:
        """Whether a file on disk has this content, as far as the Hub said. A large one is not read into memory."""
        if self.size is not None and path.stat().st_size != self.size:
            return False
        if self.sha256 is not None:
            return sha256_of_file(path) == self.sha256
        return self.blob is None or self.blob == git_blob(path.read_bytes())


@dataclass(frozen=True)
class Listing:
    """What was asked for, and what the repository holds at the commit that this was."""

    reference: Reference
    commit: str
    files: dict[str, RemoteFile]
    private: bool
    licence: str | None
    """As its tags say; None where they do not."""
    modified: str | None
    """When it was changed last, ISO 8601; None where the Hub does not say."""

    def __str__(self) -> str:
        return f"{self.reference.repository}@{self.commit[:7]}"


class Client:
    """A connection with one token.

    Args:
        token: None for HF_TOKEN, or what `hf auth login` left.
        progress: hears of bytes sent and received.
    """

    def __init__(self, token: str | None = None, progress: Progress | None = None) -> None:
        self._token = token
        self._progress = progress or Silent()

    @cached_property
    def api(self) -> HfApi:
        """The Hub's own client."""
        from huggingface_hub import HfApi

        return HfApi(token=self._token, library_name="molex-adapt", library_version=__version__)

    @property
    def endpoint(self) -> str:
        """Which Hub: the public one, or HF_ENDPOINT."""
        return str(self.api.endpoint)

    def look(self, reference: Reference, doing: str) -> Listing:
        """What a repository holds.

        Raises:
            HubError: no such repository or revision, not allowed, or no connection.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        with explained(reference, doing, self.endpoint):
            try:
                return self._list(reference)
            except RepositoryNotFoundError:
                self._require_model(reference, doing)
                raise

    def exists(self, reference: Reference, doing: str) -> Listing | None:
        """`look`, or None where the repository or its revision is missing."""
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        with explained(reference, doing, self.endpoint):
            try:
                return self._list(reference)
            except (RepositoryNotFoundError, RevisionNotFoundError):
                return None

    def fetch(self, listing: Listing, paths: Sequence[str]) -> dict[str, Path]:
        """Download files at the listed commit into the Hub's cache; whole ones are not downloaded again.

        Raises:
            HubError: the transfer failed, or what came is not what the repository lists.
        """
        total = sum(listing.files[path].size or 0 for path in paths)
        self._progress.start(f"download of {listing.reference.repository}, bytes", max(1, total))
        try:
            return {path: self._fetch(listing, path) for path in paths}
        finally:
            self._progress.stop()

    def commit(
        self,
        reference: Reference,
        files: Mapping[str, bytes | Path],
        former: Listing,
        summary: str,
        description: str,
        obsolete: Sequence[str] = (),
    ) -> str:
        """Upload files in one commit on top of `former`; what the Hub has already is not sent again.

        Returns:
            The commit; `former.commit` where nothing had changed.

        Raises:
            HubError: not allowed, cut off, or somebody else was first.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        total = sum(size_of(content) for content in files.values())
        self._progress.start(f"upload to {reference.repository}, bytes", max(1, total))
        try:
            with explained(reference, "push to", self.endpoint), quiet():
                sources = {path: Source(content, self._progress) for path, content in files.items()}
                added = [CommitOperationAdd(path, cast(BinaryIO, source)) for path, source in sources.items()]
                for source in sources.values():
                    source.counting = True
                done = self.api.create_commit(
                    reference.repository,
                    [*added, *(CommitOperationDelete(path) for path in obsolete)],
                    commit_message=summary,
                    commit_description=description,
                    revision=reference.revision,
                    parent_commit=former.commit,
                )
                return str(done.oid)
        finally:
            self._progress.stop()

    def create(self, reference: Reference, private: bool) -> None:
        """Make the repository and its branch, where they are missing.

        Raises:
            HubError: not allowed, or no connection.
        """
        with explained(reference, "push to", self.endpoint):
            name = reference.repository
            self.api.create_repo(name, private=private or None, exist_ok=True)
            if reference.revision is not None:
                self.api.create_branch(name, branch=reference.revision, exist_ok=True)

    def _list(self, reference: Reference) -> Listing:
        info = self.api.model_info(
            reference.repository, revision=reference.revision, files_metadata=True, timeout=PATIENCE
        )
        if not re.fullmatch(r"[0-9a-f]{40}", str(info.sha)):
            raise ValueError(f"it names no commit but {info.sha!r}")
        files = {
            item.rfilename: RemoteFile(item.size, item.lfs.sha256 if item.lfs else None, item.blob_id)
            for item in info.siblings or []
        }
        licences = [tag.partition(":")[2] for tag in info.tags or [] if tag.startswith("license:")]
        modified = info.last_modified
        return Listing(
            reference,
            str(info.sha),
            files,
            bool(info.private),
            licences[0] if len(licences) == 1 else None,
            modified.isoformat() if modified is not None else None,
        )

    def _fetch(self, listing: Listing, path: str) -> Path:
        for again in (False, True):
            with explained(listing.reference, "pull of", self.endpoint), quiet():
                found = Path(
                    self.api.hf_hub_download(
                        listing.reference.repository,
                        path,
                        revision=listing.commit,
                        force_download=again,
                        tqdm_class=counter(self._progress),
                    )
                )
                if listing.files[path].is_in(found):
                    return found
        raise HubError(
            f"pull of {listing} failed: what came for {path} is not what the repository lists, twice. The registry "
            "is as it was. Something on the way changes files: look at proxies and HF_ENDPOINT, or ask the "
            "repository's owner"
        )

    def _require_model(self, reference: Reference, doing: str) -> None:
        for kind, name in _OTHER_KINDS.items():
            if self.api.repo_exists(reference.repository, repo_type=kind):
                raise HubError(
                    f"{doing} {reference} failed: it is {name}, not a model repository. Experts are kept in model "
                    "repositories: name one"
                )


def read_token(path: Path | None) -> str | None:
    """The token in a file; None for no file.

    Raises:
        HubError: it cannot be read, or holds no single token.
    """
    if path is None:
        return None
    try:
        words = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise HubError(
            f"token file {path} cannot be read: {reason}. Give a file that holds the token alone"
        ) from None
    if len(words) != 1 or not words[0].isascii():
        raise HubError(
            f"token file {path} holds {len(words)} words; the token alone is expected, on one line. Copy it anew"
        )
    return words[0]
