"""Three sentences for three questions, from the figures: is the attack caught, is anything forgotten, who works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, Literal

from molex_adapt.conventions import BONA_FIDE, NULL_DOMAIN
from molex_adapt.reports import Analysis, Change, Comparison, StageReport

CAUGHT = 0.05
"""An attack with an EER of at most this counts as caught."""

ALIKE = 0.05
"""Shares of an expert that differ by less count as the same."""

Caught = Literal["yes", "before already", "partly", "no", "cannot tell"]
Forgot = Literal["no", "a little", "yes", "cannot tell"]


_AS_IT_WAS: tuple[Forgot, str] = (
    "no",
    "It forgot nothing: the new generation was refused, and the detector is as it was.",
)


@dataclass(frozen=True)
class Verdict:
    """What the demonstration came to."""

    caught: Caught
    """"cannot tell" where the EER fell to what counts as caught, and that could be chance."""
    forgot: Forgot
    """"cannot tell" where the recordings are too few to rule out more than the tolerance."""
    sentences: tuple[str, str, str]
    """On the new attack, on the old ones, on the experts."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def judge(
    added: StageReport, voices: Mapping[str, Comparison], analysis: Analysis, attack: str, tolerance: float
) -> Verdict:
    """Answer the three questions.

    Args:
        added: what became of the new expert.
        voices: comparisons by the words for whose voices they are, those known from training first.
        analysis: shares of the experts after it.
        attack: what `analysis` calls the new domain's forged speech.
        tolerance: rise of an old domain's EER that is accepted, a fraction.
    """
    caught, first = _catching(added, voices)
    forgot, second = _forgetting(voices, tolerance) if added.activated else _AS_IT_WAS
    return Verdict(caught, forgot, (first, second, _working(added, analysis, attack)))


def _catching(added: StageReport, voices: Mapping[str, Comparison]) -> tuple[Caught, str]:
    novel = str(next(iter(voices.values())).novel)
    rates = {
        words: (item.before[novel].eer, item.after[novel].eer, item.change[novel])
        for words, item in voices.items()
        if novel in item.change
    }
    figures = " and ".join(
        f"{100 * before:.1f} to {100 * after:.1f} % for {words}"
        for words, (before, after, _) in rates.items()
    )
    if not added.activated:
        return "no", (
            f"It does not catch {novel}: the new expert was refused ({'; '.join(added.refused)}), and the detector is "
            f"as it was, EER from {figures}."
        )
    accepted = " and ".join(
        f"{100 * change.false_alarm[0]:.0f} to {100 * change.false_alarm[1]:.0f} % for {words}"
        for words, (_, _, change) in rates.items()
    )
    caught = _together({_caught(*item) for item in rates.values()})
    said = {
        "yes": f"It catches {novel} now",
        "before already": f"It caught {novel} before already",
        "partly": f"It catches {novel} only in part",
        "no": f"It does not catch {novel}",
        "cannot tell": f"Whether it catches {novel} now cannot be told from so few recordings",
    }
    return (
        caught,
        f"{said[caught]}: the EER went from {figures}. What the threshold accepts of it went from {accepted}.",
    )


def _together(found: set[Caught]) -> Caught:
    """Of all voices: where each has it caught at last, one for which that is certainly new is enough."""
    if len(found) == 1:
        return next(iter(found))
    if found and found <= {"yes", "before already", "cannot tell"}:
        return "yes" if "yes" in found else "cannot tell"
    return "partly"


def _caught(before: float, after: float, change: Change) -> Caught:
    better = change.interval[1] < 0
    if after > CAUGHT:
        return "partly" if better else "no"
    if before <= CAUGHT:
        return "before already"
    return "yes" if better else "cannot tell"


def _forgetting(voices: Mapping[str, Comparison], tolerance: float) -> tuple[Forgot, str]:
    """A rise is one where its interval says so; where intervals leave room for more than the tolerance, none is denied.

    Of the voice nobody heard there are too few recordings to rule a rise out: only one that is seen counts against it.
    """
    known, *others = ({name: item.change[name] for name in _old(item)} for item in voices.values())
    if not known:
        return "cannot tell", "Whether it forgot anything cannot be told: no old domain could be measured."
    changes = [known, *others]
    certain = [change for found in changes for change in found.values() if change.interval[0] > 0]
    first = next(iter(voices.values()))
    highest = max(change.most_risen(first.after[name]) for name, change in known.items())
    seen = any(change.eer > tolerance for found in others for change in found.values())
    may_be_more = highest > tolerance or seen
    forgot: Forgot
    if any(change.eer > tolerance for change in certain):
        forgot, said = "yes", "It forgot something"
    elif certain and may_be_more:
        more = (
            f"whether more than the {100 * tolerance:.0f} points it may cannot be told from so few recordings"
        )
        forgot, said = "cannot tell", f"It forgot something; {more}"
    elif certain:
        forgot, said = "a little", f"It forgot a little, no more than the {100 * tolerance:.0f} points it may"
    elif may_be_more:
        forgot, said = "cannot tell", "Whether it forgot anything cannot be told from so few recordings"
    else:
        forgot, said = "no", f"It forgot none of the {len(known)} old attacks"
    worst = " and ".join(_worst(words, found) for words, found in zip(voices, changes, strict=True) if found)
    return forgot, f"{said}: the EER changed at worst by {worst}. {_refusals(voices)}"


def _old(report: Comparison) -> list[str]:
    return [name for name in report.change if name not in (report.novel, NULL_DOMAIN)]


def _worst(words: str, changes: Mapping[str, Change]) -> str:
    name = max(changes, key=lambda domain: changes[domain].eer)
    low, high = changes[name].interval
    return (
        f"{100 * changes[name].eer:+.1f} points ({name}, {100 * low:+.1f} to {100 * high:+.1f}) for {words}"
    )


def _refusals(voices: Mapping[str, Comparison]) -> str:
    """The same real speech in every domain: what the frozen threshold refuses of it."""
    pairs = {
        words: item.change[item.novel].miss for words, item in voices.items() if item.novel in item.change
    }
    figures = " and ".join(
        f"{100 * before:.1f} to {100 * after:.1f} % for {words}" for words, (before, after) in pairs.items()
    )
    return f"What it refuses of real speech went from {figures}, at an unchanged threshold."


def _working(added: StageReport, analysis: Analysis, attack: str) -> str:
    shares = analysis.usage[attack]
    order = sorted(shares, key=lambda name: -shares[name])
    told = ", ".join(f"{name} {100 * shares[name]:.0f} %" for name in order)
    new = str(added.expert)
    if new not in shares:
        return f"On {attack} the old experts do the work: {told}."
    if added.withdrawn:
        harmful = added.gain is not None and added.gain.is_certain
        would = "do harm elsewhere" if harmful else "not help"
        return (
            f"The new expert would {would} and is withdrawn, its gates closed; what "
            f"the readout learnt of {attack} stays, beside the old experts: {told}."
        )
    others = [row for row in analysis.attacks if row not in (attack, BONA_FIDE, NULL_DOMAIN)]
    elsewhere = mean([analysis.usage[row][new] for row in others] or [0.0])
    place = "most" if order[0] == new else "least" if order[-1] == new else "a part"
    more, less = shares[new] > elsewhere + ALIKE, shares[new] < elsewhere - ALIKE
    where = f"{'more than' if more else 'less than' if less else 'about as'} on the other attacks"
    return f"On {attack} the new expert does {place} of the work, {where} ({100 * elsewhere:.0f} %): {told}."
