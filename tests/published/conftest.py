"""AntiDeepfake detectors in folders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def antideepfake() -> Callable[..., Any]:
    """Write an AntiDeepfake detector into a folder, and give it as its own code computes it."""
    from tests.published.fairseq_modules import written

    return written
