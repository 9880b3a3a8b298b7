"""What counts as rebuilt, and as told apart, in the attempt to rebuild recordings from what is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.inversion import _far, _log_likelihood, _spectra, _told
from molex_adapt.readout.view import Moments, half_of, whole_of
from molex_adapt.rehearsal import Gaussian


def test_a_spectrum_is_rebuilt_whole_or_not_at_all():
    rng = np.random.default_rng(0)
    truth = [rng.normal(3.0, 1.0, (20, 4)) for _ in range(5)]
    own = [rng.normal(0.0, 1.0, (20, 4)) for _ in range(5)]
    assert _spectra(truth, truth, own) == {"spectrum_r2": 1.0, "within_r2": 1.0}
    level = [np.full((20, 4), 3.0) for _ in range(5)]
    found = _spectra(level, truth, own)
    assert found["spectrum_r2"] == pytest.approx(0.9, abs=0.03)  # the level is right: nine of ten parts
    assert found["within_r2"] == pytest.approx(0.0)  # and nothing of what moves


def test_likelihood_tells_what_was_fitted_from_what_lies_elsewhere():
    generator = torch.Generator().manual_seed(0)
    kept, twins = (torch.randn(100, 2, 5, generator=generator) for _ in range(2))
    gaussian = Gaussian.fit(kept, directions=2)
    scores = {"kept": kept, "twins": twins, "own": twins + 3}
    found = _told({name: _log_likelihood(gaussian, reads) for name, reads in scores.items()})
    assert found["member_auroc"] == pytest.approx(0.5, abs=0.1)
    assert found["voice_auroc"] > 0.95


def test_moments_of_few_recordings_tell_who_is_among_them_and_those_of_many_do_not():
    """Fewer recordings than features span what no other recording lies in."""
    generator = torch.Generator().manual_seed(0)
    for count, low, high in ((20, 0.99, 1.0), (4000, 0.45, 0.6)):
        kept, twins = (torch.randn(count, 60, generator=generator) for _ in range(2))
        moments = whole_of(half_of(Moments.of(kept, torch.zeros(count, dtype=torch.int64), 1).mean()))
        far = {name: -_far(moments, rows, 1e-3) for name, rows in (("kept", kept), ("twins", twins))}
        assert low <= _told(far | {"own": far["twins"]})["member_auroc"] <= high
