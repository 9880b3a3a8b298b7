"""A small Hugging Face Hub on loopback: enough of its HTTP for the real client, and faults on demand.

Two servers, as in life: the hub itself, and the storage that large files are redirected to, which must never see a
token. What is not asked by huggingface_hub for models is not here.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.repositories import LARGE, Repositories, Repository, Stored, User

PART = 64 * 1024
"""Bytes of one part of a multi-part upload."""


@dataclass
class Fault:
    """Something that goes wrong for requests that match, so many times.

    Attributes:
        method, pattern: of the requests; the pattern is searched in the path.
        times: how often.
        status, code, message: answer this instead (`code` as X-Error-Code).
        cut: send the real answer, but drop the connection after so many bytes of its body.
        wait: seconds before the answer.
        pause: seconds between pieces of 4 kB.
        change: what to make of the answer's body.
        page: answer with this HTML page, as a captive portal would.
    """

    method: str
    pattern: str
    times: int = 1
    status: int | None = None
    code: str | None = None
    message: str = "it is broken"
    cut: int | None = None
    wait: float = 0.0
    pause: float = 0.0
    change: Callable[[bytes], bytes] | None = None
    page: str | None = None


@dataclass(frozen=True)
class Asked:
    """A request that came in."""

    method: str
    path: str
    where: str
    token: str | None
    range: str | None


@dataclass
class LoopbackHub:
    """The hub; `with LoopbackHub() as hub:` runs it."""

    state: Repositories = field(default_factory=Repositories)
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    multipart: bool = False
    """Whether large files are uploaded in parts of PART bytes."""

    def __enter__(self) -> LoopbackHub:
        self._servers = [_serve(self, "hub"), _serve(self, "storage")]
        self.url, self.storage = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)
        self.state.users["hf_writer"] = User("lab", True, ("lab",))
        self.state.users["hf_reader"] = User("guest", False)
        return self

    def __exit__(self, *_error: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def fail(self, method: str, pattern: str, **how: Any) -> Fault:
        """Let requests that match fail; see `Fault`."""
        self.faults.append(Fault(method, pattern, **how))
        return self.faults[-1]

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self.state.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.pattern, path):
                    fault.times -= 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no fault of the hub's."""


def _serve(hub: LoopbackHub, where: str) -> _Server:
    handler = type("Handler", (_Handler,), {"hub": hub, "where": where})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


