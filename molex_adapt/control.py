"""The null control: bona fide speech in another condition under the label of an attack, which nothing may tell."""

from __future__ import annotations

from molex_adapt.conventions import NULL_DOMAIN, NULL_EER


def fault_of_control(eer: float, interval: tuple[float, float]) -> list[str]:
    """What to say where its EER, a fraction, is certainly not what it must be: one sentence, or none."""
    low, high = NULL_EER
    if low <= eer <= high or interval[0] <= 0.5 <= interval[1]:
        return []
    told = (
        f"the control {NULL_DOMAIN} (bona fide speech in another condition) has an EER of {100 * eer:.1f} %, expected "
        f"{100 * low:.0f} to {100 * high:.0f} %: scores depend on the condition"
    )
    return [told]
