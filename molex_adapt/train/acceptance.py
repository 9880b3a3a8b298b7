"""Acceptance: whether a new generation may become active, by what it did to every domain.

EERs are those that `evaluate` reports: equal scores count as in the ASVspoof 5 package. Error rates at the frozen
threshold count each score as a decision.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from molex_adapt.detector import Detector
from molex_adapt.features import Features, concatenate, logits_of
from molex_adapt.metrics import (
    FEWEST_FOR_INTERVAL,
    Rates,
    RefusalsChange,
    error_rates,
    measure,
    paired_change,
    paired_refusals,
)
from molex_adapt.recipe import AcceptanceOptions
from molex_adapt.reports import Change

MOST_ACCEPTED = 0.5
"""Share of a new domain's spoofed speech; more at the threshold is said to the user."""
CHANCE = 0.5
"""The EER of a detector that hears nothing."""
FEWEST = 20
"""Bona fide recordings of a voice for which its refusals are judged by themselves."""
FEWEST_VOICES = 4
"""Fewer tell nothing of others, and Student's quantile would ask for more than training brings: recordings count."""
_SAME = 0.02
"""Nats between two scores of one utterance at most; two takes of a source are further apart."""
_Pair: TypeAlias = tuple[str, float, float]


@dataclass(frozen=True)
class DomainScores:
    """Log-likelihood ratios of one domain's utterances, with their classes and source recordings, each (N,)."""

    scores: NDArray[np.float64]
    bona_fide: NDArray[np.bool_]
    sources: tuple[str, ...]

    @property
    def classes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores of bona fide and of spoofed utterances."""
        return self.scores[self.bona_fide], self.scores[~self.bona_fide]

    @property
    def groups(self) -> tuple[list[str], list[str]]:
        """Source recordings of bona fide and of spoofed utterances."""
        pairs = list(zip(self.sources, self.bona_fide, strict=True))
        return [s for s, label in pairs if label], [s for s, label in pairs if not label]


def score_sets(detector: Detector, sets: Mapping[str, Features]) -> dict[str, DomainScores]:
    """Calibrated scores of every domain's measuring set; an utterance that several sets share is scored once."""
    logits = logits_of(detector, concatenate(list(sets.values()))).double().numpy()
    found, start = {}, 0
    for domain, features in sets.items():
        end = start + len(features)
        scores = detector.calibration.apply(logits[start:end])
        found[domain] = DomainScores(scores, features.bona_fide.numpy(), features.sources)
        start = end
    return found


def rates(scored: Mapping[str, DomainScores]) -> dict[str, Rates]:
    """Figures per domain, with intervals drawn over source recordings."""
    return {domain: measure(*item.classes, groups=item.groups) for domain, item in scored.items()}


def compare(
    before: Mapping[str, DomainScores],
    after: Mapping[str, DomainScores],
    threshold: float,
    new_domain: str | None = None,
    voices: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Change]:
    """Paired comparison of the same utterances under the old and the new mixture; the threshold is in nats.

    A gain is to hold for other voices, so the interval of the `new_domain` is drawn over `voices`, names by source,
    where four are known of either class: over recordings it is far too narrow. Harm is sought in recordings.
    """
    found = {}
    for domain, old in before.items():
        new, groups, count = after[domain], old.groups, None
        if domain == new_domain:
            known = [{voices[source] for source in own if source in voices} for own in groups]
            if min(map(len, known)) >= FEWEST_VOICES:
                real, fake = ([voices.get(source, source) for source in own] for own in groups)
                groups, count = (real, fake), len(known[0] | known[1])
        delta, interval = paired_change(*old.classes, *new.classes, groups=groups)
        miss_before, alarm_before = error_rates(*old.classes, threshold)
        miss_after, alarm_after = error_rates(*new.classes, threshold)
        shifts = [float(np.mean(b - a)) for a, b in zip(old.classes, new.classes, strict=True)]
        found[domain] = Change(
            delta,
            interval,
            (miss_before, miss_after),
            (alarm_before, alarm_after),
            shifts[0],
            shifts[1],
            count,
        )
    return found


def compare_refused(
    before: Mapping[str, DomainScores],
    after: Mapping[str, DomainScores],
    threshold: float,
) -> RefusalsChange | None:
    """How much bona fide speech of all domains the threshold refuses; None where there is none.

    Domains share bona fide speech, and a shared utterance counts once.
    """
    return _refused(_real_speech(before, after), threshold)


