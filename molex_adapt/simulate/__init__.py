"""Attack domains made from bona fide recordings: the same words and voice, forged, through one finish."""

from molex_adapt.simulate.attack import Attack
from molex_adapt.simulate.catalog import ATTACKS, make_attack
from molex_adapt.simulate.finish import Finish
from molex_adapt.simulate.output import SIMULATED
from molex_adapt.simulate.run import Simulated, simulate, worker_pool
from molex_adapt.simulate.speech import prompts

__all__ = [
    "ATTACKS",
    "SIMULATED",
    "Attack",
    "Finish",
    "Simulated",
    "make_attack",
    "prompts",
    "simulate",
    "worker_pool",
]
