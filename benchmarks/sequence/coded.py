"""Domains of the sequence whose forged class is coded speech: opus_6k, gsm, mp3.

To the package a codec is a condition, which both classes go through. The plan is older: it has the forged class alone
go through one, as an attack that replaces nothing of the voice. What stands here is that former meaning, nothing else.
"""

from __future__ import annotations

from typing import ClassVar

from benchmarks.sequence.settings import PlannedDomain
from molex_adapt.simulate import CONDITIONS, Attack, make_attack, make_condition
from molex_adapt.simulate.null import Null


class Coded(Null):
    """Conditions that the forged class alone goes through, as in the control; here a detector learns to refuse it."""

    name: ClassVar[str] = "coded"


def attack_of(domain: PlannedDomain) -> Attack:
    """What forges a domain's recordings: an attack, or a codec in place of one."""
    if domain.attack in CONDITIONS:
        return Coded(conditions=(make_condition(domain.attack, domain.parameters),))
    return make_attack(domain.attack, domain.parameters)
