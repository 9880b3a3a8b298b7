"""From sums to the shares of the experts: per attack, and per attack, condition, block and expert."""

from __future__ import annotations

from torch import Tensor

from molex_adapt.analysis.corpus import Corpus
from molex_adapt.analysis.tally import Tally
from molex_adapt.findings import Cell
from molex_adapt.reports import Analysis


def shares(tally: Tally, corpus: Corpus, experts: list[str]) -> Analysis:
    """Mean shares of the E experts, named in router order, per attack.

    Attacks of which nothing could be read are left out.
    """
    counts = tally.counts.tolist()
    names = [name for name in corpus.names if any(counts[row] for row in _rows_of(corpus, name))]
    found = tally.grouped([_rows_of(corpus, name) for name in names])

    def named(values: Tensor) -> dict[str, dict[str, float]]:
        means = values.mean(1).tolist()
        return {name: dict(zip(experts, row, strict=True)) for name, row in zip(names, means, strict=True)}

    return Analysis(
        experts=list(experts),
        attacks=names,
        blocks=found.gates.shape[1],
        usage=named(found.gates),
        usage_by_block=dict(zip(names, found.gates.tolist(), strict=True)),
        usage_before_top_k=named(found.before),
        top_1=named(found.first),
        selected=named(found.chosen),
        entropy_bits=dict(zip(names, found.entropy.mean(1).tolist(), strict=True)),
        utterances=dict(zip(names, found.counts.tolist(), strict=True)),
    )


def cells(tally: Tally, corpus: Corpus) -> list[Cell]:
    """A cell for each attack in each condition, in the order of the corpus's rows."""
    found = tally.grouped([[row] for row in range(len(corpus.rows))])
    parts = (found.gates, found.before, found.chosen, found.first, found.entropy, found.entropy_before)
    columns = zip(*(part.tolist() for part in parts), strict=True)
    counts = found.counts.tolist()
    return [
        Cell(*row, count, *values)
        for row, count, values in zip(corpus.rows, counts, columns, strict=True)
        if count
    ]


def co_firing(tally: Tally, corpus: Corpus, names: list[str]) -> dict[str, list[list[float]]]:
    """(E, E) of each attack, how often two experts act on one frame, averaged over blocks."""
    found = tally.grouped([_rows_of(corpus, name) for name in names]).together
    return dict(zip(names, found.tolist(), strict=True))


def _rows_of(corpus: Corpus, name: str) -> list[int]:
    return [at for at, row in enumerate(corpus.rows) if row[0] == name]
