from __future__ import annotations

import torch

from benchmarks.adaptation import restored
from benchmarks.workbench import detector_on
from molex_adapt.calibration import Calibration
from molex_adapt.train.stages import append_expert


def test_a_way_leaves_nothing_to_the_next(tiny_folder_of, tiny_recipe):
    recipe = tiny_recipe()
    detector = detector_on(tiny_folder_of(), recipe)
    for seed, name in enumerate(("a", "b")):
        append_expert(detector, name, recipe, seed)
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    calibration = detector.calibration
    with restored(detector):
        append_expert(detector, "new", recipe, 5)
        with torch.no_grad():
            for weight in (*detector.mixture.router_rows("a"), *detector.head.parameters()):
                weight += 1
        detector.calibration = Calibration(2.0, 1.0)
    assert detector.mixture.names == ["a", "b"]
    assert detector.calibration == calibration
    after = detector.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
