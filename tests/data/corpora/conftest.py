from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.corpora.trees import TREES


@pytest.fixture
def tree(tmp_path) -> Callable[[str], Path]:
    """The root of a small tree of the corpus with that name."""

    def make(name: str) -> Path:
        root = tmp_path / "corpus"
        root.mkdir()
        return TREES[name](root)

    return make