def refused_by_voice(
    before: Mapping[str, DomainScores],
    after: Mapping[str, DomainScores],
    threshold: float,
    voices: Mapping[str, str],
) -> dict[str, RefusalsChange]:
    """The same for each voice of which there are enough recordings; `voices` are names by source.

    The intervals hold for all of these voices together (Bonferroni): of many, chance alone would make one worse.
    """
    own: dict[str, list[_Pair]] = {}
    for pair in _real_speech(before, after):
        if pair[0] in voices:
            own.setdefault(voices[pair[0]], []).append(pair)
    enough = {voice: pairs for voice, pairs in sorted(own.items()) if len(pairs) >= FEWEST}
    changes = {voice: _refused(pairs, threshold, len(enough)) for voice, pairs in enough.items()}
    return {voice: change for voice, change in changes.items() if change is not None}


def _real_speech(before: Mapping[str, DomainScores], after: Mapping[str, DomainScores]) -> list[_Pair]:
    """Source, score before and score after of every bona fide utterance, once.

    One that an earlier domain had already has the same source and the same scores, but for what another batch and half
    precision make of them.
    """
    found: dict[str, list[_Pair]] = {}
    for domain, item in before.items():
        columns = item.sources, item.scores, after[domain].scores, item.bona_fide
        new = [
            (source, float(first), float(then))
            for source, first, then, real in zip(*columns, strict=True)
            if real and not any(_same(pair, first, then) for pair in found.get(source, ()))
        ]
        for pair in new:
            found.setdefault(pair[0], []).append(pair)
    return [pair for pairs in found.values() for pair in pairs]


def _same(pair: _Pair, before: float, after: float) -> bool:
    return max(abs(pair[1] - before), abs(pair[2] - after)) < _SAME


def _refused(pairs: Sequence[_Pair], threshold: float, together: int = 1) -> RefusalsChange | None:
    """One of so many comparisons that are judged together."""
    if not pairs:
        return None
    sources, first, second = zip(*pairs, strict=True)
    return paired_refusals(first, second, threshold, sources, comparisons=together)


def refusals(
    changes: Mapping[str, Change],
    real_speech: RefusalsChange | None,
    new_domain: str | None,
    options: AcceptanceOptions,
    voices: Mapping[str, RefusalsChange] = MappingProxyType({}),
    risen: Mapping[str, float] = MappingProxyType({}),
) -> list[str]:
    """Why the new generation may not be activated; empty when it may.

    An old domain is worse when its EER rose by more than the tolerance, together with what it had `risen` above its
    best before: many small steps are a large one. Real speech is worse when more of it is refused, of
    all `voices` together or of one. The interval of the rise must lie above zero as well: a point of EER is one
    utterance of a hundred, and on small check sets chance alone exceeds the tolerance.
    """
    found = []
    of_all = {} if real_speech is None else {"bona fide speech": real_speech}
    for whose, rise in (of_all | {f"voice {name}": own for name, own in voices.items()}).items():
        low, high = rise.interval
        if rise.rise > options.refused and low > 0:
            found.append(
                f"{whose}: {100 * rise.before:.1f} % of {rise.bona_fide} recordings were "
                f"refused at the frozen threshold, now {100 * rise.after:.1f} % (interval of the rise "
                f"{100 * low:+.1f} to {100 * high:+.1f} points); the tolerance is {100 * options.refused:.1f}"
            )
    for domain, change in changes.items():
        low, high = change.interval
        before = risen.get(domain, 0.0)
        if domain != new_domain and change.eer + before > options.tolerance and low > 0:
            above = f", and lay {100 * before:.1f} above its best before" if before > 0 else ""
            found.append(
                f"{domain}: EER rose by {100 * change.eer:.1f} points (interval {100 * low:+.1f} to "
                f"{100 * high:+.1f}){above}; the tolerance is {100 * options.tolerance:.1f}"
            )
    return found


