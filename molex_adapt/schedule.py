"""The learning-rate schedule of all training: linear warm-up, then a cosine."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(optimiser: Optimizer, steps: int, warmup: float) -> LambdaLR:
    """Rise linearly over `warmup * steps` steps, then fall as a cosine to a hundredth of the rate."""
    rising = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising  # a first step at rate zero would be lost
        done = (step - rising) / max(1, steps - rising)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return LambdaLR(optimiser, factor)
