"""Adopting an expert that was trained elsewhere: add it, measure every domain before and after, judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from molex_adapt.detector import Detector
from molex_adapt.mixture import ExpertSpec, ExpertWeights
from molex_adapt.mixture.selftest import check_attached
from molex_adapt.recipe import Recipe
from molex_adapt.train.acceptance import compare, compare_refused, rates, refusals, score_sets, unknown
from molex_adapt.train.calibrate import score_development, spare
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.judgement import Adapted
from molex_adapt.train.old import OldDomain, check_sets, development_sets, risen

_MORE = "molex-adapt evaluate measures on more recordings, before and after"


def adopt_expert(
    detector: Detector,
    spec: ExpertSpec,
    weights: ExpertWeights,
    rows: Sequence[Tensor],
    domain: str,
    exemplars: Exemplars | None,
    old: Mapping[str, OldDomain],
    threshold: float,
    recipe: Recipe,
    head: Mapping[str, Tensor] | None = None,
    *,
    withdrawn: bool = False,
    tried: Callable[[], None] = lambda: None,
) -> Adapted:
    """Add the expert with its router rows, and judge. Nothing is trained.

    The calibration stays, as when one is trained here: old domains keep their scores as far as real speech allows.

    One that was never trained, which stands for what a readout learnt alone, is withdrawn; so is one that is withdrawn
    where it comes from, for it brought nothing there.

    Args:
        detector: the active mixture; changed in place.
        spec, weights, rows: of the expert; one router row (D + 1,) per block.
        domain, exemplars: what it was trained for, a key that no old domain has, and what came along of it.
        old, threshold, recipe: as for `add_expert`; the recipe is the active generation's.
        head: the state that the head is to have, with what the expert brings to it; None: as it is.
        withdrawn: whether it is withdrawn where it comes from.
        tried: looks at the detector with all that came, before anything is measured, and raises where it is not sound.

    Raises:
        ExpertError: the weights do not fit this mixture, or have no effect on this base.
    """
    started = time.monotonic()
    result = Adapted([spec.name], threshold, risen(old))
    known = {**old, domain: OldDomain(spec.name, exemplars)}
    sets = check_sets(known)
    result.not_measured = [key for key in known if key not in sets]
    measurable = bool(sets) and bool(detector.mixture.names)
    before = score_sets(detector, sets) if measurable else {}
    held = score_development(detector, development_sets(old)) if detector.mixture.names else None
    detector.mixture.add(spec, weights, list(rows))
    if head is not None:
        detector.head.load_state_dict(dict(head))
    tried()
    check_attached(detector.mixture, spec.name)
    untrained = detector.mixture.is_untrained(spec.name)
    if untrained or withdrawn:
        # It would take share from the others, and change nothing, or bring nothing.
        if not detector.mixture.has_withdrawn(spec.name):
            detector.mixture.withdraw(spec.name)
        why = "was never trained" if untrained else "is withdrawn where it comes from"
        result.remarks.append(f"expert {spec.name} {why}: its gates stay closed")
    if held is not None:  # what comes to an empty mixture brings its calibration
        spare(detector, held, threshold)
    after = score_sets(detector, sets) if sets else {}
    result.before, result.after = rates(before), rates(after)
    if measurable:
        result.changes = compare(before, after, threshold)
        result.real_speech = compare_refused(before, after, threshold)
    result.refused = refusals(result.changes, result.real_speech, domain, recipe.gate, risen=result.risen)
    result.remarks += unknown(result.changes, result.after, [domain], recipe.gate, result.refused, _MORE)
    if exemplars is not None:
        result.exemplars[spec.name] = exemplars
    result.seconds["evaluate"] = time.monotonic() - started
    return result
