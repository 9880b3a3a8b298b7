"""What went to the Hub, and what came from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from molex_adapt.reports.changes import Comparison


@dataclass(frozen=True)
class Replaced:
    """The expert of a repository that a push put another one in the place of."""

    expert: str
    weights_sha256: str
    commit: str
    """At which it can still be pulled."""

    def __str__(self) -> str:
        return f"expert {self.expert!r} (weights {self.weights_sha256[:8]}, commit {self.commit[:7]})"


@dataclass(frozen=True)
class PushReport:
    """What was, or would be, uploaded."""

    repository: str
    """ORG/REPO."""
    revision: str | None
    """The branch; None for the default one."""
    commit: str | None
    """None for a dry run."""
    changed: bool
    """Whether there is a new commit; False where the repository held all of it already, and for a dry run."""
    files: dict[str, int]
    """Bytes by path."""
    remarks: list[str] = field(default_factory=list)
    replaced: Replaced | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "repository": self.repository,
            "revision": self.revision,
            "commit": self.commit,
            "changed": self.changed,
            "dry_run": self.commit is None,
            "files": [{"path": path, "bytes": size} for path, size in self.files.items()],
            "bytes": sum(self.files.values()),
            "replaced": None if self.replaced is None else asdict(self.replaced),
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True, kw_only=True)
class PullReport(Comparison):
    """What a pull brought, and what it did to every domain that can be measured."""

    expert: str
    repository: str
    commit: str
    """The resolved commit, which the registry keeps."""
    generation: int
    activated: bool
    """Whether that generation is the active one now; if not, `refused` says why."""
    rows: str
    """Where its router rows come from: carried, aligned, heard, centred or mean."""
    remarks: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)
    withdrawn: bool = False
    """Whether its gates are closed, as where it comes from."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "expert": self.expert,
            "repository": self.repository,
            "commit": self.commit,
            "generation": self.generation,
            "activated": self.activated,
            "rows": self.rows,
            **super().as_dict(),
            "remarks": list(self.remarks),
            "refused": list(self.refused),
            "not_measured": list(self.not_measured),
            "withdrawn": self.withdrawn,
        }


@dataclass(frozen=True, slots=True)
class Upstream:
    """Something that was pulled, beside what its repository holds now."""

    what: str
    """The expert; "mixture" for a whole one."""
    repository: str
    revision: str | None
    commit: str
    newest: str | None
    """The commit there now; None where the Hub could not say."""
    modified: str | None = None
    problem: str | None = None
    """Why the Hub could not say."""
    another_expert: bool | None = None
    """Of another commit, whether its expert is another one; None where that is not known, and of a mixture."""

    @property
    def outdated(self) -> bool:
        """Whether there is another commit now."""
        return self.newest is not None and self.newest != self.commit

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "outdated": self.outdated}
