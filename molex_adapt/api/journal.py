"""Scores of a run that is under way, a line each, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TextIO

from molex_adapt.data import Heard, Utterance
from molex_adapt.errors import DataError
from molex_adapt.text import shown
from molex_adapt.windows import UtteranceScore

_KIND = "molex-adapt scores"


class Journal:
    """A file of scores that grows with the run, and is deleted when their table is written.

    A score counts for the file with that path, size and time of change, and for the detector that gave it.
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
        lines = _lines(path)
        if path.exists() and (not lines or lines[0].get("kind") != _KIND):
            raise DataError(f"{path} is there already and is no journal of scores. Move it away.")
        if resume and lines and lines[0] != head:
            raise DataError(
                f"{path} holds scores of another generation of the registry, or of another version. Score everything "
                "again: leave out --resume."
            )
        known = {line["path"]: line for line in lines[1:] if "path" in line} if resume else {}
        file = path.open("w", encoding="ascii")
        file.writelines(json.dumps(line) + "\n" for line in (head, *known.values()))
        file.flush()
        return cls(path, file, known)

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
