"""Whatever happens on the way: one clear error with a remedy, and a registry that is as it was."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from molex_adapt import Registry
from molex_adapt.errors import HubError
from molex_adapt.hub import read_token
from molex_adapt.registry import files
from tests.hub.forging import ADAPTER, arrays, changed
from tests.hub.repositories import CPU, User

pytestmark = pytest.mark.hub


@pytest.fixture
def pushed(hub, lab):
    """A repository with expert buzz, and a registry that wants it."""
    name = hub.name("buzz")
    lab("ours").hub.push("buzz", name)
    return name, lab("bare")


def test_a_missing_repository(hub, lab, unchanged):
    bare = lab("bare")
    check = unchanged(bare)
    with pytest.raises(
        HubError, match=r"no model repository of this name.*hf auth login.*HF_TOKEN.*--token-file"
    ):
        bare.pull(f"{hub.namespace}/nothing-here")
    with pytest.raises(HubError, match="expected ORG/REPO"):
        bare.pull("https://hub/lab/buzz")
    check()


def test_offline(hub, pushed, monkeypatch, unchanged):
    from huggingface_hub import constants

    name, bare = pushed
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    check = unchanged(bare)
    with pytest.raises(HubError, match=r"HF_HUB_OFFLINE is set.*Unset it"):
        bare.pull(name)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        Registry.open(bare.store.path.parent / "ours").hub.push("buzz", name)
    check()


def test_no_network(hub, pushed, monkeypatch, unchanged):
    import huggingface_hub
    from huggingface_hub import constants

    name, bare = pushed
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", nobody)
    huggingface_hub.close_session()
    check = unchanged(bare)
    with pytest.raises(HubError, match=rf"{nobody} cannot be reached.*Check the network, HF_ENDPOINT"):
        bare.pull(name)
    check()


def test_not_a_hub_at_all(loopback, pushed, unchanged):
    name, bare = pushed
    loopback.fail("GET", "/api/models", page="<html>Welcome to the hotel</html>")
    check = unchanged(bare)
    with pytest.raises(HubError, match=r"did not answer as a Hub does.*Check HF_ENDPOINT"):
        bare.pull(name)
    check()


def test_a_data_set_is_no_model(loopback, lab):
    loopback.state.create("lab/speech", "dataset")
    with pytest.raises(HubError, match="it is a data set, not a model repository"):
        lab("bare").pull("lab/speech")


def test_tokens(loopback, pushed, tmp_path, unchanged):
    name, bare = pushed
    ours = Registry.open(bare.store.path.parent / "ours")
    check = unchanged(bare)
    with pytest.raises(
        HubError, match=r"does not accept the token \(Invalid credentials.*public needs none.*make a new one"
    ):
        bare.pull(name, token="hf_stale")
    with pytest.raises(HubError, match=r"token does not allow it.*write access to this namespace"):
        ours.hub.push("buzz", "somebody/else")
    with pytest.raises(HubError, match=r"token does not allow it"):
        ours.hub.push("hum", "lab/new", token="hf_reader")
    loopback.state.users["hf_member"] = User("member", False, ("lab",))
    with pytest.raises(HubError, match=r"token does not allow it"):
        ours.hub.push("buzz", name, token="hf_member", exemplars=False)
    loopback.state.model(name).gated = True
    with pytest.raises(HubError, match=r"accept its conditions.*Accept them on its page"):
        bare.pull(name, token="hf_reader")
    check()
    (tmp_path / "token").write_text("hf_writer\n")
    assert bare.pull(name, token=read_token(tmp_path / "token"), run=CPU).activated


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff\xfe", "hf_ü".encode()])
def test_a_token_file_that_holds_none(tmp_path, content):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(HubError, match="token alone"):
        read_token(tmp_path / "token")


def test_the_storage_never_sees_the_token(loopback, pushed):
    name, bare = pushed
    bare.pull(name, run=CPU)
    assert {asked.token for asked in loopback.asked if asked.where == "storage"} == {None}
    assert {asked.token for asked in loopback.asked if asked.where == "hub"} == {"hf_writer"}


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_hub_in_trouble(loopback, pushed, status, unchanged):
    name, bare = pushed
    loopback.fail("GET", "/api/models", status=status, times=50)
    check = unchanged(bare)
    with pytest.raises(HubError, match=rf"trouble of its own \(status {status}.*later"):
        bare.pull(name)
    loopback.faults.clear()
    loopback.fail("HEAD", "/resolve/", status=status, times=50)
    with pytest.raises(HubError, match=rf"trouble of its own \(status {status}"):
        bare.pull(name)
    check()
    loopback.faults.clear()
    loopback.fail("HEAD", "/resolve/", status=status, times=1)
    assert bare.pull(name, run=CPU).activated


def test_asked_too_often(loopback, pushed, unchanged):
    name, bare = pushed
    loopback.fail("GET", "/api/models", status=429, times=50)
    check = unchanged(bare)
    with pytest.raises(HubError, match="asked too often"):
        bare.pull(name)
    check()


@pytest.fixture
def small_pieces(monkeypatch):
    """The client keeps what came in pieces of 10 MB; our files are smaller."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)


