"""Gaussians of routing inputs: fitted, moved to other units, drawn."""

from __future__ import annotations

import pytest
import torch

from molex_adapt.rehearsal import Gaussian, Remembered, rehearse


@pytest.fixture
def reads() -> torch.Tensor:
    """(N, L, D) in which two channels move together and one hardly moves."""
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(400, 2, 6, generator=generator)
    found[:, 0, 1] = 2 * found[:, 0, 0] + 5
    found[:, 1, 2] *= 1e-3
    return found


def test_draws_have_mean_and_covariance_of_what_was_read(reads):
    drawn = Gaussian.fit(reads, directions=2).draw(20_000, torch.Generator().manual_seed(1))
    assert drawn.shape == (20_000, 2, 6)
    torch.testing.assert_close(drawn.mean(0), reads.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.var(0), reads.var(0), atol=0.15, rtol=0.05)
    assert torch.corrcoef(drawn[:, 0, :2].T)[0, 1] > 0.98  # the first direction is kept
    assert abs(torch.corrcoef(torch.stack([drawn[:, 0, 0], drawn[:, 1, 0]]))[0, 1]) < 0.03


def test_all_directions_keep_the_whole_covariance(reads):
    found = Gaussian.fit(reads, directions=6)
    expected = torch.stack([torch.cov(reads[:, block].T) for block in range(2)])
    torch.testing.assert_close(torch.einsum("lrd,lre->lde", found.directions, found.directions), expected)
    assert float(found.rest.max()) < 1e-5
    torch.testing.assert_close(found.variance, reads.var(0))
    assert found.utterances == 400


def test_other_routers_read_the_same_speech_in_their_own_units(reads):
    centre, spread = torch.full((2, 6), 2.0), torch.full((2, 6), 0.5)
    kept = Remembered(None, Gaussian.fit(reads), torch.zeros(2, 6), torch.ones(2, 6))
    (found,) = kept.read_by(centre, spread).classes
    expected = Gaussian.fit((reads - centre) / spread)
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.variance, expected.variance)


def test_few_utterances_have_few_directions(reads):
    found = Gaussian.fit(reads[:3])
    assert found.directions.shape == (2, 3, 6)
    assert torch.isfinite(found.draw(2, torch.Generator())).all()


def test_domains_share_the_draws(reads):
    kept = [Gaussian.fit(reads), Gaussian.fit(reads + 100)]
    found = rehearse(kept, 10, seed=0)
    assert found is not None and found.shape == (10, 2, 6)
    assert (found[:5].mean() < 50) and (found[5:].mean() > 50)
    assert torch.equal(found, rehearse(kept, 10, seed=0))
    assert len(rehearse(kept, 1, seed=0)) == 2
    assert rehearse([], 10, seed=0) is None
