"""The one learning-rate schedule of all training here."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(optimiser: Optimizer, steps: int, warmup: float) -> LambdaLR:
    """Rise linearly over `warmup * steps` steps, then fall as a cosine to a hundredth."""
    rising = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, steps - rising)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return LambdaLR(optimiser, factor)
