"""A small Hugging Face Hub on loopback: enough of its HTTP for the real client, and faults on demand.

Two servers, as in life: the hub itself, and the storage that large files are redirected to, which must never see a
token. What is not asked by huggingface_hub for models is not here.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.hub.answers import ROUTES, Answers, RefusedError
from tests.hub.repositories import Repositories, User


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
    """Whether large files are uploaded in parts of `answers.PART` bytes."""

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


class _Handler(Answers):
    disable_nagle_algorithm = (
        True  # headers and body go out apart, and would wait for an acknowledgement between
    )
    protocol_version = "HTTP/1.1"
    timeout = 60
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
                    raise RefusedError(self.fault.status, self.fault.code, self.fault.message)
            for wanted, place, pattern, handle in ROUTES:
                match = re.fullmatch(pattern, path)
                if wanted == ("GET" if method == "HEAD" else method) and place == self.where and match:
                    with self.hub.state.lock:
                        prepared = handle(self, *match.groups())
                    return self._send(*prepared)
            raise RefusedError(404, None, f"nothing at {path}")
        except RefusedError as refused:
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
