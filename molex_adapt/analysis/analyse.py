"""From what a pass observed to a whole analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from molex_adapt.analysis.corpus import Corpus
from molex_adapt.analysis.curves import score_curves
from molex_adapt.analysis.depth import cluster, depth_profile, health
from molex_adapt.analysis.observed import Observed
from molex_adapt.analysis.parts import Parts
from molex_adapt.analysis.probe import probe
from molex_adapt.analysis.profiles import Kept, controls, distances
from molex_adapt.analysis.several import observe_together
from molex_adapt.analysis.shares import cells, co_firing, shares
from molex_adapt.analysis.tally import Averages
from molex_adapt.analysis.testimony import Witnesses
from molex_adapt.analysis.verdict import unneeded, verdicts
from molex_adapt.analysis.within import within_conditions
from molex_adapt.control import fault_of_control
from molex_adapt.conventions import BONA_FIDE, NO_CONDITION, NULL_DOMAIN
from molex_adapt.data import Table
from molex_adapt.data.remarks import on_length
from molex_adapt.detector import Detector
from molex_adapt.findings import Distance, Findings
from molex_adapt.reports import Analysis
from molex_adapt.run import Run

_BEYOND_CHANCE = 0.05
_MOST_NAMED = 3
"""Controls that are told apart and have a remark each."""


def analyse_table(detector: Detector, table: Table, run: Run = Run(), *, ablate: bool = False) -> Analysis:
    """Observe every recording of a table in one pass, and conclude.

    Of several processes each observes a part; all conclude on the whole.

    Args:
        detector: with experts.
        table: labelled recordings; nothing of them is kept.
        run: decoding threads, seed, listener.
        ablate: switch every expert off as well, on a sample; verdicts need it.

    Raises:
        ExpertError: there is no expert.
    """
    observed, failed = observe_together(detector, table, run, ablate=ablate)
    found = conclude(observed, Corpus.of_table(table), detector.mixture.names, seed=run.seed)
    remarks = on_length(observed.longer, detector.recipe.data.window_seconds)
    return replace(found, failed=failed, remarks=[*found.remarks, *remarks])


def conclude(observed: Observed, corpus: Corpus, experts: list[str], *, seed: int = 0) -> Analysis:
    """Shares, tests, and a verdict on every attack where experts were switched off."""
    report = shares(observed.tally, corpus, experts)
    rows = [[at for at, row in enumerate(corpus.rows) if row[0] == name] for name in report.attacks]
    averages = observed.tally.grouped(rows)
    parts = Parts(observed, corpus, experts)
    errors, ablation = parts.errors(), parts.ablation()
    moved, by_readout = parts.moved()
    witnesses = Witnesses(observed, corpus)
    silenced = witnesses.without_each()
    kept = _kept(observed, corpus)
    apart = distances({name: kept[name] for name in report.attacks if name in kept}, seed=seed)
    same = controls(_must_not_differ(observed, corpus), seed=seed)
    profiled = corpus.of(observed.profiled)
    findings = Findings(
        cells=cells(observed.tally, corpus),
        co_firing=co_firing(observed.tally, corpus, report.attacks),
        errors=errors,
        ablation=ablation,
        moved=moved,
        moved_by_readout=by_readout,
        testimony=witnesses.testimonies(),
        without_witness=silenced,
        distances=apart,
        controls=same,
        within=within_conditions(Kept(observed.gates, profiled.sources), profiled, same, seed=seed),
        clustering=cluster([name for name in report.attacks if name in kept], apart),
        probe=probe(observed.before, profiled.attacks, profiled.sources, seed=seed),
        depth=depth_profile(report, _before_bits(report, averages), report.attacks),
        health=health(averages.chosen.numpy(), averages.first.numpy(), experts, unneeded(ablation, experts)),
        verdicts=verdicts(errors, ablation, moved, silenced),
        curves=score_curves(observed.scores, observed.seen, corpus),
    )
    return replace(report, findings=findings, remarks=_remarks(findings))


def _before_bits(report: Analysis, averages: Averages) -> dict[str, list[float]]:
    return dict(zip(report.attacks, averages.entropy_before.tolist(), strict=True))


def _kept(observed: Observed, corpus: Corpus) -> dict[str, Kept]:
    """The gates of the profiled recordings by attack."""
    whole = corpus.of(observed.profiled)
    names = np.array(whole.attacks, dtype=object)
    everyone = Kept(observed.gates, whole.sources)
    return {name: everyone.pick(np.asarray(names == name)) for name in whole.names}


def _must_not_differ(observed: Observed, corpus: Corpus) -> dict[str, tuple[Kept, Kept]]:
    """The null control against bona fide speech, and bona fide speech of each condition against the rest of it."""
    whole = corpus.of(observed.profiled)
    everyone = Kept(observed.gates, whole.sources)
    names, conditions = (np.array(column, dtype=object) for column in (whole.attacks, whole.conditions))
    real = np.asarray(names == BONA_FIDE)
    found = {}
    if NULL_DOMAIN in whole.names:
        found[NULL_DOMAIN] = (everyone.pick(np.asarray(names == NULL_DOMAIN)), everyone.pick(real))
    heard = sorted({name for name, own in zip(whole.conditions, real, strict=True) if own and name})
    # Untouched speech is what the others are compared with; where there is none, all the rest is.
    plain = real & np.asarray(conditions == NO_CONDITION)
    for name in heard:
        own = real & np.asarray(conditions == name)
        rest = plain if plain.any() else real & ~own
        if name != NO_CONDITION and rest.any():
            found[f"{BONA_FIDE}, {name}"] = (everyone.pick(own), everyone.pick(rest))
    return found


def _remarks(findings: Findings) -> list[str]:
    lines = _told_apart(
        [item for item in findings.controls if item.p_corrected < _BEYOND_CHANCE], len(findings.controls)
    )
    control = findings.errors.get(NULL_DOMAIN)
    if control is not None and control.eer_ci is not None:
        lines += fault_of_control(control.eer, control.eer_ci)
    if findings.ablation and not findings.errors:
        lacking = "forged" if all(item.attack == BONA_FIDE for item in findings.ablation) else "bona fide"
        lines.append(
            f"there is no {lacking} speech to measure against: no EER, and no verdict on who catches what"
        )
    if findings.health is not None and findings.health.dead:
        lines.append(f"experts that never act: {', '.join(findings.health.dead)}")
    return lines


def _told_apart(found: Sequence[Distance], tested: int) -> list[str]:
    """A line for each of a few; of many one line, which names the furthest."""
    if len(found) > _MOST_NAMED:
        most = max(found, key=lambda item: item.distance)
        furthest = f"{most.one} furthest (distance {most.distance:.3f}, p = {most.p_corrected:.3f})"
        return [
            f"{len(found)} of {tested} controls are told apart, {furthest}: experts listen to the condition"
        ]
    return [
        f"{item.one} is routed differently from {item.other} (distance {item.distance:.3f}, "
        f"p = {item.p_corrected:.3f}): experts listen to the condition"
        for item in found
    ]
