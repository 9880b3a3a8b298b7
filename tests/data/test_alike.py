"""Several processes divide the same recordings, or none."""

from __future__ import annotations

import sys
from unittest.mock import MagicMock

import pytest

from molex_adapt import Run
from molex_adapt.analysis.several import observe_together
from molex_adapt.data import Table, read
from molex_adapt.data.alike import require_alike
from molex_adapt.data.audit import audit
from molex_adapt.errors import DataError
from molex_adapt.features import extract, score_table
from molex_adapt.processes import place
from tests.several import in_two


def checked(folder, lost):
    """By one of two processes; one of them misses a file."""
    table = read(folder)
    require_alike(table.with_utterances(table.utterances[1:]) if place()[0] == lost else table)
    return "alike"


@pytest.mark.parametrize("lost", [0, 1])
def test_processes_that_see_other_recordings_refuse_all(recorded, tmp_path, lost):
    folder = recorded(tmp_path / "data", bona_fide=3, buzz=2)
    assert in_two(checked, folder, 7) == ["alike", "alike"]
    counts = ["4 in process 0, 5 in process 1", "5 in process 0, 4 in process 1"][lost]
    for answer in in_two(checked, folder, lost):
        assert isinstance(answer, DataError) and f"see different data: {counts} recordings" in str(answer)


@pytest.mark.parametrize("divided", [audit, score_table, extract, observe_together])
def test_whatever_divides_recordings_asks_first(divided, monkeypatch):
    def refuse(table):
        raise DataError("not alike")

    monkeypatch.setattr(sys.modules[divided.__module__], "require_alike", refuse)
    given = (Table((), "x"), Run())
    with pytest.raises(DataError, match="not alike"):
        divided(*given) if divided is audit else divided(MagicMock(), *given)
