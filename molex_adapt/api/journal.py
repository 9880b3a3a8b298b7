"""Scores of a run that is under way, a line each, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from glob import escape
from pathlib import Path
from typing import Any, Self, TextIO

from molex_adapt.atomic import replace_file
from molex_adapt.data import Heard, Utterance
from molex_adapt.errors import DataError
from molex_adapt.processes import from_first, is_first, place
from molex_adapt.text import shown
from molex_adapt.windows import UtteranceScore

_KIND = "molex-adapt scores"


class Journal:
    """A file of scores that grows with the run, and is deleted when their table is written.

    A score counts for the file with that path, size and time of change, and for the detector that gave it. Of several
    processes each has a file of its own beside the first one's; all know what stands in any of them.
    """

    def __init__(self, path: Path, file: TextIO, known: dict[str, dict[str, Any]]) -> None:
        self.path = path
        self._file = file
        self._known = known

    @classmethod
    def open(cls, path: Path, detector: str, resume: bool) -> Self:
        """Go on with a journal, or begin one over what an earlier run left.

        Args:
            path: of the journal; its folder must exist.
            detector: says which detector scores; another one's journal is not gone on with.
            resume: whether to go on.

        Raises:
            DataError: another kind of file stands there, or, to go on with, scores of another detector.
            OSError: it cannot be written.
        """
        head = {"kind": _KIND, "detector": detector}
        known = from_first(lambda: _taken_over(path, head, resume))
        if not is_first():
            path = _piece(path, place()[0])
            _write(path, [head])
        return cls(path, path.open("a", encoding="ascii"), known)

    def known(self, item: Utterance) -> UtteranceScore | None:
        """The score of a recording that an earlier run gave, if the file is still the same."""
        line = self._known.get(str(item.path))
        if line is None or line["stamp"] != _stamp(item.path):
            return None
        heard = Heard(**line["heard"])
        return UtteranceScore(item, line["score"], line["seconds"], heard, line["experts"], line["lowest"])

    def add(self, scored: UtteranceScore) -> None:
        """Keep a score; it survives a kill at any later moment."""
        path = scored.utterance.path
        line = {
            "path": str(path),
            "stamp": _stamp(path),
            "score": scored.score,
            "seconds": scored.seconds,
            "experts": scored.experts,
            "lowest": scored.lowest,
            "heard": asdict(scored.heard),
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Let go of the file; it stays."""
        self._file.close()


def discard_journal(path: Path) -> None:
    """Delete a journal, when the table of its scores is written."""
    with suppress(OSError):
        for found in (path, *_pieces(path)):
            found.unlink(missing_ok=True)


def _taken_over(path: Path, head: dict[str, Any], resume: bool) -> dict[str, dict[str, Any]]:
    """What earlier processes left, by path of the recording; it stands in the first journal alone afterwards."""
    known: dict[str, dict[str, Any]] = {}
    pieces = _pieces(path)
    for found in (path, *pieces):
        lines = _lines(found)
        # An empty one is what a kill before the first line leaves.
        if found.exists() and found.stat().st_size and (not lines or lines[0].get("kind") != _KIND):
            raise DataError(f"{found} is there already and is no journal of scores. Move it away.")
        if resume and lines and lines[0] != head:
            raise DataError(
                f"{found} holds scores of another generation of the registry, or of another version. Score everything "
                "again: leave out --resume."
            )
        known |= {line["path"]: line for line in lines[1:] if "path" in line} if resume else {}
    _write(path, [head, *known.values()])
    for found in pieces:
        found.unlink(missing_ok=True)
    return known


def _write(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Replace a journal; a kill meanwhile leaves the scores of the former one."""
    replace_file(path, "".join(json.dumps(line) + "\n" for line in lines).encode("ascii"))


def _piece(path: Path, rank: int) -> Path:
    """Where another process than the first keeps its scores."""
    return path.with_name(f"{path.name}.process{rank}")


def _pieces(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{escape(path.name)}.process*"))


def _stamp(path: Path) -> list[int]:
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _lines(path: Path) -> list[dict[str, Any]]:
    """What stands in a journal; a last line that was not finished is left out."""
    if not path.exists():
        return []
    try:
        texts = path.read_text(encoding="ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({shown(str(error))}). Move it away.") from error
    found = []
    for text in texts:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            found.append(line)
    return found
