"""Experts and mixtures to and from the Hugging Face Hub, through its own client. Loads no model."""

from molex_adapt.hub.client import read_token
from molex_adapt.hub.pull import fetch_mixture, find_expert
from molex_adapt.hub.push import Hub

__all__ = ["Hub", "fetch_mixture", "find_expert", "read_token"]
