"""Contents of repositories with one thing changed, and every hash of it mended."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from molex_adapt.registry import files, layout

ADAPTER, EXPERT = layout.ADAPTER, layout.EXPERT


def changed(content, path, body, record=EXPERT):
    """Files with another content, and the record's hash of it mended."""
    found = yaml.safe_load(content[record])
    found["files"][path] = hashlib.sha256(body).hexdigest()
    if record != EXPERT and path in found["generation"]["files"]:
        found["generation"]["files"][path] = found["files"][path]
    if record == EXPERT and path == ADAPTER:
        found["expert"]["weights_sha256"] = found["files"][path]
        found["mixture"]["experts"][0] = found["files"][path]
    if record == EXPERT and path == layout.EXEMPLARS:
        found["expert"]["exemplars_sha256"] = found["files"][path]
    if record == EXPERT and path == layout.ROUTING:
        found["expert"]["routing_sha256"] = found["files"][path]
    return {**content, path: body, record: yaml.safe_dump(found, sort_keys=False).encode()}


def recorded(content, record=EXPERT, **changes):
    """Files whose record says something else; keys are dotted paths with __ for dots."""
    found = yaml.safe_load(content[record])
    for key, value in changes.items():
        *parents, last = key.split("__")
        section = found
        for parent in parents:
            section = section[parent]
        section[last] = value
    return {**content, record: yaml.safe_dump(found, sort_keys=False).encode()}


def arrays(content, path):
    return {key: array.copy() for key, array in files.parse_tensors(content[path], Path(path)).items()}
