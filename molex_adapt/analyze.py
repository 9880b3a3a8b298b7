"""Which experts fire for which attack: their shares per attack and block, from the gates of utterances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from molex_adapt.conventions import BONA_FIDE
from molex_adapt.detector import Detector
from molex_adapt.errors import ExpertError
from molex_adapt.features import Features, concatenate
from molex_adapt.reports import Analysis
from molex_adapt.routing import Gates, collect


def analyse(detector: Detector, sets: Mapping[str, Features]) -> Analysis:
    """Collect the decisions of all routers on the utterances of all sets, and summarise them by their attacks.

    Raises:
        ExpertError: there is no expert.
    """
    if not detector.mixture.names:
        raise ExpertError("the mixture has no experts to look at; add one first: molex-adapt add-expert")
    features = concatenate(list(sets.values()))
    return summarise(collect(detector, features), features.attacks, detector.mixture.names)


def summarise(gates: Gates, of: Sequence[str | None], experts: list[str]) -> Analysis:
    """Shares of the E experts, named in router order, that sum to 1: per attack, and per attack and block.

    With them come the shares before top-k, top-1 rates, and the entropy of the gates in bits. `of` names the attack of
    each of the N utterances; None is bona fide speech.
    """
    attacks = sorted({attack or BONA_FIDE for attack in of}, key=lambda name: (name == BONA_FIDE, name))
    rows = {name: torch.tensor([(attack or BONA_FIDE) == name for attack in of]) for name in attacks}
    return Analysis(
        experts=experts,
        attacks=attacks,
        blocks=gates.gates.shape[1],
        usage={name: _named(experts, gates.gates[rows[name]].mean((0, 1))) for name in attacks},
        usage_by_block={name: gates.gates[rows[name]].mean(0).tolist() for name in attacks},
        usage_before_top_k={
            name: _named(experts, gates.probabilities[rows[name]].mean((0, 1))) for name in attacks
        },
        top_1={name: _named(experts, _top_1(gates, rows[name])) for name in attacks},
        entropy_bits={name: _entropy(gates.gates[rows[name]]) for name in attacks},
        utterances={name: int(rows[name].sum()) for name in attacks},
    )


def _named(experts: list[str], shares: Tensor) -> dict[str, float]:
    return dict(zip(experts, shares.tolist(), strict=True))


def _top_1(gates: Gates, rows: Tensor) -> Tensor:
    """For each expert, the share of (utterance, block) pairs in which it has the largest gate."""
    winners = gates.gates[rows].argmax(-1).flatten()
    return torch.bincount(winners, minlength=gates.gates.shape[-1]).float() / max(1, len(winners))


def _entropy(gates: Tensor) -> float:
    """Mean entropy of the gates of a block, in bits; 0 when one expert takes everything."""
    # The bound keeps 0 * log 0, which is 0 here, from becoming NaN.
    return float(-(gates * gates.clamp(min=1e-12).log2()).sum(-1).mean())
