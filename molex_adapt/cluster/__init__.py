"""Recordings scored, analysed and made into features by many workers, on one machine or many, with Ray Data.

A worker is an actor with a detector of its own. It is given pieces of the manifest one by one; when it dies, Ray starts
another, and the piece is done again. What a piece comes to does not depend on who does it or how often.
"""

from molex_adapt.cluster.analysis import analyse_manifest
from molex_adapt.cluster.filling import fill_cache
from molex_adapt.cluster.pool import Cluster
from molex_adapt.cluster.scoring import score_manifest

__all__ = ["Cluster", "analyse_manifest", "fill_cache", "score_manifest"]
