from __future__ import annotations

import pytest
import torch

from molex_adapt.schedule import warmup_cosine


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.1), (10, 0.0), (1, 0.5)])
def test_rise_then_cosine_to_a_hundredth(steps, warmup):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = warmup_cosine(optimiser, steps, warmup)
    rates = []
    for _ in range(steps + 1):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    rising = max(1, round(steps * warmup))
    assert rates[:rising] == pytest.approx([2.0 * (at + 1) / rising for at in range(rising)])
    assert max(rates) == pytest.approx(2.0)
    assert rates[rising:] == sorted(rates[rising:], reverse=True)
    assert rates[-1] == pytest.approx(0.02 if steps > rising else 2.0)
