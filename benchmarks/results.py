"""The one format of results: results/NAME.json, a JSON object with one row a line.

    measurement   what was measured, as the plan names it
    plan          digest of the plan's settings
    recipes       {digest: what of the recipe decided a row's figures}
    makings       {digest: date, machine, code that made a row}
    adopted       settings that came or went after the measurement and were found to decide nothing
    rows          [{name, recipe, made, figures}], `recipe` and `made` being keys of the two above

Rates are fractions, times seconds, memory MiB; what was not measured is null.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.plan import Cell, Plan, digest
from benchmarks.provenance import code_of, machine, today
from molex_adapt.atomic import replace_file

RESULTS = Path(__file__).parent / "results"

Figures = dict[str, Any]


class Making(BaseModel):
    """How a row came about.

    Attributes:
        date: when, ISO 8601.
        machine: as `provenance.machine` describes it.
        code: per part of the package that decides the figures, its digest.
    """

    model_config = ConfigDict(extra="forbid")

    date: str
    machine: dict[str, Any]
    code: dict[str, str]


class Row(BaseModel):
    """One row: figures, the recipe they are of ("" where none decides them) and how they were made."""

    model_config = ConfigDict(extra="forbid")

    name: str
    recipe: str
    made: str
    figures: Figures


class Results(BaseModel):
    """All rows of a plan."""

    model_config = ConfigDict(extra="forbid")

    measurement: str
    plan: str
    recipes: dict[str, dict[str, Any]] = Field({})
    makings: dict[str, Making] = Field({})
    adopted: list[str] = Field([])
    rows: list[Row] = Field([])

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Nothing measured yet."""
        return cls(measurement=plan.measurement, plan=plan.digest)

    @property
    def figures(self) -> dict[str, Figures]:
        """Per row."""
        return {row.name: row.figures for row in self.rows}

    def making(self, name: str) -> Making:
        """Of a row."""
        return self.makings[next(row.made for row in self.rows if row.name == name)]

    def add(
        self,
        plan: Plan,
        cell: Cell,
        figures: Figures,
        code: dict[str, str] | None = None,
        on: dict[str, Any] | None = None,
    ) -> None:
        """Take a row that was measured just now; a former one of the same name goes.

        Args:
            plan: that asked for it.
            cell: which.
            figures: of it.
            code: as it was when measuring began; None for as it is.
            on: the machine; None for this one.
        """
        deciding = plan.deciding(cell.method)
        made = Making(date=today(), machine=on or machine(), code=code or code_of(plan.code))
        recipe = digest(deciding) if deciding else ""
        row = Row(name=cell.name, recipe=recipe, made=digest(made.model_dump()), figures=_plain(figures))
        if recipe:
            self.recipes[recipe] = deciding
        self.makings[row.made] = made
        self.keep([kept for kept in self.rows if kept.name != row.name] + [row])

    def keep(self, rows: list[Row]) -> None:
        """These rows, by name, and of recipes and makings what they name."""
        self.rows = sorted(rows, key=lambda row: row.name)
        self.recipes = {key: self.recipes[key] for key in sorted({row.recipe for row in rows} - {""})}
        self.makings = {key: self.makings[key] for key in sorted({row.made for row in rows})}

    def save(self, path: Path) -> None:
        """Write, all or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, self._text().encode())

    def _text(self) -> str:
        content = self.model_dump(mode="json")
        parts = []
        for key, value in content.items():
            if isinstance(value, list):
                text = "[" + ",".join(f"\n{_line(item)}" for item in value) + "\n]"
            elif isinstance(value, dict):
                text = (
                    "{" + ",".join(f"\n{_line(name)}: {_line(item)}" for name, item in value.items()) + "\n}"
                )
            else:
                text = _line(value)
            parts.append(f"{_line(key)}: {text}")
        return "{\n" + ",\n".join(parts) + "\n}\n"


def load_results(name: str, folder: Path = RESULTS) -> Results | None:
    """What was measured of a plan; None where nothing was.

    Raises:
        ValueError: the file has another form.
    """
    path = folder / f"{name}.json"
    return Results.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


def _line(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _plain(value: Any) -> Any:
    """The same with None for NaN, which JSON does not have, and six significant digits, more than any of it tells."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
