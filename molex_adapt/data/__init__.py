"""Labelled speech in any form becomes one table: reading, auditing, dividing, decoding."""

from __future__ import annotations

from molex_adapt.data.audio import decode, stream
from molex_adapt.data.audit import Audit, audit
from molex_adapt.data.channels import Channels
from molex_adapt.data.folder import find_audio, read_folder
from molex_adapt.data.heard import Heard, hear, listen
from molex_adapt.data.manifest import read_manifest, write_manifest
from molex_adapt.data.read import read
from molex_adapt.data.remarks import Remark, remarks_on
from molex_adapt.data.splits import assign_splits, describe_split
from molex_adapt.data.table import Failed, Table, Utterance

__all__ = [
    "Audit",
    "Channels",
    "Failed",
    "Heard",
    "Remark",
    "Table",
    "Utterance",
    "assign_splits",
    "audit",
    "decode",
    "describe_split",
    "find_audio",
    "hear",
    "listen",
    "read",
    "read_folder",
    "read_manifest",
    "remarks_on",
    "stream",
    "write_manifest",
]
