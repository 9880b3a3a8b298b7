"""The folder that scores of many workers go to: parts, and the one table that they become.

A part is a table of scores as `molex-adapt score --out` writes it. It is named after the recordings in it and written
whole or not at all: a piece that is done again replaces its own part, and adds none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from molex_adapt.atomic import replace_file, replacing
from molex_adapt.data import Failed
from molex_adapt.decision import DecisionRule
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError
from molex_adapt.outputs import Kind, check_folder
from molex_adapt.reports import ScoreReport
from molex_adapt.scorefile import line_name
from molex_adapt.scoretable import write_table

SCORES = "scores.parquet"
_RUN = "cluster.json"
_KIND = "molex-adapt cluster scores"


@dataclass(frozen=True)
class PartsFolder:
    """Where parts lie, on a disk that driver and workers share."""

    path: Path

    @classmethod
    def open(cls, path: Path, detector: str, rule: DecisionRule, inputs: Sequence[Path]) -> PartsFolder:
        """Make the folder, or go on with that of an earlier run.

        Args:
            path: new, empty, or written by the same detector and rule.
            detector, rule: text that tells its scores from those of any other, and how scores are read.
            inputs: what is read, and may not lie there.

        Raises:
            DataError: it holds something else, scores of another detector, or scores that were read otherwise.
        """
        check_folder(path, SCORE_PARTS, inputs)
        head = {"kind": _KIND, "detector": detector, "rule": asdict(rule)}
        if not (path / _RUN).exists():
            path.mkdir(parents=True, exist_ok=True)
            replace_file(path / _RUN, json.dumps(head).encode())  # first: a kill leaves a folder that is ours
        elif _head(path) != head:
            raise DataError(
                f"{path} holds scores of another generation, another version, or another --prior or --error. Expected "
                "those of this run, to go on with. Name a new folder by --out."
            )
        (path / "parts").mkdir(exist_ok=True)
        for left in (path / "parts").glob("begun-*"):
            left.unlink()
        return cls(path)

    def begin(self, paths: Sequence[str]) -> int:
        """Note that a piece is begun, until it is written; how often it was begun before."""
        with self._begun(paths).open("ab") as file:
            file.write(b".")
            return file.tell() - 1

    def write(self, report: ScoreReport) -> None:
        """Write what a piece came to."""
        names = [line_name(item.path) for item in report.scores]
        paths = [*(item.path for item in report.scores), *(item.path for item in report.failed)]
        write_table(self.path / "parts" / f"part-{_name(paths)}.parquet", report, names)
        self._begun(paths).unlink(missing_ok=True)

    def scored(self) -> set[str]:
        """Names of the recordings that have a score in a part."""
        table = self._read(["path", "score"])
        if table is None:
            return set()
        rows = zip(table["path"].to_pylist(), table["score"].to_pylist(), strict=True)
        return {name for name, score in rows if score is not None}

    def merge(self, names: Sequence[str]) -> tuple[Failed, ...]:
        """Write one table of all named recordings, in their order; a score replaces an earlier failure.

        Returns:
            Those that have no score, and why.

        Raises:
            DataError: a recording is missing, or has two scores.
        """
        from pyarrow import parquet

        table = self._read(None)
        if table is None:
            raise DataError(f"{self.path} holds no scores. Run the same command again.")
        places: dict[str, int] = {}
        scores = table["score"].to_pylist()
        for at, name in enumerate(table["path"].to_pylist()):
            former = places.get(name)
            if former is None or scores[former] is None:
                places[name] = at
            elif scores[at] is not None:
                raise DataError(
                    f"{self.path} has two scores of {name}. Expected one. Another run may be writing there: wait for "
                    "it, or name a new folder by --out."
                )
        missing = [name for name in names if name not in places]
        if missing:
            raise DataError(
                f"{self.path} has no row for {len(missing)} of {len(names)} recordings, such as {missing[0]}. Expected "
                "each once. Run the same command again."
            )
        order = [places[name] for name in names]
        with replacing(self.path / SCORES) as staged:
            parquet.write_table(table.take(order), staged)
        reasons = table["reason"].to_pylist()
        return tuple(
            Failed(name, reasons[at]) for name, at in zip(names, order, strict=True) if scores[at] is None
        )

    def _begun(self, paths: Sequence[str]) -> Path:
        return self.path / "parts" / f"begun-{_name(paths)}"

    def _read(self, columns: list[str] | None) -> Any:
        """All parts as one table of Arrow; None where there are none."""
        import pyarrow
        from pyarrow import parquet

        # The newest come last: a failure may have another reason since.
        paths = sorted(
            (self.path / "parts").glob("part-*.parquet"),
            key=lambda path: (path.stat().st_mtime_ns, path.name),
        )
        try:
            # One by one: a column of a part in which nothing stands has no type, and the name no hive partition.
            tables = [parquet.ParquetFile(path).read(columns=columns) for path in paths]
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"a part in {self.path / 'parts'} cannot be read ({error}). Delete that part and run the same command "
                "again."
            ) from error
        return pyarrow.concat_tables(tables, promote_options="permissive") if tables else None


def _name(paths: Sequence[str]) -> str:
    """What tells a piece from others, whatever the order in which its recordings were done."""
    return sha256(*sorted(map(line_name, paths)))[:24]


def _head(path: Path) -> Any:
    try:
        return json.loads((path / _RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _is_ours(path: Path) -> bool:
    head = _head(path)
    return isinstance(head, dict) and head.get("kind") == _KIND


SCORE_PARTS = Kind("a folder of scores that molex-adapt cluster score wrote", _is_ours)
"""What `PartsFolder.open` goes on with."""
