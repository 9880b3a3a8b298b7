"""Published corpora in the form in which they are distributed: a file for each, and `known` with the table of them."""

from __future__ import annotations

from molex_adapt.data.corpora.corpus import Fault, PartListing, PublishedCorpus, Recognised
from molex_adapt.data.corpora.known import CORPORA, is_protocol, list_names, recognise, recognise_file

__all__ = [
    "CORPORA",
    "Fault",
    "PartListing",
    "PublishedCorpus",
    "Recognised",
    "is_protocol",
    "list_names",
    "recognise",
    "recognise_file",
]
