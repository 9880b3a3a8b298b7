"""The mixture: LoRA experts on a frozen base and a router in every block."""

from molex_adapt.mixture.experts import ExpertLinear, ExpertSpec, ExpertWeights
from molex_adapt.mixture.mixture import Mixture
from molex_adapt.mixture.routers import Heirs, Router, Routing

__all__ = ["ExpertLinear", "ExpertSpec", "ExpertWeights", "Heirs", "Mixture", "Router", "Routing"]
