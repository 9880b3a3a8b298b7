"""Trials of speaker verification (ASV) with their scores, in the forms that the ASVspoof challenges have.

    form             a line                                        scores are   labels
    ASVspoof 2019    bonafide target 36.78                         ASV's        in the line
    ASVspoof 2021    LA_0015 LA_E_1103494 6.96                     ASV's        in a key, trial_metadata.txt
    ASVspoof 5       spk filename cm-score asv-score sasv-score    both         in a key, or a column asv-label
    SASV, a-DCF      LA_0015 LA_E_1103494 6.96 target              SASV's       in the line

Only that of ASVspoof 5 has a header. Fields are separated by blanks or tabs; a score that a system lacks is "-".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from molex_adapt.data.formats import read_text
from molex_adapt.errors import DataError
from molex_adapt.text import shown

TARGET, NONTARGET, SPOOF = "target", "nontarget", "spoof"
KINDS = (TARGET, NONTARGET, SPOOF)

Scores: TypeAlias = NDArray[np.float64]

_NAMES = {"tar_spk_anon": "spk", "trial_anon": "filename", "asv_label": "asv-label"}
"""Headings of the organisers' full key."""
_EXPECTED = (
    "Expected lines of `bonafide target SCORE` (ASVspoof 2019), `SPEAKER FILE SCORE` with a key (2021), `SPEAKER FILE "
    "SCORE target` (a-DCF), or a header with spk, filename and asv-score or sasv-score (ASVspoof 5)."
)


@dataclass(frozen=True, slots=True)
class Trials:
    """Trials in the file's order, all (n,)."""

    kinds: NDArray[np.str_]
    """Of `KINDS`."""
    asv: Scores | None
    """Of an ASV system alone; higher accepts the speaker."""
    sasv: Scores | None
    """Of a system that is to reject spoofs as well."""
    files: tuple[str, ...] | None = None
    """The recording of each trial; None where the form does not name it."""
    by_trial: bool = False
    """Whether the countermeasure counts once for each trial, as in ASVspoof 5, and not once for each recording."""
    origin: str = "trials"
    attacks: tuple[str, ...] | None = None
    """What the lines of spoof trials call their attack, where the form does not name recordings."""


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    fields: list[str]


def read_trials(path: Path | str, key: Path | str | None = None) -> Trials:
    """Read trials in any of these forms.

    Args:
        path: the scores.
        key: the labels, where the scores' lines have none.

    Raises:
        DataError: missing, empty or in no such form; a line of another width, an unknown label or a score that is no
            finite number (with its line); labels missing, given twice, or of other trials; a kind without a trial.
    """
    path = Path(path)
    lines = _lines(path)
    first = [_NAMES.get(name, name) for name in lines[0].fields]
    if {"asv-score", "sasv-score"} & set(first):
        found = _with_header(path, first, lines[1:], key)
    elif len(first) == 4 and first[3] in KINDS:
        _no_key(path, key)
        found = Trials(_labels(path, lines, 3), None, _column(path, lines, 2), _texts(lines, 1))
    elif len(first) == 3 and first[1] in KINDS:
        _no_key(path, key)
        found = Trials(_labels(path, lines, 1), _column(path, lines, 2), None, attacks=_texts(lines, 0))
    elif len(first) == 3 and _number_of(first[2]) is not None:
        scores = _column(path, lines, 2)
        found = Trials(_from_key(path, lines, (0, 1), key), scores, None, _texts(lines, 1))
    else:
        raise DataError(
            f"{path} holds no trials: its first line is {shown(' '.join(lines[0].fields))}. {_EXPECTED}"
        )
    lacking = [kind for kind in KINDS if not (found.kinds == kind).any()]
    if lacking:
        raise DataError(
            f"{path} has no {' and no '.join(lacking)} trial. Expected some of each kind: {', '.join(KINDS)}. Check "
            "the labels."
        )
    return replace(found, origin=str(path))


def _with_header(path: Path, header: list[str], lines: list[_Line], key: Path | str | None) -> Trials:
    missing = [name for name in ("spk", "filename") if name not in header]
    if missing or not lines:
        fault = f"no column {missing[0]!r}" if missing else "a header but no trials"
        raise DataError(f"{path} has {fault}. {_EXPECTED}")
    _check_width(path, lines, len(header))
    asv, sasv = (_optional(path, lines, header, name) for name in ("asv-score", "sasv-score"))
    if asv is None and sasv is None:
        raise DataError(
            f"{path}: asv-score and sasv-score are '-' throughout. Expected scores of one of them."
        )
    if "asv-label" in header:
        _no_key(path, key)
        kinds = _labels(path, lines, header.index("asv-label"))
    else:
        kinds = _from_key(path, lines, (header.index("spk"), header.index("filename")), key)
    return Trials(kinds, asv, sasv, _texts(lines, header.index("filename")), by_trial=True)


