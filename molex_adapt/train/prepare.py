"""From recordings to a domain that can be trained on and measured: audit, division into splits, prefix features."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from molex_adapt.conventions import BONA_FIDE, FRAME_SAMPLES, NULL_DOMAIN, SAMPLE_RATE, SPLITS, SPOOF, Split
from molex_adapt.data import Failed, Table, assign_splits, describe_split, read
from molex_adapt.data.audit import audit
from molex_adapt.data.remarks import on_length
from molex_adapt.detector import Detector
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError
from molex_adapt.features import Features, OnlineFeatures, extract, with_draws
from molex_adapt.metrics import FEWEST_FOR_INTERVAL
from molex_adapt.prefix_cache import PrefixCache
from molex_adapt.processes import from_first, on_this_machine
from molex_adapt.recipe import Recipe
from molex_adapt.run import Run

MOST_UNUSABLE = 0.1
"""Share of the recordings."""
MOST_READ = 10_000
"""Recordings of a split whose pooled states are kept in memory; the readout learns from as many of a larger one."""
MOST_MEASURED = 4000
"""Utterances of a development or test split that are used. Of a larger one: half of each class, by chance, and at least
one of each attack."""
MOST_STATES = MOST_READ + 2 * MOST_MEASURED
"""Recordings of a data set whose pooled states are kept, at most."""


@dataclass(frozen=True)
class DomainData:
    """One domain, ready for training. No source recording is in two of its splits.

    Attributes:
        table: the usable utterances, with split and length.
        train: features for training batches, in memory or computed anew for each.
        dev, test: features for early stopping and calibration, and to measure on.
        failed: recordings that were left out, and why.
    """

    table: Table
    train: Features | OnlineFeatures
    dev: Features
    test: Features
    failed: tuple[Failed, ...]
    remarks: tuple[str, ...]

    def digest(self) -> str:
        """SHA-256 (hex) of the table and of all features that were computed in advance."""
        parts = [part for part in (self.train, self.dev, self.test) if isinstance(part, Features)]
        return sha256(self.table.digest(), *(part.digest() for part in parts))

    def of_attacks(self, attacks: Sequence[str]) -> DomainData:
        """All bona fide utterances and the spoofed ones of some attacks."""
        table = self.table.with_utterances(
            tuple(item for item in self.table if item.attack is None or item.attack in attacks)
        )
        return DomainData(
            table,
            self.train.of_attacks(attacks),
            self.dev.of_attacks(attacks),
            self.test.of_attacks(attacks),
            self.failed,
            self.remarks,
        )


def prepare(
    detector: Detector,
    data: Table | Path | str,
    recipe: Recipe,
    run: Run,
    require: Callable[[Table], object] = lambda divided: None,
) -> DomainData:
    """Read the data, leave out what cannot be used, divide the rest, compute features.

    Args:
        detector: whose base makes the features.
        data: what `read` takes.
        recipe: how it is divided, and how long its windows are.
        run: decoding threads, cache, listener.
        require: refuses a divided table that will not do, before features are computed, which takes long.

    Raises:
        DataError: a class is missing, before or after the audit, there are too few recordings to divide, more than a
            tenth cannot be used and `run` does not allow that, or the null control is among them; or what `require`
            raises.
    """
    table = data if isinstance(data, Table) else read(data)
    table.require_both_classes("training")
    _require_no_control(table)
    checked = audit(table, run)
    checked.table.require_usable("training", table, checked.failed)
    divided = assign_splits(checked.table, fractions=recipe.data.fractions, by=recipe.data.split_by)
    longer = sum((item.seconds or 0) > recipe.data.window_seconds for item in divided)
    remarks = [describe_split(divided), *_few(divided), *checked.remarks]
    remarks += on_length(longer, recipe.data.window_seconds)
    for split in SPLITS:
        divided.select(split=split).require_both_classes(f"the {split} split")
    require(divided)
    if not run.allow_failures:
        _require_most(table, checked.failed)
    failed = list(checked.failed)

    def extracted(split: Split, part: Table, resident: bool = True) -> Features:
        # The readout reads states when it learns and whenever the mixture is measured, and no expert changes them.
        features, lost = extract(detector, part, run, resident=resident, states=len(part) <= MOST_READ)
        failed.extend(dict.fromkeys(lost))  # a recording and its draws are lost together
        gone = {item.path for item in lost}
        rest = part.with_utterances(item for item in part if str(item.path) not in gone)
        rest.require_usable(f"the {split} split", part, lost)  # files may have changed since the audit
        return features

    draws = draws_beside(detector.mixture.names, recipe)
    heard = with_draws(divided.select(split="train"), draws)
    dev = with_draws(_at_most(divided.select(split="dev"), MOST_MEASURED), draws)
    test = _at_most(divided.select(split="test"), MOST_MEASURED)
    whole = divided.with_utterances((*heard, *dev, *test))
    if drawn := sum(item.draw > 0 for item in whole):
        remarks.append(
            f"train and dev are heard {drawn} times under drawn conditions, too (joint.draws={draws})"
        )
    together = on_this_machine()[1]
    room = from_first(lambda: memory_gib() / together)  # what one decides, all do
    resident = _gib(heard, detector) <= room
    size = int(2**30 * (_gib(whole, detector) + _states_gib(whole, detector)))
    kept = from_first(lambda: PrefixCache.standard(run.cache).takes(size))
    if not resident:
        run.progress.note(
            f"features of {len(heard)} recordings do not fit into {room:.3g} GiB, a quarter of the memory: "
            + (
                "read from the cache on disk"
                if kept
                else "computed anew for every batch; see molex-adapt cache info"
            )
        )
    train: Features | OnlineFeatures
    if resident or kept:
        train = extracted("train", heard, resident)
    else:
        train = OnlineFeatures(detector, heard.utterances, run.workers)
    return DomainData(
        divided, train, extracted("dev", dev), extracted("test", test), tuple(failed), tuple(remarks)
    )


def draws_beside(experts: Sequence[str], recipe: Recipe) -> int:
    """How many drawn chains each recording is heard through, for a mixture that has these experts so far."""
    # Who knows some experts knows conditions; nothing was gained by drawing them for further domains.
    return 0 if experts else recipe.joint.draws


def prepare_check(
    detector: Detector, data: Table | Path | str, recipe: Recipe, run: Run
) -> tuple[Table, Features, tuple[Failed, ...]]:
    """What known domains are measured on.

    Returns:
        The test split, as training would divide the data; its features; and what could not be used.

    Raises:
        DataError: as `prepare`, but that the null control may be among them.
    """
    table = data if isinstance(data, Table) else read(data)
    table.require_both_classes("measuring old domains")
    checked = audit(table, run)
    checked.table.require_usable("measuring", table, checked.failed)
    if not run.allow_failures:
        _require_most(table, checked.failed)
    options = recipe.data
    divided = assign_splits(checked.table, fractions=options.fractions, by=options.split_by)
    test = _at_most(divided.select(split="test"), MOST_MEASURED)
    test.require_both_classes("the test split")
    features, lost = extract(detector, test, run, states=True)
    gone = {item.path for item in lost}
    rest = test.with_utterances(item for item in test if str(item.path) not in gone)
    rest.require_usable("the test split", test, lost)
    return rest, features, (*checked.failed, *lost)


def memory_gib() -> float:
    """Training features up to this size stay in memory: a quarter of the machine's, and 4 GiB where that is unknown.

    Larger ones are read from the cache on disk; where it is off or too small, they are computed anew for every batch.
    """
    try:
        found = [os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_PAGE_SIZE")]
    except (AttributeError, OSError, ValueError):  # Windows has no such call
        return 4.0
    return float(found[0] * found[1] / 2**32) if min(found) > 0 else 4.0  # -1: known to nobody


def _few(divided: Table) -> list[str]:
    """What is measured on so few recordings that their figures have no interval."""
    told = []
    for split in ("dev", "test"):
        counts = divided.select(split=split).counts()
        real, forged = counts.get(BONA_FIDE, 0), counts.get(SPOOF, 0)
        if min(real, forged) < FEWEST_FOR_INTERVAL:
            told.append(
                f"the {split} split has {real} bona fide and {forged} spoofed recordings: of fewer than "
                f"{FEWEST_FOR_INTERVAL} of a class, figures say little"
            )
    return told


def _require_no_control(table: Table) -> None:
    count = sum(item.attack == NULL_DOMAIN for item in table)
    if count:
        raise DataError(
            f"{table.root}: {count} recordings have the attack {NULL_DOMAIN!r}, which is the control: real speech in "
            "another condition under the label spoof. It is measured (molex-adapt evaluate), and never learnt: a "
            "detector would take the condition for an attack. Leave these recordings out"
        )


def _require_most(table: Table, failed: Sequence[Failed]) -> None:
    if len(failed) <= MOST_UNUSABLE * len(table):
        return
    raise DataError(
        f"{len(failed)} of {len(table)} recordings of {table.root} cannot be used, such as {failed[0].path}: "
        f"{failed[0].reason}. More than {100 * MOST_UNUSABLE:.0f} % are missing from what was asked for. Correct "
        "paths and recordings, or go on with the rest by --allow-failures"
    )


def _gib(table: Table, detector: Detector) -> float:
    frames = sum(item.seconds or 0.0 for item in table) * SAMPLE_RATE / FRAME_SAMPLES
    return frames * detector.base.prefix_width * 2 / 2**30  # two bytes a number: features are kept as float16


def _states_gib(table: Table, detector: Detector) -> float:
    if detector.head.readout is None:
        return 0.0
    return min(len(table), MOST_STATES) * detector.pooled_width * 2 / 2**30


def _at_most(table: Table, count: int) -> Table:
    if len(table) <= count:
        return table
    # A fixed seed: figures of different seeds are of the same utterances.
    generator = torch.Generator().manual_seed(0)
    kept: list[int] = []
    for label in ("bonafide", "spoof"):
        members = [i for i, item in enumerate(table) if item.label == label]
        order = [members[i] for i in torch.randperm(len(members), generator=generator).tolist()]
        first = {table[i].attack: i for i in reversed(order)}  # a rare attack could be missed by chance
        kept += {*order[: count // 2], *first.values()}
    return table.with_utterances(tuple(table[i] for i in sorted(kept)))
