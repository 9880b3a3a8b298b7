"""Every benchmark imports: a name that moved breaks a run of an hour, and nobody runs them daily."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import benchmarks

MODULES = [
    found.name
    for found in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")
    if not found.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_it_imports_and_says_what_it_is(name):
    assert importlib.import_module(name).__doc__
