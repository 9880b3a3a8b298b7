from __future__ import annotations

import pytest

from molex_adapt import Run
from molex_adapt.errors import RecipeError


@pytest.mark.parametrize("seed", [2**53 + 1, -(2**60), 10**5000], ids=["one more", "negative", "huge"])
def test_a_seed_that_the_history_cannot_hold_is_refused_at_once(seed):
    with pytest.raises(RecipeError, match="beyond 9007199254740992; choose a smaller one"):
        Run(seed=seed)


def test_other_seeds_are_taken():
    assert [Run(seed=seed).seed for seed in (0, -3, 2**53)] == [0, -3, 2**53]
