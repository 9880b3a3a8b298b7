"""A detector's readout, learnt anew with all that the low-level view hears by now."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molex_adapt import Registry, Run
from molex_adapt.api.inputs import PER_ATTACK
from molex_adapt.data import read
from molex_adapt.errors import DataError
from molex_adapt.features import extract, readings_of
from molex_adapt.low_level import POWER, STATISTICS
from tools.wideband import relearn

RUN = Run(workers=1, device="cpu", precision="fp32", cache="off", command="a command")


@pytest.fixture(scope="module")
def former(tmp_path_factory, tiny_folder_of, tiny_recipe, recorded):
    """A detector whose readout learnt when power was all, and the recordings that it was made of."""
    folder = tmp_path_factory.mktemp("former")
    data = recorded(folder / "data", bona_fide=60, buzz=60, hum=60)
    registry = Registry.create(folder / "registry", str(tiny_folder_of()))
    with pytest.MonkeyPatch.context() as then:
        then.setattr("molex_adapt.readout.readout.STATISTICS", POWER)
        registry.train(
            data, experts=PER_ATTACK, recipe=tiny_recipe(head={"readout": True, "width": 8}), run=RUN
        )
    return registry, data


@pytest.fixture(scope="module")
def made(former, tmp_path_factory):
    """The same detector after its readout learnt anew."""
    registry, data = former
    return relearn.relearn(registry.store, data, tmp_path_factory.mktemp("made") / "new", RUN)


def test_the_readout_hears_more_and_experts_stay(former, made):
    registry, data = former
    again = Registry.open(made.path)
    assert (registry.detector().heard, again.detector().heard) == (POWER, STATISTICS)
    assert made.verify() == [] and made.generation().names == registry.store.generation().names == [
        "buzz",
        "hum",
    ]
    for name in ("buzz", "hum"):
        before, after = (store.expert_weights(name) for store in (registry.store, made))
        assert before.keys() == after.keys() and all(
            np.array_equal(before[key], after[key]) for key in before
        )
    former_router, router = registry.store.router_tensors(), made.router_tensors()
    assert all(np.array_equal(former_router[key], router[key]) for key in router)
    record = made.generation()
    assert (record.command, record.parent) == (
        "a command && a command",
        None,
    ) and "bit-identical" in record.remarks[0]
    assert record.metrics["buzz"]["eer"] == made.expert("buzz").metrics["buzz"]["eer"]
    assert len(again.score([next((data / "bonafide").iterdir())]).scores) == 1


def test_exemplars_get_an_estimate_of_what_was_not_heard_of_them(former, made):
    registry, data = former
    before, after = (store.exemplar_tensors("buzz") for store in (registry.store, made))
    assert before["check.statistics"].shape[1] == POWER and after["check.statistics"].shape[1] == STATISTICS
    assert np.array_equal(before["check.statistics"], after["check.statistics"][:, :POWER])
    assert np.array_equal(before["check.frames"], after["check.frames"])
    detector = Registry.open(made.path).detector()
    truth, _ = extract(detector, read(data), RUN)
    readout = detector.head.readout
    own = torch.from_numpy(after["check.statistics"].astype(np.float32))
    # The recordings whose power is that of the exemplars: what is estimated is near what they are.
    at = torch.cdist(own[:, :POWER], truth.statistics[:, :POWER]).argmin(1)
    there = readings_of(detector, truth.pick(at.tolist()))
    heard, estimated = readout.of_spectrum(there.spectrum), readout.of_spectrum(own)
    wrong = (heard[:, POWER:] - estimated[:, POWER:]).square().mean()
    assert wrong < 0.5 * heard[:, POWER:].square().mean()
    assert relearn.completed(after, STATISTICS, None)["check.statistics"] is after["check.statistics"]
    assert relearn.completed(None, STATISTICS, None) is None


def test_data_of_other_domains_is_refused(former, tmp_path, recorded):
    registry, _ = former
    other = recorded(tmp_path / "other", bona_fide=20, buzz=20, click=20)
    with pytest.raises(DataError, match="has domains buzz, click; the experts are buzz, hum"):
        relearn.relearn(registry.store, other, tmp_path / "new", RUN)
    assert not (tmp_path / "new").exists()
