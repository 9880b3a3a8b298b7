"""What is asked of the former mixture before a new expert comes: from then on it is another one.

Shapes: M draws of routing inputs of old domains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.features import Features
from molex_adapt.recipe import Recipe
from molex_adapt.run import Run
from molex_adapt.train.acceptance import DomainScores, score_sets
from molex_adapt.train.calibrate import DevelopmentScores, calibrate, score_development, spare
from molex_adapt.train.judgement import Adapted, timed
from molex_adapt.train.likeness import likeness
from molex_adapt.train.old import (
    OldDomain,
    bona_fide_of,
    check_sets,
    development_sets,
    replay_pools,
    replay_weights,
    voices_among,
)
from molex_adapt.train.pools import Pool
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import weigh_readout, with_states
from molex_adapt.train.remembering import rehearsed


@dataclass(frozen=True)
class Former:
    """How the former mixture does on a new domain and on the old ones.

    Attributes:
        domain: the new one.
        sets: what acceptance measures on: exemplars of every old domain, and the new one's test split.
        scored: the scores of these.
        development: the new domain's development split, for early stopping. A few exemplars of old domains beside it
            would stop training on chance.
        held: whose bona fide speech is not to be refused more often, with its scores: old domains' exemplars for that,
            and the new domain's bona fide speech, which is as real as theirs.
        replay: exemplars to train on beside the new domain.
        rehearsed: (M, L, D) draws of what routers read of old domains, where that is kept.
        voices: names by source of what is measured, where they are known.
        calibration: of the former mixture, which stays; None where there was no expert, and it is to be fitted.
    """

    domain: str
    sets: Mapping[str, Features]
    scored: Mapping[str, DomainScores]
    development: Features
    held: DevelopmentScores
    replay: list[Pool]
    rehearsed: Tensor | None
    voices: Mapping[str, str]
    calibration: Calibration | None

    def settle(self, detector: Detector, threshold: float) -> list[str]:
        """Weigh the readout and calibrate anew, for the mixture as it is now; returns remarks.

        Once there are experts both stay, as far as bona fide speech allows: what old domains have as scores, they keep.
        """
        if self.calibration is not None:
            detector.calibration = self.calibration
            spare(detector, self.held, threshold)
            return []
        remarks = weigh_readout(detector, [self.development])
        return remarks + calibrate(detector, [self.development], threshold, self.held)


def ask_former(
    detector: Detector,
    domain: str,
    data: DomainData,
    old: Mapping[str, OldDomain],
    recipe: Recipe,
    run: Run,
    result: Adapted,
) -> Former:
    """Measure the former mixture; a new domain that it knows already is a remark."""
    found = None
    if detector.mixture.names:
        found = likeness(detector, data.dev, result.threshold, recipe.gate.known)
    if found is not None:
        result.remarks.append(found.remark(domain))
        run.progress.note(result.remarks[-1])
    sets = {**with_states(detector, check_sets(old)), domain: data.test}
    result.not_measured = [key for key in old if key not in sets]
    scored = timed(result, lambda: score_sets(detector, sets))
    known = with_states(detector, development_sets(old))
    losses = score_development(detector, known).losses()
    heard = {**known, domain: data.dev} if detector.mixture.names else {}
    held = score_development(detector, bona_fide_of(heard))
    return Former(
        domain,
        sets,
        scored,
        data.dev,
        held,
        replay_pools(detector, old, replay_weights(losses)),
        rehearsed(detector, old, run.seed),
        voices_among(old, [data]),
        detector.calibration if detector.mixture.names else None,
    )