def unproven(
    changes: Mapping[str, Change], after: Mapping[str, Rates], new_domain: str, caught: bool = False
) -> list[str]:
    """Why nobody can tell that the new domain is detected better than before; empty where the interval says so.

    Nor is anything to be proven where more of it is `caught` at the threshold and its EER did not rise for certain.
    Of a few recordings no interval tells anything.
    """
    change, rates = changes.get(new_domain), after.get(new_domain)
    if change is None or rates is None:
        return []
    if not rates.has_interval:
        few = (
            f"{rates.bona_fide} bona fide and {rates.spoof} spoofed test recordings tell nothing for certain"
        )
        return [
            f"{new_domain}: {few}; at least {FEWEST_FOR_INTERVAL} of each class are needed. Give more recordings"
        ]
    if change.interval[1] < 0 or (caught and change.interval[0] <= 0):
        return []
    low, high = (f"{100 * edge:+.1f}" for edge in change.interval)
    over = "" if change.voices is None else f" by {change.voices} voices"
    text = (
        f"{new_domain}: no certain gain. Its EER changed by {100 * change.eer:+.1f} points (interval {low} to {high}) "
        f"on {rates.bona_fide} bona fide and {rates.spoof} spoofed recordings{over}"
    )
    if change.eer < 0:
        # The width of an interval falls with the root of the number of recordings.
        # To end below zero it has to come by one recording further than zero.
        fewest = min(rates.bona_fide, rates.spoof)
        reach = (max(change.interval[1], 0.0) + 1 / fewest - change.eer) / -change.eer
        needed = math.ceil(fewest * reach**2)
        text += (
            f"; a test split of about {needed} of each class{_by_more(change, needed / fewest)} would tell, if the "
            "gain is as large as it seems"
        )
    return [text]


def _by_more(change: Change, times: float) -> str:
    return "" if change.voices is None else f", by about {math.ceil(change.voices * times)} voices,"


def unknown(
    changes: Mapping[str, Change],
    after: Mapping[str, Rates],
    new_domains: Collection[str],
    options: AcceptanceOptions,
    refused: Sequence[str],
    more: str,
) -> list[str]:
    """A remark on old domains that may have suffered beyond the tolerance: too few recordings are kept to tell.

    `more` says how to measure on more.
    """
    may = {
        domain: change.most_risen(after[domain])
        for domain, change in changes.items()
        if domain not in new_domains
        and change.most_risen(after[domain]) > options.tolerance
        and not any(why.startswith(f"{domain}: ") for why in refused)
    }
    if not may:
        return []
    named = ", ".join(
        f"{domain} (up to {100 * most:+.1f}, of {after[domain].bona_fide} and {after[domain].spoof} recordings)"
        for domain, most in may.items()
    )
    tolerance = f"the tolerance of {100 * options.tolerance:.1f} points"
    return [f"nobody can tell whether EERs rose beyond {tolerance}: {named}; {more}"]


def undetected(after: Mapping[str, Rates]) -> list[str]:
    """A remark for each domain of a first mixture that it does not certainly tell from real speech better than chance.

    It is active for all that: no former mixture's figures could be compared with its own.
    """
    told = []
    for domain, rates in after.items():
        low, high = rates.eer_ci
        if not high < CHANCE:
            reach = f"{100 * low:.1f} to {100 * high:.1f}" if rates.has_interval else "no interval"
            told.append(
                f"{domain}: nobody can tell that it is detected. Its EER is {100 * rates.eer:.1f} % ({reach}) on "
                f"{rates.bona_fide} bona fide and {rates.spoof} spoofed recordings; by chance it is 50 %"
            )
    return told


def caught_at_threshold(
    before: Mapping[str, DomainScores], after: Mapping[str, DomainScores], new_domain: str, threshold: float
) -> bool:
    """Whether the threshold certainly accepts less of a domain's spoofed speech, and refuses no more of its bona fide.

    An EER tells of ranks alone: a mixture may rank an attack below all real speech and accept all of it.
    """
    if new_domain not in before:
        return False
    old, new = before[new_domain], after[new_domain]
    (real, fake), (real_now, fake_now) = old.classes, new.classes
    fewer = paired_refusals(fake, fake_now, threshold, old.groups[1])
    return bool(fewer.interval[0] > 0 and (real_now < threshold).sum() <= (real < threshold).sum())


def still_accepted(changes: Mapping[str, Change], after: Mapping[str, Rates], new_domain: str) -> list[str]:
    """A remark where the frozen threshold accepts most of the new domain's spoofed speech, whatever its EER came to."""
    change, rates = changes.get(new_domain), after.get(new_domain)
    if change is None or rates is None or change.false_alarm[1] <= MOST_ACCEPTED:
        return []
    before, now = (100 * share for share in change.false_alarm)
    if change.eer < 0 and rates.eer < CHANCE:
        why = (
            "it ranks lower, and not low enough. A higher threshold catches more of it, and refuses more real speech: "
            "molex-adapt set-threshold"
        )
    else:
        why = "it ranks no lower than before, or than by chance. Give more recordings, of more voices"
    text = (
        f"{new_domain}: at the frozen threshold {now:.0f} % of its spoofed speech is still accepted ({before:.0f} % "
        f"before), with an EER of {100 * rates.eer:.1f} %: {why}"
    )
    return [text]
