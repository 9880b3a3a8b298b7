"""Repositories whose files are whole and finite, and would spoil what they come into: refused before they are taken."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from molex_adapt import Registry
from molex_adapt.errors import HubError
from molex_adapt.hub.contents import MIXTURE
from molex_adapt.hub.pack import pack_mixture
from molex_adapt.registry import files, layout
from tests.hub.forging import ADAPTER, EXPERT, arrays, changed, recorded
from tests.hub.repositories import CPU

pytestmark = pytest.mark.hub


@pytest.fixture
def spoils(hub, put, readout_lab, unchanged):
    """Put files into a repository, and see its pull refused by a registry with a mixture and by an empty one."""
    into = {name: readout_lab(name) for name in ("first", "bare")}

    def check(content, words, registries=("first", "bare")):
        name = hub.name("bad")
        put(name, content)
        for registry in registries:
            same = unchanged(into[registry])
            with pytest.raises(HubError, match=words):
                into[registry].pull(name, run=CPU)
            same()

    return check


def with_head(content, record=EXPERT, **parts):
    head = arrays(content, layout.HEAD)
    for name, value in parts.items():
        head[f"readout.{name.replace('__', '.')}"][...] = value
    return changed(content, layout.HEAD, files.dump_tensors(head), record)


def test_the_files_as_they_are_would_be_taken(hub, put, readout_lab, good_readout):
    put(hub.name("good"), good_readout)
    for name in ("first", "bare"):
        assert readout_lab(name).pull(hub.made[-1], run=CPU).activated


def test_witnesses_whose_scores_are_none(spoils, good_readout):
    spoils(with_head(good_readout, weights=3e38), "gives noise a score of")
    spoils(with_head(good_readout, scales=1e12), "gives noise a score of")


def test_an_expert_whose_scores_are_none(spoils, good_readout):
    weights = {name: array * 0 + 6e4 for name, array in arrays(good_readout, ADAPTER).items()}
    spoils(changed(good_readout, ADAPTER, files.dump_tensors(weights)), "gives noise a score of")


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("weights", lambda array: np.float32(1.0)),
        ("scales", lambda array: array[:, 0]),
        ("scales", lambda array: array[:0]),
        ("names", lambda array: np.uint8(65)),
        ("names", None),
        ("of_states.moments", None),
        ("domains", lambda array: np.zeros(2, np.float32)),
        ("surprise", lambda array: np.zeros(2, np.float32)),
    ],
)
def test_a_readout_that_is_not_whole(spoils, good_readout, part, change):
    head = arrays(good_readout, layout.HEAD)
    former = head.pop(f"readout.{part}", None)
    if change is not None:
        head[f"readout.{part}"] = np.asarray(change(former))
    content = changed(good_readout, layout.HEAD, files.dump_tensors(head))
    spoils(content, "was refused: head.safetensors: ")


def test_moments_that_no_recordings_have(spoils, good_readout):
    kept = arrays(good_readout, layout.ROUTING)
    for part, value in (("speech.spectrum", -60000), ("speech.states", 60000)):
        found = {**kept, part: np.full_like(kept[part], value)}
        content = changed(good_readout, layout.ROUTING, files.dump_tensors(found))
        spoils(content, "second moments that no recordings have")
    turned = {**kept, "speech.spectrum": -kept["speech.spectrum"]}
    turned["speech.spectrum"][-1] = 1
    spoils(changed(good_readout, layout.ROUTING, files.dump_tensors(turned)), "second moments that no")
    without = {name: array for name, array in kept.items() if not name.startswith("speech.")}
    content = changed(good_readout, layout.ROUTING, files.dump_tensors(without))
    spoils(with_head(content, of_spectrum__moments=-1.0), "its head's moments", registries=("bare",))


@pytest.mark.parametrize(
    "change",
    [
        {"mixture__calibration": {"scale": 1e300, "offset": 0.0}},
        {"mixture__calibration": {"scale": 1.0, "offset": -1e7}},
        {"mixture__threshold": 1e300},
    ],
)
def test_a_scale_of_scores_that_nothing_has(spoils, good_readout, change):
    spoils(recorded(good_readout, **change), "is believable there", registries=("bare",))


def test_a_mixture_whose_scores_are_none(hub, put, readout_lab, tmp_path):
    content = pack_mixture(readout_lab("ours").store, "lab/mixture", True).files
    whole = {path: body if isinstance(body, bytes) else body.read_bytes() for path, body in content.items()}
    cases = {
        "gives noise a score of": with_head(whole, MIXTURE, weights=3e38),
        "its head's moments": with_head(whole, MIXTURE, of_states__moments=-1.0),
    }
    far = yaml.safe_load(whole[MIXTURE])
    far["generation"]["threshold"] = 1e300
    cases["is believable there"] = {**whole, MIXTURE: yaml.safe_dump(far).encode()}
    for words, files_ in cases.items():
        name = hub.name("bad")
        put(name, files_)
        with pytest.raises(HubError, match=words):
            Registry.pull_mixture(name, tmp_path / "new", run=CPU)
        assert not (tmp_path / "new").exists()
