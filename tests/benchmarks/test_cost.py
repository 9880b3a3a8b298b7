from __future__ import annotations

import json

from benchmarks.cost import former


def test_shapes_that_are_not_measured_anew_keep_what_the_same_conditions_found(tmp_path):
    about = {"machine": {"cores": 2}, "rounds": 7}
    path = tmp_path / "cost.json"
    assert former(path, about) == about | {"scoring": {}}
    path.write_text(json.dumps(about | {"scoring": {"embedded": {"fp32": 1}}}))
    assert former(path, about)["scoring"] == {"embedded": {"fp32": 1}}
    assert former(path, about | {"rounds": 3})["scoring"] == {}
