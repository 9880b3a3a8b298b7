"""What benchmarks left behind."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.workbench import RESULTS


def load(pattern: str) -> list[dict[str, Any]]:
    """The JSON files of a pattern, by name."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(pattern))]


def load_one(name: str) -> dict[str, Any] | None:
    """One of them; None where its benchmark has not run."""
    return next(iter(load(f"{name}.json")), None)
