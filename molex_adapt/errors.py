"""Every error this package raises on purpose.

A message has three beats: what failed, with its values; what was expected; what to do next.
Library code raises these and never prints or exits; `molex_adapt.cli` turns them into exit status 1.
"""

from __future__ import annotations


class MolexError(Exception):
    """Root of all errors that a user can cause and mend."""


class RecipeError(MolexError):
    """A recipe or an override of it is wrong."""


class AudioError(MolexError):
    """One recording cannot be decoded or used."""


class DataError(MolexError):
    """A set of utterances (folder, manifest, protocol, score file) cannot be used."""


class ExpertError(MolexError):
    """An expert does not fit the base, or does not act on it."""


class RegistryError(MolexError):
    """The registry on disk is missing, locked, damaged or of another format."""


class HubError(MolexError):
    """A transfer to or from the Hugging Face Hub failed."""
