"""Another threshold for the same mixture, chosen on real speech of the place where it is used.

Scores of real speech depend on voices and channels, and so does the share that a threshold refuses. Shapes: N
recordings.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from molex_adapt.api.known import old_domains
from molex_adapt.api.outcome import machine_of
from molex_adapt.conventions import BONA_FIDE, SPOOF
from molex_adapt.data import Table
from molex_adapt.data.remarks import on_table
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import score_table
from molex_adapt.metrics import Refusals, count_refusals, error_rates, threshold_for_new_voices
from molex_adapt.processes import from_first
from molex_adapt.registry import DataRecord, GenerationDraft, Store
from molex_adapt.registry.records import UnheardRecord
from molex_adapt.reports import Change, ThresholdReport, Unheard
from molex_adapt.run import Run
from molex_adapt.train.acceptance import score_sets
from molex_adapt.train.calibrate import refusing_threshold
from molex_adapt.train.old import check_sets
from molex_adapt.windows import UtteranceScore

FEWEST_OF_A_VOICE = 20
"""Voices with fewer recordings are not reported by themselves."""


MOST_GROUPS = 20
"""Voices are left out one by one, and in so many groups where there are more: each costs a choice of the threshold."""

FEWEST_VOICES = 8
"""Fewer do not tell how voices differ."""


def change_threshold(
    detector: Detector, store: Store, table: Table, refused: float, new_voices: bool, run: Run
) -> ThresholdReport:
    """Write a generation that differs from the active one, whose detector is given, in its threshold alone.

    Args:
        table: real speech; forged recordings in it decide nothing, and are reported.
        refused: the largest share of the real recordings that may be below the threshold, in [0, 0.5).
        new_voices: hold the share for voices that are not among them, as far as these tell.

    Raises:
        DataError: the share cannot be asked for, or too few recordings can be scored to tell it.
        RegistryError: another writer was first.
    """
    if not 0 <= refused < 0.5:
        raise DataError(
            f"a share of {refused:g} cannot be refused; expected 0 or more and less than 0.5, as in 0.03"
        )
    started = time.monotonic()
    active = store.generation()
    scored, failed = score_table(detector, table, run)
    failed += table.left_out
    real = [item for item in scored if item.utterance.label == BONA_FIDE]
    needed = math.ceil(1 / refused) if refused else 1
    if len(real) < needed:
        raise DataError(
            f"{table.root}: {len(real)} real recordings could be scored, {len(failed)} failed; to refuse at most "
            f"{100 * refused:g} % of them takes {needed} or more. Give more real speech, or a larger share"
        )
    if new_voices:
        _require_voices(real)
    choose = partial(_chosen, refused=refused, new_voices=new_voices)
    threshold, unheard = choose(real), _of_unheard(real, choose)
    both = (active.threshold, threshold)
    changes = _changes(detector, store, active.number, *both)
    record = DataRecord(
        digest=table.digest(),
        counts={"dev": table.counts()},
        attacks=table.attacks,
        conditions=table.conditions(),
        split_by="none",
    )
    draft = GenerationDraft(
        parent=active.number,
        experts=active.names,
        router=store.router_tensors(active.number),
        head=store.head_tensors(active.number),
        recipe=store.recipe(active.number) or "",
        calibration=(active.calibration.scale, active.calibration.offset),
        threshold=threshold,
        unheard=unheard,
        command=run.command,
        data=[record],
        machine=machine_of(detector),
        metrics=active.metrics,  # the threshold does not enter into them
        changes={domain: change.as_dict() for domain, change in changes.items()},
        profile=active.profile,
        remarks=[
            f"nothing but the threshold changed, to refuse at most {100 * refused:g} % of {table.root}"
            + (" and of voices that are not in it" if new_voices else "")
        ],
    )
    number = from_first(lambda: store.add_generation(draft, activate=True))
    return ThresholdReport(
        generation=number,
        asked=refused,
        threshold=both,
        refused=_refusals(real, both),
        voices={name: _refusals(items, both) for name, items in _voices(real).items()},
        accepted={name: _accepted(items, both) for name, items in _by_attack(scored).items()},
        change=changes,
        unheard=None if unheard is None else Unheard(**unheard.model_dump(), generation=number),
        failed=failed,
        seconds=time.monotonic() - started,
        remarks=on_table(table),
    )


def _changes(
    detector: Detector, store: Store, generation: int, before: float, after: float
) -> dict[str, Change]:
    """What the two thresholds make of the known domains' check exemplars."""
    sets = check_sets(old_domains(store, generation))
    found = {}
    for domain, item in (score_sets(detector, sets) if sets else {}).items():
        (miss, alarm), (miss_after, alarm_after) = (error_rates(*item.classes, at) for at in (before, after))
        found[domain] = Change(0.0, (0.0, 0.0), (miss, miss_after), (alarm, alarm_after), 0.0, 0.0)
    return found


