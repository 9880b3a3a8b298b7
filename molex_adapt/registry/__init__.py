"""Experts and generations on disk: safetensors and YAML, written whole or not at all."""

from molex_adapt.registry.draft import GenerationDraft, NewExpert
from molex_adapt.registry.records import (
    BaseRecord,
    DataRecord,
    ExpertRecord,
    GenerationRecord,
    OriginRecord,
    PublishedRecord,
)
from molex_adapt.registry.store import Store

__all__ = [
    "BaseRecord",
    "DataRecord",
    "ExpertRecord",
    "GenerationDraft",
    "GenerationRecord",
    "NewExpert",
    "OriginRecord",
    "PublishedRecord",
    "Store",
]
