"""Scores with all that was found beside them, as CSV, JSON Lines or Parquet: a row for each recording."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molex_adapt.atomic import write_output
from molex_adapt.data.formats import cell, read_rows, write_rows
from molex_adapt.errors import DataError
from molex_adapt.outputs import Kind, check_file
from molex_adapt.reports import ScoreReport
from molex_adapt.scorefile import SCORE_FILE, SCORE_LINES, Form, Scores, line_name
from molex_adapt.text import storable

TABLE_SUFFIXES = (".csv", ".jsonl", ".parquet")
"""What is written as a table; any other suffix is a score file of the ASVspoof 5 evaluation."""
COLUMNS = (
    "path",
    "score",
    "decision",
    "probability",
    "seconds",
    "speech_seconds",
    "remarks",
    "experts",
    "reason",
)
"""`remarks` are kinds; `experts` those that spoke, the loudest first; `reason` says why a recording has no score."""


def is_table(path: Path) -> bool:
    """Whether scores go to a table by the suffix of the file."""
    return path.suffix.lower() in TABLE_SUFFIXES


def kind_for(path: Path, form: Form = "asvspoof5") -> Kind:
    """What may stand where scores are written, and gives way to them; `form` is that of a score file."""
    if is_table(path):
        return SCORE_TABLE
    return SCORE_LINES if form == "arena" else SCORE_FILE


def write_table(path: Path, report: ScoreReport, names: Sequence[str]) -> None:
    """Write a row for each score, named by `names`, and for each recording that failed.

    Links and pipes are treated as those of a score file; see `write_output`.

    Raises:
        DataError: something else stands there, or it cannot be written.
    """
    check_file(path, SCORE_TABLE)
    rows = [
        [
            storable(name),
            item.score,
            item.decision,
            item.probability,
            item.seconds,
            None if item.heard is None else item.heard.speech_seconds,
            " ".join(remark.kind for remark in item.remarks) or None,
            " ".join(f"{expert}={share:.3f}" for expert, share in item.loudest()) or None,
            None,
        ]
        for name, item in zip(names, report.scores, strict=True)
    ]
    rows += [[line_name(item.path), *[None] * 7, storable(item.reason)] for item in report.failed]
    try:
        write_output(path, _content(path.suffix, rows))
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error}). Expected a writable place. Choose one."
        ) from error


def read_table(path: Path) -> Scores:
    """The scores of such a table; recordings that failed have none and are left out.

    Raises:
        DataError: no table of scores, or a score that is no finite number.
    """
    columns, rows = read_rows(path)
    if not {"path", "score"} <= set(columns):
        raise DataError(
            f"{path} has no columns path and score. Expected a table that molex-adapt score wrote."
        )
    values: dict[str, float] = {}
    for number, row in rows:
        if cell(row.get("score")) is None and cell(row.get("reason")) is not None:
            continue
        if row.get("path") in (None, ""):
            raise DataError(
                f"{path}, row {number}: no path. Expected every recording once, with its path. Mend that row."
            )
        name = str(row["path"])
        try:
            value = float(row.get("score", math.nan))
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not math.isfinite(value) or name in values:
            raise DataError(
                f"{path}, row {number}: score {row.get('score')!r} of {name}. Expected every recording once, with a "
                "finite number. Mend that row."
            )
        values[name] = value
    return Scores(tuple(values), np.array(list(values.values())), str(path))


def _content(suffix: str, rows: list[list[Any]]) -> bytes:
    """The bytes of a table, made aside: the suffix decides the format, and a link's target may have another."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"table{suffix}")
        write_rows(path, list(COLUMNS), rows)
        return path.read_bytes()


def _is_score_table(path: Path) -> bool:
    try:
        return {"path", "score", "decision"} <= set(read_rows(path)[0])
    except DataError:
        return False


SCORE_TABLE = Kind("a table of scores", _is_score_table)
"""What `write_table` may replace."""
