"""The demonstration as a user runs it: how long it takes, and what it shows. A cell is a seed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.plan import Cell, Plan
from benchmarks.workbench import WORK

VOICES = {"known": "known_voices", "unheard": "held_out_voice"}
"""Voices that training heard, other recordings of theirs; and the voice that nothing heard."""


def measure(plan: Plan, cells: list[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Seconds, and per domain the EER before and after."""
    WORK.mkdir(exist_ok=True)
    for cell in cells:
        started = time.monotonic()
        told = _json(
            "demo", "--json", "--quiet", "--out", str(WORK / "demo"), "--seed", str(cell.arguments[0])
        )
        yield cell, figures_of(told, time.monotonic() - started)


def figures_of(told: dict[str, Any], seconds: float) -> dict[str, Any]:
    """From the command's JSON."""
    voices = {name: told[key] for name, key in VOICES.items() if told[key]}
    return {
        "seconds": seconds,
        "novel": told["add_expert"]["expert"],
        "activated": told["add_expert"]["activated"],
        "eer": {
            name: {
                domain: [rates["eer"], found["after"][domain]["eer"]]
                for domain, rates in found["before"].items()
            }
            for name, found in voices.items()
        },
        "bona_fide_refused": {
            name: {domain: drift["miss"] for domain, drift in found["drift"].items()}
            for name, found in voices.items()
        },
    }


def _json(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "molex_adapt.cli.app", *arguments]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found
