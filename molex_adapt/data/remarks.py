"""Remarks on recordings that lie outside what the detector learnt from: each limit once, with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from molex_adapt.conventions import Decibels, Hertz, Seconds
from molex_adapt.data.heard import Heard
from molex_adapt.data.table import Table
from molex_adapt.text import visible

LEAST_SPEECH: Seconds = 1.0
"""Less active speech is a word or two; training sees crops of seconds."""
NARROWEST_BAND: Hertz = 3400.0
"""The narrowest channel that the shipped base was trained under (`EDGES` in tools/wideband/conditions.py)."""
_BAND_TOLERANCE: Hertz = 200.0
"""The edge of real telephone speech is found up to this much lower, where noise or a gentle slope covers its end."""
MOST_DIGITAL_SILENCE = 0.25
"""A score is of all frames: from this share on, what was never recorded weighs beside the speech."""
CLIPPED_SHARE = 0.001
"""A recording with at least this share of its samples at full scale counts as clipped."""
FAINTEST: Decibels = -50.0
"""Training had -36 dB and more; from 14 dB below that on, 16 bits round what is left of consonants."""
PARTLY_CANCELLED: Decibels = 10.0
"""Channels that lose this much in their mean are of opposite phase for the most part; independent ones lose 3 dB."""

_NAMED = 3

Kind = Literal["short", "narrow", "gaps", "clipped", "faint", "phase", "header", "track", "level", "stretch"]

OUTSIDE: frozenset[Kind] = frozenset(("short", "narrow", "gaps", "faint", "phase"))
"""With one of these, a recording is so far outside what the detector learnt from that its score decides nothing."""

_HEADINGS: dict[Kind, str] = {
    "short": f"less than {LEAST_SPEECH:g} s of speech",
    "narrow": f"band narrower than {(NARROWEST_BAND - _BAND_TOLERANCE) / 1000:g} kHz",
    "gaps": "digital silence",
    "clipped": "clipped",
    "faint": "very low level",
    "phase": "channels that cancel in part",
    "header": "a header that does not state all of the file",
    "track": "one track of several",
    "level": "samples beyond full scale",
    "stretch": "bona fide on the whole, with a stretch that reads as spoof",
}


@dataclass(frozen=True, slots=True)
class Remark:
    """What a user should know of one recording: its kind in one word, and a sentence with the figure."""

    kind: Kind
    text: str


def remarks_on(heard: Heard) -> tuple[Remark, ...]:
    """What lies outside what the detector learnt from; nothing for ordinary speech."""
    return tuple(Remark(kind, text) for kind, text in _found(heard))


def summary(remarks: Iterable[tuple[str, Iterable[Remark]]]) -> list[str]:
    """One line for each kind of remark: how many recordings, and the first of them, from (path, remarks)."""
    first: dict[Kind, str] = {}
    count: dict[Kind, int] = dict.fromkeys(get_args(Kind), 0)
    for path, found in remarks:
        for remark in found:
            first.setdefault(remark.kind, path)
            count[remark.kind] += 1
    return [
        f"{_HEADINGS[kind]}: {visible(first[kind])}" + (f" and {number - 1} more" if number > 1 else "")
        for kind, number in count.items()
        if number
    ]


def on_table(table: Table) -> list[str]:
    """How a table was read, and what lay beside its recordings and was not; none where there is nothing to say."""
    paths = table.passed_over
    if not paths:
        return [*table.remarks]
    named = ", ".join(visible(path) for path in paths[:_NAMED]) + (", ..." if len(paths) > _NAMED else "")
    return [*table.remarks, f"no audio, or of no class, and not read: {len(paths)} ({named})"]


def _found(heard: Heard) -> Iterator[tuple[Kind, str]]:
    kind: Kind
    if heard.speech_seconds < LEAST_SPEECH:
        yield (
            "short",
            f"{heard.speech_seconds:.2f} s of speech; a score of less than {LEAST_SPEECH:g} s tells little",
        )
    if heard.band_hz < NARROWEST_BAND - _BAND_TOLERANCE:
        yield (
            "narrow",
            f"band up to {heard.band_hz / 1000:.1f} kHz; the shipped base knows {NARROWEST_BAND / 1000:g} kHz and more",
        )
    if heard.digital_silence >= MOST_DIGITAL_SILENCE:
        yield (
            "gaps",
            f"{heard.digital_silence:.0%} of it is digital silence, which counts in the score; cut it out",
        )
    if heard.clipped >= CLIPPED_SHARE:
        yield "clipped", f"{heard.clipped:.1%} of the samples are at full scale; record it at a lower level"
    if heard.level_dbfs < FAINTEST:
        yield (
            "faint",
            f"speech at {heard.level_dbfs:.0f} dB of full scale; below {FAINTEST:.0f} dB rounding is heard",
        )
    if heard.cancelled_db >= PARTLY_CANCELLED:
        yield (
            "phase",
            f"the mean of the channels is {heard.cancelled_db:.0f} dB weaker than they are; take one of them",
        )
    for kind in ("header", "track", "level"):
        if kind in heard.notes:
            yield kind, heard.notes[kind]


def on_length(longer: int, window: Seconds) -> list[str]:
    """What to say where recordings go on after the window that is heard of each."""
    if not longer:
        return []
    many = f"{longer} recordings are longer than {window:g} s: the first window alone of each was heard"
    one = f"1 recording is longer than {window:g} s: its first window alone was heard"
    return [f"{one if longer == 1 else many}. score and evaluate hear all windows"]
