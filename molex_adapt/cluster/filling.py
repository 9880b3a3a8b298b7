"""What training reads of recordings, computed by many workers into its cache: features and a readout's statistics."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from molex_adapt.api import Registry
from molex_adapt.api.training import Training
from molex_adapt.cache import cache_root
from molex_adapt.cluster.pool import Cluster, answers, pieces_of, this_worker
from molex_adapt.conventions import BONA_FIDE, FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.data import Failed, Table, Utterance, read
from molex_adapt.errors import DataError, RecipeError
from molex_adapt.features import extract, with_draws
from molex_adapt.prefix_cache import LIMIT, PrefixCache
from molex_adapt.recipe import Recipe
from molex_adapt.registry.records import OTHER_LICENCE
from molex_adapt.reports import ClusterFeatures, WorkerShare
from molex_adapt.run import Run
from molex_adapt.train.prepare import MOST_STATES, draws_beside

_TEXT = ("utf-8", "surrogatepass")
"""A source may be a name that is not UTF-8, as paths may."""


@dataclass(frozen=True)
class FeaturesTask:
    """What a worker has to know; it is sent there. Its run names the cache."""

    registry: Path
    recipe: Recipe | None
    run: Run
    states: bool
    """Whether pooled states are computed as well, where there is a readout."""


class Extractor:
    """A worker that computes features as training does, with a detector that it puts together once."""

    def __init__(self, task: FeaturesTask) -> None:
        self._run, self._states = task.run, task.states
        store = Registry.open(task.registry).store
        self._detector = Training.begin(store, store.active, task.recipe, OTHER_LICENCE, task.run).detector

    def __call__(self, piece: dict[str, Any]) -> dict[str, Any]:
        """Put the features of a piece into the cache, where they are not there."""
        started = time.monotonic()
        columns = zip(piece["paths"], piece["sources"], piece["draws"], strict=True)
        table = Table(
            tuple(
                Utterance(Path(os.fsdecode(path)), BONA_FIDE, source=source.decode(*_TEXT), draw=draw)
                for path, source, draw in columns
            ),
            "",
        )
        found, failed = extract(
            self._detector, table, self._run, resident=False, states=self._states, trim=False
        )
        return {
            "worker": this_worker(),
            "failed": failed,
            "bytes": sum(clip.nbytes for clip in found.clips)
            + (0 if found.states is None else found.states.nbytes),
            "share": WorkerShare(
                recordings=sum(not item.draw for item in table),
                audio_seconds=sum(len(clip) for clip in found.clips) * FRAME_SAMPLES / SAMPLE_RATE,
                busy_seconds=time.monotonic() - started,
            ),
        }


def fill_cache(
    registry: Path,
    data: str | Path,
    cluster: Cluster = Cluster(),
    *,
    recipe: Recipe | None = None,
    run: Run = Run(),
) -> ClusterFeatures:
    """Compute the features that training on a data set needs; those that the cache has are not computed again.

    With a readout its statistics of every recording as well: of the spectrum, and of the frozen base's states, unless
    there are so many recordings that training reads those of a few, which it then computes itself. Its second moments
    are products of these: training makes them without audio or base. For a first mixture the same of what is heard
    under drawn conditions, of all recordings that are not stated to be for testing.

    What a killed worker had written stays; the rest of its piece is done by another one.

    Args:
        registry: a folder that every worker can read, as the recordings must be. It may be empty.
        data: as `read` takes it.
        cluster: where, and by how many.
        recipe: what training will be given; None for the registry's own.
        run: device, listener, and the cache: a folder that every worker can write.

    Raises:
        DataError: the data cannot be used, or the features are more than the cache may hold.
        RecipeError: there is no cache.
        MolexError: as `pool.answers`.
    """
    started = time.monotonic()
    folder = cache_root(run.cache)
    if folder is None:
        raise RecipeError("the cache is switched off. Name a folder that every worker can write: --cache DIR")
    run = replace(run, cache=folder.absolute())
    cache = PrefixCache.standard(run.cache)
    table = read(data)
    heard = _heard(registry, table, recipe)
    paths = [str(item.path.absolute()) for item in table]
    task = FeaturesTask(registry.absolute(), recipe, cluster.run_of_worker(run), len(heard) <= MOST_STATES)
    shares: dict[str, WorkerShare] = {}
    failed: list[Failed] = []
    size = 0
    run.progress.start("features", len(paths))
    for answer in answers(Extractor, task, _pieces(heard, cluster), cluster, run):
        shares[answer["worker"]] = shares.get(answer["worker"], WorkerShare()) + answer["share"]
        failed += answer["failed"]
        size += answer["bytes"]
        if size > cache.limit:
            raise DataError(
                f"the features of {data} are more than the {cache.limit / 2**30:.3g} GiB that {folder} may hold: it "
                f"would lose the first of them. Expected room for all. Set {LIMIT} to more and run the same command "
                "again."
            )
        run.progress.advance(answer["share"].recordings)
    cache.trim()
    run.progress.stop()
    order = {path: at for at, path in enumerate(paths)}
    return ClusterFeatures(
        folder=str(folder),
        recordings=len(paths),
        bytes=size,
        failed=tuple(sorted(dict.fromkeys(failed), key=lambda item: order[item.path])),
        workers=dict(sorted(shares.items())),
        seconds=time.monotonic() - started,
    )


def _heard(registry: Path, table: Table, recipe: Recipe | None) -> list[Utterance]:
    """The recordings, and their draws that a first mixture hears."""
    opened = Registry.open(registry)
    active = opened.store.active
    draws = draws_beside(active.names if active else [], recipe or opened.recipe())
    return [item for item in with_draws(table, draws) if not item.draw or item.split != "test"]


def _pieces(heard: Sequence[Utterance], cluster: Cluster) -> list[dict[str, Any]]:
    """Divided, with what decides the chain that each is heard through."""
    pieces, rest = pieces_of([str(item.path.absolute()) for item in heard], cluster), iter(heard)
    for piece in pieces:
        items = list(islice(rest, len(piece["paths"])))
        piece["sources"] = [item.source.encode(*_TEXT) for item in items]
        piece["draws"] = [item.draw for item in items]
    return pieces
