"""Decide which recordings an attack is tried on, under which names, before anything is made."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from molex_adapt.conventions import BONA_FIDE, SPOOF
from molex_adapt.data.table import Failed, Table, Utterance
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError
from molex_adapt.simulate.attack import Attack, TextToSpeech
from molex_adapt.simulate.job import Job
from molex_adapt.simulate.speech import language_of


def name_recordings(speech: Table) -> dict[str, Utterance]:
    """Bona fide utterances by the file name they will have: their source, made unique and safe."""
    rows = [row for row in speech if row.label == BONA_FIDE]
    times = Counter(_safe(row) for row in rows)
    named: dict[str, Utterance] = {}
    for row in rows:
        name = _safe(row)
        if times[name] > 1:
            name += "-" + sha256(f"{row.path.name}\0{row.condition}")[:8]
        if name in named:
            raise DataError(
                f"Two recordings of {speech.root} would be written to the same file {name}.flac: {named[name].path} "
                f"and {row.path}. Expected different sources; give them so in a manifest's column source."
            )
        named[name] = row
    return named


def _safe(row: Utterance) -> str:
    parts = re.split(r"[/\\]+", row.source or row.path.stem)
    name = "/".join(re.sub(r"[^\w.+=@-]", "_", part) for part in parts if part.strip("."))
    return name or "unnamed"


def choose_speakable(
    attack: Attack, named: dict[str, Utterance]
) -> tuple[dict[str, Utterance], tuple[Failed, ...]]:
    """For text to speech: recordings with a transcript in a language of the attack; and the others, with why not."""
    if not isinstance(attack, TextToSpeech):
        return named, ()
    spoken = attack.languages()
    chosen, skipped = {}, []
    for name, row in named.items():
        language = (language_of(row) or "")[:2]
        if not row.text:
            skipped.append(Failed(str(row.path), "no transcript to speak"))
        elif language and spoken is not None and language not in spoken:
            skipped.append(
                Failed(str(row.path), f"in '{language}'; {attack.name} speaks {', '.join(sorted(spoken))}")
            )
        else:
            chosen[name] = row
    return chosen, tuple(skipped)


def choose_limited(named: dict[str, Utterance], limit: int | None, seed: int) -> dict[str, Utterance]:
    """A seeded choice that does not depend on the table's order; kept in the order of names."""
    if limit is not None and limit < 1:
        raise DataError(f"limit {limit}: expected at least 1 recording; give a larger number or none.")
    shuffled = sorted(named, key=lambda name: sha256(f"limit\0{seed}\0{name}"))
    return {name: named[name] for name in sorted(shuffled[:limit])}


def plan_jobs(chosen: dict[str, Utterance], attack: Attack, out: Path, bona_fide: bool) -> dict[str, Job]:
    """What to make of each recording, and where."""
    return {
        name: Job(
            name=name,
            audio=row.path,
            text=row.text,
            language=language_of(row),
            bona_fide=out / BONA_FIDE / f"{name}.flac" if bona_fide else None,
            spoof=out / SPOOF / attack.name / f"{name}.flac",
        )
        for name, row in chosen.items()
    }


def describe_nothing(attack: Attack, speech: Table, skipped: tuple[Failed, ...]) -> str:
    """The message where no job is left."""
    if skipped:
        return (
            f"The attack {attack.name} can speak none of the {len(skipped)} recordings of {speech.root}: the first is "
            f"{skipped[0].path}: {skipped[0].reason}. Give transcripts in a manifest's column text, or take an attack "
            "that copies."
        )
    return (
        f"{speech.root} has no bona fide recordings to forge ({len(speech)} utterances in all). Give a folder or a "
        "manifest of real speech."
    )
