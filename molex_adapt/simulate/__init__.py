"""Attack domains made from bona fide recordings: the same words and voice, forged; and conditions for both classes."""

from molex_adapt.simulate.attack import Attack
from molex_adapt.simulate.catalog import ATTACKS, make_attack
from molex_adapt.simulate.condition import Condition
from molex_adapt.simulate.conditions import CONDITIONS, make_condition, read_condition
from molex_adapt.simulate.finish import Finish
from molex_adapt.simulate.output import SIMULATED
from molex_adapt.simulate.run import Simulated, simulate, worker_pool
from molex_adapt.simulate.speech import prompts, speech_of

__all__ = [
    "ATTACKS",
    "CONDITIONS",
    "SIMULATED",
    "Attack",
    "Condition",
    "Finish",
    "Simulated",
    "make_attack",
    "make_condition",
    "prompts",
    "read_condition",
    "simulate",
    "speech_of",
    "worker_pool",
]