def test_a_connection_cut_in_a_file_goes_on_where_it_was(loopback, pushed, small_pieces):
    name, bare = pushed
    loopback.fail("GET", "/get/", cut=700)
    assert bare.pull(name, run=CPU).activated
    ranges = [asked.range for asked in loopback.asked if asked.where == "storage" and asked.range]
    assert ranges == ["bytes=700-"]
    assert bare.store.verify() == []


def test_a_connection_that_is_always_cut(loopback, pushed, unchanged):
    name, bare = pushed
    loopback.fail("GET", "/get/", cut=0, times=1000)
    check = unchanged(bare)
    with pytest.raises(HubError, match=r"cut before everything had arrived.*Run the same command again"):
        bare.pull(name)
    check()
    loopback.faults.clear()
    loopback.asked.clear()
    assert bare.pull(name, run=CPU).activated
    again = {Path(asked.path).name for asked in loopback.asked if "/resolve/" in asked.path}
    large = ("adapter_model", "router", "head", "exemplars", "routing")
    assert again == {f"{name}.safetensors" for name in large}  # the small ones were here already


def test_a_range_that_the_storage_does_not_have(loopback, pushed, small_pieces, unchanged):
    name, bare = pushed
    loopback.fail("GET", "/get/", cut=700)
    loopback.fail("GET", "/get/", status=416, message="The requested range is not satisfiable")
    check = unchanged(bare)
    with pytest.raises(HubError, match="could not go on where the transfer was cut"):
        bare.pull(name)
    check()
    assert bare.pull(name, run=CPU).activated


def test_a_slow_hub_is_waited_for(loopback, pushed):
    name, bare = pushed
    loopback.fail("GET", "/api/models", wait=0.5)
    loopback.fail("GET", "/get/", pause=0.05)
    assert bare.pull(name, run=CPU).activated


def test_a_hub_that_does_not_answer(loopback, pushed, monkeypatch, unchanged):
    from huggingface_hub import constants

    name, bare = pushed
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    loopback.fail("GET", "/get/", wait=0.7, times=50)
    check = unchanged(bare)
    with pytest.raises(HubError, match=r"did not answer in time.*HF_HUB_DOWNLOAD_TIMEOUT"):
        bare.pull(name)
    check()


def test_what_was_changed_on_the_way(loopback, pushed, unchanged):
    name, bare = pushed
    loopback.fail("GET", "/get/", change=lambda body: body[:-1] + b"\x01")
    assert bare.pull(name, run=CPU).activated  # the second attempt came through
    bare.store.remove("buzz", purge=True)
    import shutil

    from huggingface_hub import constants

    shutil.rmtree(constants.HF_HUB_CACHE)
    loopback.fail("GET", "/get/", change=lambda body: body[:-1] + b"\x01", times=50)
    check = unchanged(bare)
    with pytest.raises(HubError, match=r"is not what the repository lists, twice"):
        bare.pull(name)
    check()


def test_a_full_disk(hub, pushed, monkeypatch, unchanged):
    import errno

    from huggingface_hub import file_download

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    name, bare = pushed
    monkeypatch.setattr(file_download, "http_get", full)
    check = unchanged(bare)
    with pytest.raises(HubError, match=r"cache is full.*HF_HOME"):
        bare.pull(name)
    check()
    assert not list(Path(bare.store.path).rglob(".staging-*"))


