from __future__ import annotations

import torch

from molex_adapt.train.reads import reads_of


def test_reads_are_what_routers_read_whatever_the_batch(detector_of, features_of, tiny_recipe):
    detector = detector_of(tiny_recipe(), "world", "opus")
    features = features_of(4)
    together = reads_of(detector, features)
    assert together.shape == (8, 2, 32)
    for row in (0, 5):
        assert torch.allclose(reads_of(detector, features.pick([row]))[0], together[row], atol=1e-5)
