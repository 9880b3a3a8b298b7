"""Experts and mixtures to and from the Hugging Face Hub, through its own client. Loads no model."""

from molex_adapt.hub.credentials import read_token
from molex_adapt.hub.outdated import outdated
from molex_adapt.hub.pull import fetch_mixture, find_expert
from molex_adapt.hub.push import push_expert, push_mixture

__all__ = ["fetch_mixture", "find_expert", "outdated", "push_expert", "push_mixture", "read_token"]
