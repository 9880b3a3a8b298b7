"""A hub to speak to, mixtures of two labs on one base, and the client kept off everything else.

`MOLEX_TEST_HUB=URL HF_TOKEN=... pytest -m hub` speaks to that hub instead; tests that need faults are left out then.
"""

from __future__ import annotations

import io
import os
import shutil
import ssl
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from molex_adapt import Registry
from molex_adapt.errors import HubError
from molex_adapt.hub.pack import pack_expert, pack_mixture
from tests.hub.loopback import LoopbackHub
from tests.hub.repositories import CPU, Repository

GIVEN = os.environ.get("MOLEX_TEST_HUB", "").rstrip("/")
TOKEN = os.environ.get("HF_TOKEN")


@dataclass
class Hub:
    """What every test may use, whatever hub it is.

    Attributes:
        url: the endpoint.
        namespace: where repositories may be made.
        token: one that may write there.
        made: repositories to delete in the end.
    """

    url: str
    namespace: str
    token: str
    made: list[str] = field(default_factory=list)

    @property
    def api(self) -> Any:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.url, token=self.token)

    def name(self, stem: str) -> str:
        """ORG/REPO that is free."""
        self.made.append(f"{self.namespace}/{stem}-{uuid.uuid4().hex[:8]}")
        return self.made[-1]

    def files(self, name: str, revision: str | None = None) -> dict[str, Any]:
        """What the hub lists, by path."""
        return {item.path: item for item in self.api.list_repo_tree(name, recursive=True, revision=revision)}

    def upload(self, name: str, content: Mapping[str, bytes | Path]) -> None:
        """Files by path, as they are, in one commit."""
        from huggingface_hub import CommitOperationAdd

        self.api.create_repo(name, exist_ok=True)
        added = []
        for path, body in content.items():
            added.append(
                CommitOperationAdd(path, _Plain(body if isinstance(body, bytes) else body.read_bytes()))
            )
        self.api.create_commit(name, added, commit_message="by hand")

    def environment(self, home: Path) -> dict[str, str]:
        """For another process."""
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))
        }
        return kept | {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }


class _Plain(io.BytesIO):
    """The client sends file objects over plain HTTP; bytes it would hand to Xet, whether the hub has that or not."""


if GIVEN:

    @pytest.fixture(autouse=True)
    def offline() -> None:
        """A hub that was named is no accident: its storage may lie anywhere."""


@pytest.fixture(scope="session", autouse=True)
def certificates_are_read_once() -> Iterator[None]:
    """All sessions of the client share what they trust: reading that takes 30 ms, and every test opens one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session")
def _loopback() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The hub, with the client of this process turned to it."""
    import huggingface_hub
    from huggingface_hub import constants

    if GIVEN:
        url, token = GIVEN, str(TOKEN)
    else:
        url, token = request.getfixturevalue("_loopback").url, "hf_writer"
    monkeypatch.setenv("HF_TOKEN", token)
    home = tmp_path / "hf"
    values = {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
    }
    for name, value in values.items():
        monkeypatch.setattr(constants, name, value)
    huggingface_hub.close_session()
    found = Hub(url, "lab", token)
    if GIVEN:
        found.namespace = found.api.whoami()["name"]
    yield found
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in found.made if GIVEN else ():
        found.api.delete_repo(name, missing_ok=True)
    huggingface_hub.close_session()


@pytest.fixture
def loopback(
    hub: Hub, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LoopbackHub]:
    """The built-in hub itself, to look behind it and to break it; the client's waits between attempts are cut short."""
    if GIVEN:
        pytest.skip("needs the built-in hub")
    import time

    from huggingface_hub import file_download
    from huggingface_hub.utils import _http

    impatient = SimpleNamespace(
        sleep=lambda seconds: time.sleep(min(seconds, 0.01)), monotonic=time.monotonic
    )
    monkeypatch.setattr(_http, "time", impatient)
    monkeypatch.setattr(file_download, "time", impatient)
    found: LoopbackHub = request.getfixturevalue("_loopback")
    found.asked.clear()
    yield found
    found.faults.clear()
    found.multipart = False


@pytest.fixture
def put(loopback: LoopbackHub) -> Callable[..., Repository]:
    """Make a repository past the API, with files by path."""

    def make(name: str, files: dict[str, bytes], **how: Any) -> Repository:
        repository = loopback.state.create(name, **how)
        repository.put(**files)
        return repository

    return make


