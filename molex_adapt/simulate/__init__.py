"""Attack domains made from bona fide recordings: the same words and voice, forged, through one last stage."""

from molex_adapt.simulate.attack import Attack
from molex_adapt.simulate.catalog import ATTACKS, make_attack
from molex_adapt.simulate.output import SIMULATED
from molex_adapt.simulate.run import Simulated, simulate, worker_pool
from molex_adapt.simulate.speech import prompts
from molex_adapt.simulate.stage import LastStage

__all__ = [
    "ATTACKS",
    "SIMULATED",
    "Attack",
    "LastStage",
    "Simulated",
    "make_attack",
    "prompts",
    "simulate",
    "worker_pool",
]
