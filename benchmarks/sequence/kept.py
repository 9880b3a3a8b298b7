"""sequence.json: the figures of every run, from which later calls go on."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.sequence.domains import Domains
from benchmarks.sequence.plan import Cell, Plan
from molex_adapt.conventions import BONA_FIDE

Figures = dict[str, Any]


@dataclass
class Kept:
    """What is known of a plan.

    Attributes:
        domains: per domain, how much speech it has.
        runs: figures by the name of their cell.
    """

    domains: dict[str, Figures] = field(default_factory=dict)
    runs: dict[str, Figures] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, plan: Plan) -> Kept:
        """Read; what another plan or another form of a variant made is left out."""
        if not path.exists():
            return cls()
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("fingerprint") != fingerprint(plan):
            return cls()
        runs = {
            _name(run): run for run in content["runs"] if run["overrides"] == plan.overrides(run["method"])
        }
        return cls(content["domains"], runs)

    def add(self, figures: Figures) -> None:
        """Take one run's figures; a former run of the same cell goes."""
        self.runs[_name(figures)] = _plain(figures)

    def save(self, path: Path, plan: Plan) -> None:
        """Write, all or nothing."""
        content = {
            "fingerprint": fingerprint(plan),
            "plan": plan.model_dump(mode="json"),
            "domains": _plain(self.domains),
            "runs": [self.runs[name] for name in sorted(self.runs)],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=0, separators=(",", ":")) + "\n", encoding="utf-8")
        os.replace(partial, path)


def fingerprint(plan: Plan) -> str:
    """Of everything in a plan that decides a cell's figures; not of which cells there are."""
    content = plan.model_dump(mode="json", exclude={"runs", "options", "variants"})
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def described(domains: Domains, name: str) -> Figures:
    """How much speech a domain has."""
    table = domains.tables[name]
    parts = {"train": "train", "dev": "dev", "test": "test", "held_out": None}
    return {
        "utterances": len(table),
        "speakers": len({item.speaker for item in table}),
        "minutes": round(domains.minutes[name], 1),
        "pairs": {
            part: sum(item.split == split and item.label == BONA_FIDE for item in table)
            for part, split in parts.items()
        },
    }


def _name(figures: Figures) -> str:
    return Cell(method=figures["method"], order=figures["order"], seed=figures["seed"]).name


def _plain(value: Any) -> Any:
    """The same with None for NaN, which JSON does not have, and five digits, which are more than it tells."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value