@pytest.fixture(scope="session")
def _labs(tmp_path_factory: Any, tiny_folder_of: Any, tiny_recipe: Any, recorded: Any) -> dict[str, Path]:
    """`ours` has learnt buzz and then hum; `theirs` tick, with a head and routers of its own; `bare` nothing."""
    folder = tmp_path_factory.mktemp("labs")
    recipe = tiny_recipe(exemplars={"replay": 8, "check": 8}, gate={"tolerance": 1.0})
    base = str(tiny_folder_of())
    buzz = recorded(folder / "buzz", bona_fide=16, buzz=16)
    hum = recorded(folder / "hum", bona_fide=16, first=200, a=1, hum=16)
    shutil.rmtree(hum / "spoof" / "a")  # only there to give hum another pitch
    tick = recorded(folder / "tick", bona_fide=16, first=400, a=1, b=1, tick=16)
    for name in ("a", "b"):
        shutil.rmtree(tick / "spoof" / name)
    ours = Registry.create(folder / "ours", base)
    for domain, data in (("buzz", buzz), ("hum", hum)):
        ours.add_expert(data, accept=True, domain=domain, recipe=recipe, licence="cc-by-4.0", run=CPU)
    theirs = Registry.create(folder / "theirs", base)
    theirs.add_expert(tick, accept=True, domain="tick", recipe=recipe, run=replace(CPU, seed=5))
    Registry.create(folder / "bare", base)
    assert len(ours.store.experts()) == 2, "the gate refused an expert: no use for these tests"
    return {name: folder / name for name in ("ours", "theirs", "bare", "buzz", "hum", "tick")}


@pytest.fixture
def lab(_labs: dict[str, Path], tmp_path: Path) -> Callable[[str], Registry]:
    """A copy of one lab's registry."""

    def copy(name: str) -> Registry:
        shutil.copytree(_labs[name], tmp_path / name)
        return Registry.open(tmp_path / name)

    return copy


@pytest.fixture(scope="session")
def _readouts(_labs: dict[str, Path], tmp_path_factory: Any, tiny_folder_of: Any, tiny_recipe: Any) -> Path:
    """With a readout: `first` has learnt buzz, `ours` the same and then hum, `apart` tick; `bare` nothing."""
    folder = tmp_path_factory.mktemp("readouts")
    nothing = {"replay": 0, "check": 0}
    recipe = tiny_recipe(head={"readout": True}, gate={"tolerance": 1.0, "refused": 1.0}, exemplars=nothing)
    for name, domain in (("ours", "buzz"), ("apart", "tick")):
        made = Registry.create(folder / name, str(tiny_folder_of()))
        made.add_expert(_labs[domain], accept=True, domain=domain, recipe=recipe, run=CPU)
    shutil.copytree(folder / "ours", folder / "first")
    ours = Registry.open(folder / "ours")
    ours.add_expert(_labs["hum"], accept=True, domain="hum", recipe=recipe, run=CPU)
    Registry.create(folder / "bare", str(tiny_folder_of()))
    return folder


@pytest.fixture
def readout_lab(_readouts: Path, tmp_path: Path) -> Callable[[str], Registry]:
    """A copy of one lab's registry with a readout."""

    def copy(name: str) -> Registry:
        shutil.copytree(_readouts / name, tmp_path / "readouts" / name)
        return Registry.open(tmp_path / "readouts" / name)

    return copy


@pytest.fixture(scope="session")
def good_readout(_readouts: Path) -> dict[str, bytes]:
    """What a push of expert hum with a readout uploads, by path."""
    store = Registry.open(_readouts / "ours").store
    return {path: bytes(body) for path, body in pack_expert(store, "hum", "lab/hum", True).files.items()}  # type: ignore[arg-type]


@pytest.fixture
def data(_labs: dict[str, Path]) -> Callable[[str], Path]:
    """A lab's recordings of one domain."""
    return lambda name: _labs[name]


@pytest.fixture
def unchanged() -> Callable[[Registry], Callable[[], None]]:
    """Take a picture of a registry; the answer asserts that it still looks like that, and is whole."""

    def picture(registry: Registry) -> dict[str, bytes]:
        root = registry.store.path
        found = (path for path in sorted(root.rglob("*")) if path.is_file() and ".lock" not in path.name)
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}

    def watch(registry: Registry) -> Callable[[], None]:
        before = picture(registry)

        def check() -> None:
            assert picture(registry) == before
            assert registry.store.verify() == []

        return check

    return watch


@pytest.fixture(scope="session")
def good(_labs):
    """What a push of expert buzz uploads, by path."""
    store = Registry.open(_labs["ours"]).store
    return {path: bytes(body) for path, body in pack_expert(store, "buzz", "lab/buzz", True).files.items()}


@pytest.fixture(scope="session")
def whole(_labs):
    """What a push of the mixture uploads, by path."""
    store = Registry.open(_labs["ours"]).store
    content = pack_mixture(store, "lab/mixture", True).files
    return {path: body if isinstance(body, bytes) else body.read_bytes() for path, body in content.items()}


@pytest.fixture
def refuses(hub, put, lab, unchanged):
    """Put files into a repository, and see the pull of it refused with certain words, the registry unchanged."""
    into = {}

    def check(content, words, error=HubError, registry="theirs", **options):
        name = hub.name("bad")
        put(name, content)
        if registry not in into:
            into[registry] = lab(registry)
        same = unchanged(into[registry])
        with pytest.raises(error, match=words) as caught:
            into[registry].pull(name, run=CPU, **options)
        same()
        assert all(line.isprintable() for line in str(caught.value).split("\n"))
        return name

    return check
