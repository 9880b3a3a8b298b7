"""What a hub knows: repositories with branches, commits and files, and who may see and change them. No HTTP here."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field

from molex_adapt import Run

LARGE = (".safetensors", ".bin", ".pt", ".pkl", ".onnx")
FIRST = ".gitattributes"

CPU = Run(workers=1, device="cpu")
"""How every test here runs."""


@dataclass(frozen=True)
class Stored:
    """A file's content, and whether it lies in the large-file storage."""

    content: bytes
    large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def blob(self) -> str:
        """Git's name for it; of a large file, git sees the pointer alone."""
        body = self.pointer if self.large else self.content
        return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()

    @property
    def pointer(self) -> bytes:
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        ).encode()

    @property
    def oid(self) -> str:
        """What a preupload answer calls it."""
        return self.sha256 if self.large else self.blob


@dataclass
class Commit:
    files: dict[str, Stored]
    parent: str | None
    title: str
    description: str = ""


@dataclass
class Repository:
    name: str
    kind: str = "model"
    private: bool = False
    gated: bool = False
    tags: list[str] = field(default_factory=list)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    """The large-file storage, by sha256."""

    def __post_init__(self) -> None:
        self.commit("main", {FIRST: Stored(b"*.safetensors filter=lfs\n", False)}, [], "initial commit")

    @property
    def head(self) -> str:
        return self.branches["main"]

    def resolve(self, revision: str) -> str | None:
        """A branch, tag or commit to a commit."""
        if revision in self.branches:
            return self.branches[revision]
        found = [oid for oid in self.commits if len(revision) >= 7 and oid.startswith(revision)]
        return found[0] if len(found) == 1 else None

    def files(self, revision: str = "main") -> dict[str, Stored]:
        return self.commits[self.resolve(revision) or ""].files

    def commit(
        self, branch: str, added: dict[str, Stored], deleted: list[str], title: str, description: str = ""
    ) -> str:
        parent = self.branches.get(branch)
        before = self.commits[parent].files if parent is not None else {}
        files = {path: file for path, file in before.items() if path not in deleted} | added
        digest = hashlib.sha1(f"{self.name} {parent} {len(self.commits)} {title}".encode())
        for path, file in sorted(files.items()):
            digest.update(f"{path} {file.blob}\n".encode())
        oid = digest.hexdigest()
        self.commits[oid] = Commit(files, parent, title, description)
        self.branches[branch] = oid
        return oid

    def put(self, title: str = "by hand", branch: str = "main", **files: bytes | None) -> str:
        """A commit made past the API, names as given; None deletes."""
        added = {path: Stored(body, path.endswith(LARGE)) for path, body in files.items() if body is not None}
        self.large |= {file.sha256: file.content for file in added.values() if file.large}
        return self.commit(branch, added, [path for path, body in files.items() if body is None], title)


@dataclass
class User:
    name: str
    write: bool
    orgs: tuple[str, ...] = ()


class Repositories:
    """All repositories and users of a hub."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.known: dict[tuple[str, str], Repository] = {}
        self.users: dict[str, User] = {}

    def find(self, kind: str, name: str) -> Repository | None:
        return self.known.get((kind, name))

    def model(self, name: str) -> Repository:
        return self.known["model", name]

    def create(self, name: str, kind: str = "model", private: bool = False) -> Repository:
        self.known[kind, name] = Repository(name, kind, private)
        return self.known[kind, name]
