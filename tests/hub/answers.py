"""What can be asked of the hub on loopback and of its storage, who may ask it, and the answers."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.hub.repositories import LARGE, Repository, Stored, User

if TYPE_CHECKING:
    from tests.hub.loopback import LoopbackHub

PART = 64 * 1024
"""Bytes of one part of a multi-part upload."""


class RefusedError(Exception):
    def __init__(self, status: int, code: str | None, message: str) -> None:
        self.status, self.code, self.message = status, code, message


class Answers(BaseHTTPRequestHandler):
    """A request that has come in, and an answer to each: status, body, and headers where there are any."""

    hub: LoopbackHub
    body: bytes
    token: str | None

    # Who may do what.

    def _user(self) -> User | None:
        if self.token is None:
            return None
        if self.token not in self.hub.state.users:
            raise RefusedError(401, None, "Invalid credentials in Authorization header")
        return self.hub.state.users[self.token]

    def _repository(self, kind: str, name: str, *, write: bool = False, content: bool = False) -> Repository:
        user, found = self._user(), self.hub.state.find(kind, name)
        ours = user is not None and name.partition("/")[0] in (user.name, *user.orgs)
        if found is None or (found.private and not ours):
            raise RefusedError(401 if user is None else 404, "RepoNotFound", "Repository not found")
        if found.gated and content and not ours:
            raise RefusedError(403, "GatedRepo", f"Access to model {name} is restricted")
        if write and not (ours and user is not None and user.write):
            raise RefusedError(
                403, None, "You have read access but not the required permissions for this operation"
            )
        return found

    def _revision(self, repository: Repository, revision: str) -> str:
        found = repository.resolve(revision)
        if found is None:
            raise RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    # What can be asked.

    def who(self) -> tuple[int, bytes]:
        user = self._user()
        if user is None:
            raise RefusedError(401, None, "Invalid username or password.")
        return 200, json.dumps({"name": user.name, "orgs": [{"name": org} for org in user.orgs]}).encode()

    def create(self) -> tuple[int, bytes]:
        asked = json.loads(self.body)
        user = self._user()
        name = f"{asked.get('organization') or (user.name if user else '')}/{asked['name']}"
        if user is None:
            raise RefusedError(401, None, "Invalid username or password.")
        if not user.write or name.partition("/")[0] not in (user.name, *user.orgs):
            raise RefusedError(403, None, "You don't have the rights to create a model under this namespace")
        answer = json.dumps(
            {"url": f"{self.hub.url}/{name}", "error": "You already created this model repo"}
        ).encode()
        kind = asked.get("type", "model")
        if self.hub.state.find(kind, name) is not None:
            return 409, answer
        self.hub.state.create(name, kind, asked.get("visibility") == "private")
        return 200, answer

    def delete(self) -> tuple[int, bytes]:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        self._repository("model", name, write=True)
        del self.hub.state.known["model", name]
        return 200, b"{}"

    def info(self, kind: str, name: str, revision: str | None) -> tuple[int, bytes]:
        repository = self._repository(kind, name)
        commit = self._revision(repository, revision or "main")
        blobs = parse_qs(urlsplit(self.path).query).get("blobs") == ["true"]
        siblings = [
            {"rfilename": path} | (_metadata(file) if blobs else {})
            for path, file in sorted(repository.files(commit).items())
        ]
        answer = {
            "_id": "0",
            "id": name,
            "modelId": name,
            "sha": commit,
            "private": repository.private,
            "gated": "manual" if repository.gated else False,
            "lastModified": "2026-01-02T03:04:05.000Z",
            "tags": repository.tags,
            "siblings": siblings,
        }
        return 200, json.dumps(answer).encode()

    def tree(self, name: str, revision: str) -> tuple[int, bytes]:
        repository = self._repository("model", name)
        files = repository.files(self._revision(repository, revision))
        answer = [
            {"type": "file", "path": path, "size": len(file.content), "oid": file.blob}
            | (
                {"lfs": {"oid": file.sha256, "size": len(file.content), "pointerSize": 130}}
                if file.large
                else {}
            )
            for path, file in sorted(files.items())
        ]
        return 200, json.dumps(answer).encode()

    def refs(self, name: str) -> tuple[int, bytes]:
        repository = self._repository("model", name)
        branches = [
            {"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": commit}
            for branch, commit in repository.branches.items()
        ]
        return 200, json.dumps({"branches": branches, "tags": [], "converts": []}).encode()

    def branch(self, name: str, branch: str) -> tuple[int, bytes]:
        repository = self._repository("model", name, write=True)
        if branch in repository.branches:
            raise RefusedError(409, None, "Reference already exists")
        repository.branches[branch] = repository.head
        return 200, b"{}"

    def validate(self) -> tuple[int, bytes]:
        content = json.loads(self.body)["content"]
        if not re.match(r"---\n.*?\n---\n", content, re.DOTALL):
            return 200, json.dumps(
                {"errors": [], "warnings": [{"message": "empty or missing yaml metadata"}]}
            ).encode()
        return 200, b'{"errors": [], "warnings": []}'

    def preupload(self, name: str, revision: str) -> tuple[int, bytes]:
        repository = self._repository("model", name, write=True)
        there = repository.files(self._revision(repository, revision))
        answer = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": there[file["path"]].oid if file["path"] in there else None,
            }
            for file in json.loads(self.body)["files"]
        ]
        return 200, json.dumps({"files": answer}).encode()

    def batch(self, name: str) -> tuple[int, bytes]:
        repository = self._repository("model", name, write=True)
        objects = []
        for item in json.loads(self.body)["objects"]:
            answer: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in repository.large:
                answer["actions"] = {
                    "upload": self._upload_action(name, item["oid"], item["size"]),
                    "verify": {"href": f"{self.hub.url}/lfs-verify/{name}"},
                }
            objects.append(answer)
        return 200, json.dumps({"transfer": "basic", "objects": objects}).encode()

    def _upload_action(self, name: str, oid: str, size: int) -> dict[str, Any]:
        if not self.hub.multipart:
            return {"href": f"{self.hub.storage}/put/{name}/{oid}"}
        count = -(-size // PART)
        header = {str(at + 1): f"{self.hub.storage}/part/{oid}/{at + 1}" for at in range(count)}
        return {
            "href": f"{self.hub.url}/lfs-complete/{name}/{oid}",
            "header": header | {"chunk_size": str(PART)},
        }

    def complete(self, name: str, oid: str) -> tuple[int, bytes]:
        parts = self.hub.parts.pop(oid)
        asked = [part["partNumber"] for part in json.loads(self.body)["parts"]]
        self.hub.state.model(name).large[oid] = b"".join(parts[at] for at in asked)
        return 200, b"{}"

    def verify(self, name: str) -> tuple[int, bytes]:
        asked, there = json.loads(self.body), self.hub.state.model(name).large
        whole = asked["oid"] in there and Stored(there[asked["oid"]], True).sha256 == asked["oid"]
        if not whole or len(there[asked["oid"]]) != asked["size"]:
            there.pop(asked["oid"], None)
            raise RefusedError(422, None, "the object did not arrive whole")
        return 200, b"{}"

    def commit(self, name: str, branch: str) -> tuple[int, bytes]:
        repository = self._repository("model", name, write=True)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if branch not in repository.branches:
            raise RefusedError(404, "RevisionNotFound", f"Invalid rev id: {branch}")
        if header.get("parentCommit") not in (None, repository.branches[branch]):
            raise RefusedError(412, None, "A commit has happened since. Please refresh and try again.")
        added: dict[str, Stored] = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                added[value["path"]] = Stored(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in repository.large:
                    raise RefusedError(400, None, f"LFS pointer to a missing object: {value['path']}")
                added[value["path"]] = Stored(repository.large[value["oid"]], True)
        deleted = [line["value"]["path"] for line in lines[1:] if line["key"] == "deletedFile"]
        oid = repository.commit(branch, added, deleted, header["summary"], header.get("description", ""))
        answer = {"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid, "success": True}
        return 200, json.dumps(answer).encode()

    def resolve(self, name: str, revision: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        repository = self._repository("model", name, content=True)
        commit = self._revision(repository, revision)
        found = repository.files(commit).get(path)
        headers = {"X-Repo-Commit": commit}
        if found is None:
            raise RefusedError(404, "EntryNotFound", "Entry not found")
        if found.large:
            place = f"{self.hub.storage}/get/{name}/{found.sha256}"
            linked = {"X-Linked-Size": str(len(found.content)), "X-Linked-Etag": f'"{found.sha256}"'}
            return 302, b"", headers | linked | {"Location": place, "ETag": f'"{found.blob}"'}
        status, body, more = self._part(found.content)
        return status, body, headers | {"ETag": f'"{found.blob}"', "Accept-Ranges": "bytes"} | more

    # The storage: no tokens, no names.

    def get(self, name: str, oid: str) -> tuple[int, bytes, dict[str, str]]:
        content = self.hub.state.model(name).large.get(oid)
        if content is None:
            raise RefusedError(404, None, "NoSuchKey")
        status, body, headers = self._part(content)
        return status, body, {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"} | headers

    def put(self, name: str, oid: str) -> tuple[int, bytes]:
        self.hub.state.model(name).large[oid] = self.body
        return 200, b""

    def put_part(self, oid: str, number: str) -> tuple[int, bytes, dict[str, str]]:
        self.hub.parts.setdefault(oid, {})[int(number)] = self.body
        return 200, b"", {"ETag": f'"{oid[:8]}-{number}"'}

    def _part(self, content: bytes) -> tuple[int, bytes, dict[str, str]]:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return 200, content, {}
        start, end = int(asked[1]), int(asked[2] or len(content) - 1)
        if start >= len(content):
            raise RefusedError(416, None, "The requested range is not satisfiable")
        return 206, content[start : end + 1], {"Content-Range": f"bytes {start}-{end}/{len(content)}"}


def _metadata(file: Stored) -> dict[str, Any]:
    large = {"sha256": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
    return {"size": len(file.content), "blobId": file.blob} | ({"lfs": large} if file.large else {})


_NAME = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, str, str, Callable[..., Any]]] = [
    ("GET", "hub", "/api/whoami-v2", Answers.who),
    ("POST", "hub", "/api/repos/create", Answers.create),
    ("DELETE", "hub", "/api/repos/delete", Answers.delete),
    ("POST", "hub", "/api/validate-yaml", Answers.validate),
    ("GET", "hub", rf"/api/(model|dataset|space)s/{_NAME}(?:/revision/(.+))?", Answers.info),
    ("GET", "hub", rf"/api/models/{_NAME}/tree/(.+)", Answers.tree),
    ("GET", "hub", rf"/api/models/{_NAME}/refs", Answers.refs),
    ("POST", "hub", rf"/api/models/{_NAME}/branch/(.+)", Answers.branch),
    ("POST", "hub", rf"/api/models/{_NAME}/preupload/(.+)", Answers.preupload),
    ("POST", "hub", rf"/api/models/{_NAME}/commit/(.+)", Answers.commit),
    ("POST", "hub", rf"/{_NAME}\.git/info/lfs/objects/batch", Answers.batch),
    ("POST", "hub", rf"/lfs-verify/{_NAME}", Answers.verify),
    ("POST", "hub", rf"/lfs-complete/{_NAME}/([0-9a-f]+)", Answers.complete),
    ("GET", "hub", rf"/{_NAME}/resolve/([^/]+)/(.+)", Answers.resolve),
    ("GET", "storage", rf"/get/{_NAME}/([0-9a-f]+)", Answers.get),
    ("PUT", "storage", rf"/put/{_NAME}/([0-9a-f]+)", Answers.put),
    ("PUT", "storage", r"/part/([0-9a-f]+)/(\d+)", Answers.put_part),
]