class _RefusedError(Exception):
    def __init__(self, status: int, code: str | None, message: str) -> None:
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = (
        True  # headers and body go out apart, and would wait for an acknowledgement between
    )
    protocol_version = "HTTP/1.1"
    timeout = 60
    hub: LoopbackHub
    where: str

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        self.body = self._read_body()
        path = unquote(urlsplit(self.path).path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        self.hub.asked.append(Asked(method, path, self.where, token, self.headers.get("Range")))
        self.token = token
        self.fault = self.hub.fault_for(method, path)
        try:
            if self.fault is not None:
                time.sleep(self.fault.wait)
                if self.fault.page is not None:
                    return self._send(200, self.fault.page.encode(), {"Content-Type": "text/html"})
                if self.fault.status is not None:
                    raise _RefusedError(self.fault.status, self.fault.code, self.fault.message)
            for wanted, place, pattern, handle in _ROUTES:
                match = re.fullmatch(pattern, path)
                if wanted == ("GET" if method == "HEAD" else method) and place == self.where and match:
                    with self.hub.state.lock:
                        prepared = handle(self, *match.groups())
                    return self._send(*prepared)
            raise _RefusedError(404, None, f"nothing at {path}")
        except _RefusedError as refused:
            headers = {"X-Error-Message": refused.message}
            if refused.code is not None:
                headers["X-Error-Code"] = refused.code
            self._send(refused.status, json.dumps({"error": refused.message}).encode(), headers)

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        fault = self.fault
        if fault is not None and fault.change is not None:
            body = fault.change(body)
        self.send_response(status)
        sent = {"Content-Length": str(len(body)), "Content-Type": "application/json"} | (headers or {})
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault is not None and fault.cut is not None:
            self.wfile.write(body[: fault.cut])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
        elif fault is not None and fault.pause:
            for start in range(0, len(body), 4096):
                self.wfile.write(body[start : start + 4096])
                time.sleep(fault.pause)
        else:
            self.wfile.write(body)

    # Who may do what.

    def _user(self) -> User | None:
        if self.token is None:
            return None
        if self.token not in self.hub.state.users:
            raise _RefusedError(401, None, "Invalid credentials in Authorization header")
        return self.hub.state.users[self.token]

    def _repository(self, kind: str, name: str, *, write: bool = False, content: bool = False) -> Repository:
        user, found = self._user(), self.hub.state.find(kind, name)
        ours = user is not None and name.partition("/")[0] in (user.name, *user.orgs)
        if found is None or (found.private and not ours):
            raise _RefusedError(401 if user is None else 404, "RepoNotFound", "Repository not found")
        if found.gated and content and not ours:
            raise _RefusedError(403, "GatedRepo", f"Access to model {name} is restricted")
        if write and not (ours and user is not None and user.write):
            raise _RefusedError(
                403, None, "You have read access but not the required permissions for this operation"
            )
        return found

    def _revision(self, repository: Repository, revision: str) -> str:
        found = repository.resolve(revision)
        if found is None:
            raise _RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    # What can be asked.

    def who(self) -> tuple[int, bytes]:
        user = self._user()
        if user is None:
            raise _RefusedError(401, None, "Invalid username or password.")
        return 200, json.dumps({"name": user.name, "orgs": [{"name": org} for org in user.orgs]}).encode()

    def create(self) -> tuple[int, bytes]:
        asked = json.loads(self.body)
        user = self._user()
        name = f"{asked.get('organization') or (user.name if user else '')}/{asked['name']}"
        if user is None:
            raise _RefusedError(401, None, "Invalid username or password.")
        if not user.write or name.partition("/")[0] not in (user.name, *user.orgs):
            raise _RefusedError(403, None, "You don't have the rights to create a model under this namespace")
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
            raise _RefusedError(409, None, "Reference already exists")
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
            raise _RefusedError(422, None, "the object did not arrive whole")
        return 200, b"{}"

    def commit(self, name: str, branch: str) -> tuple[int, bytes]:
        repository = self._repository("model", name, write=True)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if branch not in repository.branches:
            raise _RefusedError(404, "RevisionNotFound", f"Invalid rev id: {branch}")
        if header.get("parentCommit") not in (None, repository.branches[branch]):
            raise _RefusedError(412, None, "A commit has happened since. Please refresh and try again.")
        added: dict[str, Stored] = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                added[value["path"]] = Stored(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in repository.large:
                    raise _RefusedError(400, None, f"LFS pointer to a missing object: {value['path']}")
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
            raise _RefusedError(404, "EntryNotFound", "Entry not found")
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
            raise _RefusedError(404, None, "NoSuchKey")
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
            raise _RefusedError(416, None, "The requested range is not satisfiable")
        return 206, content[start : end + 1], {"Content-Range": f"bytes {start}-{end}/{len(content)}"}


def _metadata(file: Stored) -> dict[str, Any]:
    large = {"sha256": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
    return {"size": len(file.content), "blobId": file.blob} | ({"lfs": large} if file.large else {})


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES: list[tuple[str, str, str, Callable[..., Any]]] = [
    ("GET", "hub", "/api/whoami-v2", _Handler.who),
    ("POST", "hub", "/api/repos/create", _Handler.create),
    ("DELETE", "hub", "/api/repos/delete", _Handler.delete),
    ("POST", "hub", "/api/validate-yaml", _Handler.validate),
    ("GET", "hub", rf"/api/(model|dataset|space)s/{_NAME}(?:/revision/(.+))?", _Handler.info),
    ("GET", "hub", rf"/api/models/{_NAME}/tree/(.+)", _Handler.tree),
    ("GET", "hub", rf"/api/models/{_NAME}/refs", _Handler.refs),
    ("POST", "hub", rf"/api/models/{_NAME}/branch/(.+)", _Handler.branch),
    ("POST", "hub", rf"/api/models/{_NAME}/preupload/(.+)", _Handler.preupload),
    ("POST", "hub", rf"/api/models/{_NAME}/commit/(.+)", _Handler.commit),
    ("POST", "hub", rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    ("POST", "hub", rf"/lfs-verify/{_NAME}", _Handler.verify),
    ("POST", "hub", rf"/lfs-complete/{_NAME}/([0-9a-f]+)", _Handler.complete),
    ("GET", "hub", rf"/{_NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
    ("GET", "storage", rf"/get/{_NAME}/([0-9a-f]+)", _Handler.get),
    ("PUT", "storage", rf"/put/{_NAME}/([0-9a-f]+)", _Handler.put),
    ("PUT", "storage", r"/part/([0-9a-f]+)/(\d+)", _Handler.put_part),
]