@pytest.mark.parametrize("kind", ["below a file", "below nothing that can be made"])
def test_a_cache_that_has_no_place(hub, pushed, monkeypatch, unchanged, tmp_path, kind):
    from huggingface_hub import constants

    name, bare = pushed
    (tmp_path / "file").touch()
    place = {
        "below a file": tmp_path / "file" / "hub",
        "below nothing that can be made": Path("/proc/none/hub"),
    }
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place[kind]))
    check = unchanged(bare)
    with pytest.raises(HubError, match=r"cache cannot be written .*Set HF_HOME"):
        bare.pull(name)
    check()


def test_a_token_of_other_letters(hub, pushed, monkeypatch, unchanged):
    name, bare = pushed
    monkeypatch.setenv("HF_TOKEN", "hf_schl\u00fcssel")
    check = unchanged(bare)
    with pytest.raises(HubError, match=r"the token holds letters that no token has. Copy it anew"):
        bare.pull(name)
    check()


def test_uploads_survive_a_stumble(loopback, lab, hub):
    name = hub.name("buzz")
    loopback.fail("PUT", "/put/", status=500)
    loopback.fail("POST", "/preupload/", status=503)
    report = lab("ours").hub.push("buzz", name)
    assert report.changed
    assert set(loopback.state.model(name).files()) > set(report.files)


def test_a_push_that_is_cut_off_can_be_repeated(loopback, lab, hub):
    ours, name = lab("ours"), hub.name("buzz")
    loopback.fail("POST", "/commit/", status=500, times=50)
    with pytest.raises(HubError, match=r"push to .* failed: .*trouble of its own"):
        ours.hub.push("buzz", name)
    loopback.faults.clear()
    assert set(loopback.state.model(name).files()) == {".gitattributes"}
    loopback.asked.clear()
    assert ours.hub.push("buzz", name).changed
    assert not [asked for asked in loopback.asked if asked.method == "PUT"]  # large files had arrived


def test_uploads_in_parts(loopback, lab, hub):
    loopback.multipart = True
    ours, name = lab("ours"), hub.name("mixture")
    ours.hub.push(None, name)
    base = ours.store.path / "base" / "model.safetensors"
    assert base.stat().st_size > 64 * 1024
    assert len([asked for asked in loopback.asked if asked.path.startswith("/part/")]) > 2
    assert loopback.state.model(name).files()["base/model.safetensors"].content == base.read_bytes()


def test_somebody_else_was_first(loopback, lab, hub):
    ours, name = lab("ours"), hub.name("buzz")
    ours.hub.push("buzz", name)
    repository = loopback.state.model(name)

    def meanwhile(body):
        repository.put(**{"notes.md": b"theirs"})
        return body

    loopback.fail("POST", "/preupload/", change=meanwhile)
    with pytest.raises(HubError, match=r"somebody else changed the repository meanwhile.*again"):
        ours.hub.push("buzz", name, exemplars=False)
    assert ours.hub.push("buzz", name, exemplars=False).changed
    assert "notes.md" in repository.files()


def test_of_two_who_push_at_once_neither_is_replaced_unseen(loopback, lab, hub, put, good):
    ours, name = lab("ours"), hub.name("buzz")
    other = {key: array + np.float16(0.01) for key, array in arrays(good, ADAPTER).items()}
    theirs = changed(good, ADAPTER, files.dump_tensors(other))

    def meanwhile(body):
        loopback.state.model(name).put(**theirs)
        return body

    loopback.fail("POST", "/preupload/", change=meanwhile)
    with pytest.raises(HubError, match="Look at what it holds now"):
        ours.hub.push("buzz", name)
    with pytest.raises(HubError, match=r"holds expert 'buzz' \(weights .*--replace"):
        ours.hub.push("buzz", name)
    assert loopback.state.model(name).files()[ADAPTER].content == theirs[ADAPTER]


def test_one_repository_of_several_that_cannot_be_asked(loopback, lab, hub):
    ours, theirs = lab("ours"), lab("theirs")
    names = [hub.name("buzz"), hub.name("hum")]
    for expert, name in zip(("buzz", "hum"), names, strict=True):
        ours.hub.push(expert, name)
        theirs.pull(name, run=CPU)
    del loopback.state.known["model", names[0]]
    first, second = theirs.hub.outdated()
    assert "no model repository" in first.problem
    assert (first.newest, second.outdated, second.problem) == (None, False, None)
    del loopback.state.known["model", names[1]]
    with pytest.raises(HubError, match="look at"):
        theirs.hub.outdated()
