"""The test suite's device tests, and which of them passed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.gpu.setting import Findings, Setting

TESTS = Path(__file__).parents[2] / "tests" / "device"


def run(setting: Setting, found: Findings) -> None:
    """All of them; on a card the same tests run on the CPU and on it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        status = pytest.main([str(TESTS), "-p", "no:cacheprovider", "-W", "ignore", f"--junitxml={report}"])
        found.add("tests", _read(report) | {"exit": int(status)})
    if setting.device.type == "cuda" and not found.values["tests"]["on_cuda"]:
        raise RuntimeError("no test ran on the card")
    if int(status):
        raise RuntimeError(f"pytest ended with {int(status)}; see tests.failed")


def _read(report: Path) -> dict[str, Any]:
    cases = list(ElementTree.parse(report).iter("testcase"))
    outcomes: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
    for case in cases:
        name = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}"
        bad = [item for item in case if item.tag in ("failure", "error")]
        if bad:
            outcomes["failed"].append(f"{name}: {(bad[0].get('message') or '')[:400]}")
        else:
            outcomes["skipped" if case.find("skipped") is not None else "passed"].append(name)
    return {
        "passed": len(outcomes["passed"]),
        "on_cuda": sum("cuda" in name for name in outcomes["passed"]),
        "failed": outcomes["failed"],
        "skipped": outcomes["skipped"],
        "slowest": {
            case.get("name"): float(case.get("time") or 0)
            for case in sorted(cases, key=lambda case: -float(case.get("time") or 0))[:5]
        },
    }
