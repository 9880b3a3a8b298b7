"""A headless Chromium that is spoken to through two pipes; no socket, no further library."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_PATIENCE = 60.0


class Browser:
    """One page of a browser; notes what it says on its console and every request that it makes."""

    def __init__(self, profile: Path) -> None:
        # Chromium speaks on descriptors 3 and 4: those that are put there must not lie there already.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (*os.pipe(), *os.pipe())]
        read_here, write_there, read_there, write_here = ends
        command = (
            f"exec {CHROMIUM} --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
            f"--user-data-dir={profile} --remote-debugging-pipe about:blank "
            f"3<&{read_there} 4>&{write_there} 2>/dev/null"
        )
        self.process = subprocess.Popen(["bash", "-c", command], pass_fds=(read_there, write_there))
        os.close(read_there)
        os.close(write_there)
        self._in, self._out = write_here, read_here
        self._rest, self._number = b"", 0
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        self._context: str | None = None

    def begin(self, width: int = 1280, height: int = 900) -> None:
        """A new page that knows nothing of those before it."""
        self.session = None
        if self._context is not None:
            self.call("Target.disposeBrowserContext", {"browserContextId": self._context})
        self._context = self.call("Target.createBrowserContext")["browserContextId"]
        where = {"url": "about:blank", "browserContextId": self._context}
        target = self.call("Target.createTarget", where)["targetId"]
        self.session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params or {}}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found["result"]
            self.events.append(found)
        raise TimeoutError(method)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._out, 2**20)
            assert part, "the browser is gone"
            self._rest += part
        one, _, self._rest = self._rest.partition(b"\0")
        return json.loads(one)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", size)

    def open(self, path: Path) -> None:
        """Load a file and wait until its tables are filled; charts are drawn as they come into sight."""
        self.events.clear()
        self.call("Page.navigate", {"url": path.as_uri()})
        self.wait("document.readyState === 'complete' && !!document.querySelector('[data-table] tbody tr')")

    def wait(self, condition: str) -> None:
        end = time.monotonic() + _PATIENCE
        while not self.value(condition):
            assert time.monotonic() < end, f"never: {condition}"
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """What an expression, or the promise of one, comes to."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        found = self.call("Runtime.evaluate", asked)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings on the console, and exceptions."""
        self.value("1")
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                found.append(str([item.get("value") for item in params["args"]]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
        return found

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for, but for what lies in the page itself."""
        self.value("1")
        asked = [
            e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in asked if not url.startswith(("data:", "blob:", "about:"))]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._in)
        os.close(self._out)
