"""Experts and mixtures there and back again, through the real client."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from molex_adapt import Registry
from molex_adapt.registry import layout

pytestmark = pytest.mark.hub


def test_an_expert_goes_back_to_where_it_was(hub, lab):
    ours = lab("ours")
    name = hub.name("hum")
    pushed = ours.push("hum", name)
    before = {path: path.read_bytes() for path in (ours.store.path / "experts").rglob("*") if path.is_file()}
    rows = ours.store.router_tensors()
    ours.store.remove("hum", purge=True)
    report = ours.pull(name, device="cpu")
    assert (report.activated, report.rows, report.commit) == (True, "carried", pushed.commit)
    after = ours.store.router_tensors()
    for key, array in rows.items():
        assert np.array_equal(after[key], array), key
    folder = ours.store.expert_folder("hum")
    for file in (layout.ADAPTER, layout.EXEMPLARS, layout.ADAPTER_CONFIG):
        assert (folder / file).read_bytes() == before[folder / file]
    record = ours.store.expert("hum")
    assert record.origin is not None
    assert (record.origin.repository, record.origin.commit) == (name, pushed.commit)
    assert set(report.before) == set(report.after) == {"buzz", "hum"}
    assert ours.store.verify() == []
