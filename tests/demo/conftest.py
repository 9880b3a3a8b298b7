from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from molex_adapt.demo.report import DemoReport
from tests.demo.reports import report_of as made_by_hand


@pytest.fixture
def report_of(tmp_path) -> Callable[..., DemoReport]:
    return partial(made_by_hand, tmp_path)
