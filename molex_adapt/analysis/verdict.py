"""Who catches an attack, in words: an expert, several, the readout alone, or nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from molex_adapt.analysis.parts import Removed
from molex_adapt.conventions import NULL_DOMAIN
from molex_adapt.findings import Ablation, AttackVerdict, Errors, WithoutWitness
from molex_adapt.metrics import FEWEST_FOR_INTERVAL

MISSED = 0.2
"""An attack with an EER of at least this is caught by nobody: one in five is taken for real."""
_NAMED = 3
_IDLE = 0.005
"""An expert with a smaller share in how scores move does not act."""


def verdicts(
    errors: Mapping[str, Errors],
    ablation: Sequence[Ablation],
    moved: Mapping[str, Mapping[str, float]],
    silenced: Sequence[WithoutWitness] = (),
) -> list[AttackVerdict]:
    """On every attack that was measured; the null control is none.

    Args:
        errors: by attack.
        ablation: of every expert; without it nothing is said.
        moved: shares of the scores' movement, by attack and expert.
        silenced: every witness of the readout.
    """
    others = [item for item in ablation if item.heirs == "others"]
    found = []
    for name, rates in errors.items():
        if name != NULL_DOMAIN and name in moved:
            witnesses = [item.witness for item in _needed(name, silenced)]
            said = _verdict(name, rates, _needed(name, others), moved[name], witnesses)
            found.append(replace(said, witnesses=witnesses))
    return found


def unneeded(ablation: Iterable[Ablation], experts: Sequence[str]) -> list[str]:
    """Experts without which the EER of no attack rises beyond chance; none where no attack could tell.

    An attack tells where it has an interval; the null control is none.
    """
    tried = [
        item
        for item in ablation
        if item.heirs == "others" and item.eer_ci is not None and item.attack != NULL_DOMAIN
    ]
    needed = {item.expert for item in tried if item.is_needed}
    return [name for name in experts if name not in needed] if tried else []


def _needed(attack: str, removed: Sequence[Removed]) -> list[Removed]:
    """What the others cannot stand in for, that which is missed most first."""
    found = [item for item in removed if item.attack == attack and item.is_needed]
    return sorted(found, key=lambda item: -(item.eer_change or 0.0))


def _verdict(
    attack: str,
    errors: Errors,
    needed: list[Ablation],
    moved: Mapping[str, float],
    witnesses: list[str],
) -> AttackVerdict:
    if errors.eer_ci is None or errors.experts_ci is None:
        heard = f"{errors.spoof} recording{'s' if errors.spoof > 1 else ''}"
        said = f"cannot be told from {heard} against {errors.bona_fide} of bona fide speech"
        needs = f"{FEWEST_FOR_INTERVAL} of each are needed"
        return AttackVerdict(attack, "unclear", [], f"{attack}: {said}; {needs}")
    low, high = errors.eer_ci
    rate = f"EER {100 * errors.eer:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    if errors.eer >= MISSED:
        remedy = _remedy(moved.get(attack))
        return AttackVerdict(attack, "nobody", [], f"{attack}: nobody's, {rate}: {remedy}")
    names = [item.expert for item in needed]
    if len(names) == 1:
        rise = 100 * (needed[0].eer_change or 0.0)
        said = f"caught by {names[0]}, {rate}; without it {rise:+.1f} points"
        return AttackVerdict(attack, "caught", names, f"{attack}: {said}")
    if names:
        return AttackVerdict(attack, "shared", names, f"{attack}: shared by {_listed(names)}, {rate}")
    if errors.experts_ci[0] > 0:
        most = sorted(moved, key=lambda name: -moved[name])[:2]
        said = f"shared by {_listed(most)}, {rate}; no single one is certainly needed"
        return AttackVerdict(attack, "shared", most, f"{attack}: {said}")
    if errors.readout_alone is not None and errors.readout_alone < MISSED:
        first, last = (f"{100 * end:+.1f}" for end in errors.experts_ci)
        word = "witness" if len(witnesses) == 1 else "witnesses"
        known = f" (its {word} for {_listed(witnesses)})" if witnesses else ""
        said = f"caught by the readout alone{known}, {rate}; without all experts {first} to {last} points"
        return AttackVerdict(attack, "readout", [], f"{attack}: {said}")
    return AttackVerdict(attack, "unclear", [], f"{attack}: caught, {rate}, but by no part alone")


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:_NAMED], *([f"{len(names) - _NAMED} more"] if len(names) > _NAMED else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _remedy(share: float | None) -> str:
    """Where an attack is missed, by the share of the expert of its name, if there is one."""
    if share is None:
        return "add an expert"
    what = "does not act on it" if share < _IDLE else "is not enough"
    return f"the expert of its name {what}, learn more of it"
