"""What libraries bring is put aside, and oneDNN keeps little, in a process that is the command's own alone."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest

from molex_adapt.cli.own_process import PutAside

CODE = """
import gc, os, sys
from molex_adapt.cli.app import main
try:
    main({arguments})
except SystemExit:
    pass
kept = os.environ.get("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
print(gc.get_freeze_count(), gc.isenabled(), len(gc.callbacks), kept)
"""


def found(arguments: str, **environment: str) -> list[str]:
    command = [sys.executable, "-c", CODE.format(arguments=arguments), "--version"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN_")}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=plain | environment)
    return ran.stdout.split()[-4:]


def test_what_is_imported_is_put_aside_and_the_collector_goes_on():
    frozen, enabled, callbacks, kept = found("")
    assert int(frozen) > 1000
    assert (enabled, callbacks, kept) == ("True", "1", "64")


def test_what_the_environment_says_of_onednn_stays():
    assert found("", ONEDNN_PRIMITIVE_CACHE_CAPACITY="7")[-1] == "7"


def test_a_caller_in_the_same_process_keeps_its_own_ways():
    assert found('["--version"]') == ["0", "True", "0", "None"]


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