def _require_voices(real: list[UtteranceScore]) -> None:
    voices = {item.utterance.speaker for item in real if item.utterance.speaker}
    if len(voices) < FEWEST_VOICES:
        raise DataError(
            f"{len(voices)} voices are named, which do not tell what other voices will be like; it takes "
            f"{FEWEST_VOICES} or more. Name them in the column speaker of a manifest, or leave --new-voices out"
        )


def _chosen(real: list[UtteranceScore], refused: float, new_voices: bool) -> float:
    if not new_voices:
        return refusing_threshold(_scores(real), refused)
    known = [item for item in real if item.utterance.speaker]
    return threshold_for_new_voices(_scores(known), [str(item.utterance.speaker) for item in known], refused)


def _of_unheard(
    real: list[UtteranceScore], choose: Callable[[list[UtteranceScore]], float]
) -> UnheardRecord | None:
    """What is refused of voices by the threshold that the others choose; None where nobody else is named.

    Of many voices several are left out at a time.
    """
    voices: dict[str, list[UtteranceScore]] = defaultdict(list)
    for item in real:
        if item.utterance.speaker:
            voices[item.utterance.speaker].append(item)
    if len(voices) < 2:
        return None
    refused, names = 0, sorted(voices)
    for group in (names[at::MOST_GROUPS] for at in range(min(MOST_GROUPS, len(names)))):
        own = [item for name in group for item in voices[name]]
        others = [item for name in names if name not in group for item in voices[name]]
        refused += int((_scores(own) < choose(others)).sum())
    count = sum(map(len, voices.values()))
    return UnheardRecord(refused=refused / count, recordings=count, voices=len(voices), in_turn=True)


def _scores(items: Iterable[UtteranceScore]) -> NDArray[np.float64]:
    return np.array([item.score for item in items], dtype=np.float64)


def _refusals(items: list[UtteranceScore], thresholds: tuple[float, float]) -> tuple[Refusals, Refusals]:
    before, after = (count_refusals(_scores(items), at) for at in thresholds)
    return before, after


def _accepted(items: list[UtteranceScore], thresholds: tuple[float, float]) -> tuple[float, float]:
    before, after = (float(np.mean(_scores(items) >= at)) for at in thresholds)
    return before, after


def _voices(real: list[UtteranceScore]) -> dict[str, list[UtteranceScore]]:
    """By speaker, those that say enough; none where all are of one."""
    voices: dict[str, list[UtteranceScore]] = defaultdict(list)
    for item in real:
        if item.utterance.speaker:
            voices[item.utterance.speaker].append(item)
    enough = {name: items for name, items in sorted(voices.items()) if len(items) >= FEWEST_OF_A_VOICE}
    return enough if len(voices) > 1 else {}


def _by_attack(scored: list[UtteranceScore]) -> dict[str, list[UtteranceScore]]:
    attacks: dict[str, list[UtteranceScore]] = defaultdict(list)
    for item in scored:
        if item.utterance.label != BONA_FIDE:
            attacks[item.utterance.attack or SPOOF].append(item)
    return dict(sorted(attacks.items()))
