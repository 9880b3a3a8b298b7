"""How a user names a repository: ORG/REPO, and ORG/REPO@REV where another revision than the newest is meant."""

from __future__ import annotations

import re
from dataclasses import dataclass

from molex_adapt.errors import HubError
from molex_adapt.text import shown

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REVISION = r"[A-Za-z0-9][A-Za-z0-9_./+-]{0,249}"


@dataclass(frozen=True)
class Reference:
    """A repository ORG/REPO on the Hub, and a branch, tag or commit of it; None for the default branch."""

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"


def parse_reference(text: str) -> Reference:
    """ORG/REPO or ORG/REPO@REV.

    Raises:
        HubError: it is neither.
    """
    repository, at, revision = text.strip().partition("@")
    if not re.fullmatch(f"{_PART}/{_PART}", repository) or ".." in repository or "--" in repository:
        raise HubError(
            f"{shown(text, 200)} names no repository; expected ORG/REPO, or ORG/REPO@REV for a branch, tag or commit, "
            "such as lab/codec_x@v2 (no address, no folder)"
        )
    if at and (not re.fullmatch(_REVISION, revision) or ".." in revision):
        raise HubError(
            f"{shown(text, 200)} names no revision; expected a branch, tag or commit after @, such as lab/codec_x@v2"
        )
    return Reference(repository, revision or None)