def _from_key(
    path: Path, lines: list[_Line], names: tuple[int, int], key: Path | str | None
) -> NDArray[np.str_]:
    """The label of each trial in the key, found by speaker and recording."""
    if key is None:
        raise DataError(
            f"{path} does not say which trials are target, nontarget and spoof. Name the key that does: --asv-key FILE."
        )
    truth = _read_key(Path(key))
    pairs = [(line.fields[names[0]], line.fields[names[1]]) for line in lines]
    strangers = [pair for pair in pairs if pair not in truth]
    unscored = truth.keys() - set(pairs)
    if strangers or unscored or len(set(pairs)) < len(pairs):
        example = " ".join(strangers[0] if strangers else min(unscored, default=pairs[0]))
        raise DataError(
            f"{path} and {key} do not fit: {len(strangers)} trials are scored but not in the key, {len(unscored)} in "
            f"the key but not scored, {len(pairs) - len(set(pairs))} scored twice ({example}). Expected the same pairs "
            "of speaker and recording in both, each once."
        )
    return np.array([truth[pair] for pair in pairs])


def _read_key(path: Path) -> dict[tuple[str, str], str]:
    lines = _lines(path)
    header = [_NAMES.get(name, name) for name in lines[0].fields]
    if "asv-label" in header and {"spk", "filename"} <= set(header):
        places = header.index("spk"), header.index("filename"), header.index("asv-label")
        lines = lines[1:]
    else:
        at = next((at for at, word in enumerate(header) if at > 1 and word in KINDS), None)
        if at is None:
            raise DataError(
                f"{path} is no key of trials: its first line is {shown(' '.join(header))}. Expected a header with spk, "
                "filename and asv-label, or lines of speaker, recording and further fields, of which one is "
                f"{', '.join(KINDS)}."
            )
        places = 0, 1, _label_column(lines, at)
    _check_width(path, lines, len(header))
    kinds = _labels(path, lines, places[2])
    pairs = ((line.fields[places[0]], line.fields[places[1]]) for line in lines)
    return dict(zip(pairs, kinds.tolist(), strict=True))


def _label_column(lines: list[_Line], first: int) -> int:
    """The column of labels: an attack may be called like one in the first line, but not in all of them."""
    columns = range(first, len(lines[0].fields))
    return next(
        (at for at in columns if all(len(line.fields) > at and line.fields[at] in KINDS for line in lines)),
        first,
    )


def _lines(path: Path) -> list[_Line]:
    lines = [
        _Line(at, text.split()) for at, text in enumerate(read_text(path).split("\n"), 1) if text.strip()
    ]
    if not lines:
        raise DataError(f"{path} is empty. {_EXPECTED}")
    return lines


def _labels(path: Path, lines: list[_Line], at: int) -> NDArray[np.str_]:
    _check_width(path, lines, len(lines[0].fields))
    for line in lines:
        if line.fields[at] not in KINDS:
            raise DataError(
                f"{path}, line {line.number}: {shown(line.fields[at])} is no kind of trial. Expected "
                f"{', '.join(KINDS)}. Mend that line."
            )
    return np.array([line.fields[at] for line in lines])


def _column(path: Path, lines: list[_Line], at: int) -> Scores:
    _check_width(path, lines, len(lines[0].fields))
    return np.array([_number(path, line, at) for line in lines])


def _optional(path: Path, lines: list[_Line], header: list[str], name: str) -> Scores | None:
    """A column of scores; None where there is none, or "-" stands throughout."""
    if name not in header or all(line.fields[header.index(name)] == "-" for line in lines):
        return None
    return _column(path, lines, header.index(name))


def _texts(lines: list[_Line], at: int) -> tuple[str, ...]:
    return tuple(line.fields[at] for line in lines)


def _number(path: Path, line: _Line, at: int) -> float:
    text = line.fields[at]
    number = _number_of(text)
    if number is None or not math.isfinite(number):
        raise DataError(
            f"{path}, line {line.number}: score {shown(text)}. Expected a finite number. Score that trial again; do "
            "not invent one."
        )
    return number


def _number_of(text: str) -> float | None:
    """Also NaN and infinite ones, which are scores that went wrong; None of other words."""
    try:
        return float(text)
    except ValueError:
        return None


def _check_width(path: Path, lines: list[_Line], width: int) -> None:
    for line in lines:
        if len(line.fields) != width:
            raise DataError(
                f"{path}, line {line.number}: {len(line.fields)} fields ({shown(' '.join(line.fields), 60)}). Expected "
                f"{width}, as in the first line. Mend that line."
            )


def _no_key(path: Path, key: Path | str | None) -> None:
    if key is not None:
        raise DataError(f"{path} labels its trials itself; leave out --asv-key {key}.")
