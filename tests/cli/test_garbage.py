"""What libraries bring is put aside, in a process that is the command's own alone."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from molex_adapt.cli.garbage import PutAside

CODE = """
import gc, sys
from molex_adapt.cli.app import main
try:
    main({arguments})
except SystemExit:
    pass
print(gc.get_freeze_count(), gc.isenabled(), len(gc.callbacks))
"""


def counts(arguments: str) -> list[str]:
    command = [sys.executable, "-c", CODE.format(arguments=arguments), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-3:]


def test_what_is_imported_is_put_aside_and_the_collector_goes_on():
    frozen, enabled, callbacks = counts("")
    assert int(frozen) > 1000
    assert (enabled, callbacks) == ("True", "1")


def test_a_caller_in_the_same_process_keeps_its_collector():
    assert counts('["--version"]') == ["0", "True", "0"]


@pytest.fixture
def uncalled():
    """What the collector calls in all tests, `tests/conftest.py`, it does not call here."""
    callbacks = list(gc.callbacks)
    gc.callbacks.clear()
    yield
    gc.callbacks.extend(callbacks)


def test_nothing_is_put_aside_when_imports_are_over(uncalled):
    put_aside = PutAside()
    put_aside("stop", {})
    before = gc.get_freeze_count()
    kept = [[] for _ in range(1000)]
    put_aside("stop", {})
    assert gc.get_freeze_count() <= before
    assert len(kept) == 1000
