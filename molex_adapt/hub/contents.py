"""What a repository of ours holds beside the PEFT adapter: records, closed to keys they do not know."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, StrictInt, model_validator

from molex_adapt.conventions import NAME_PATTERN
from molex_adapt.registry import layout
from molex_adapt.registry.records import (
    BaseRecord,
    CalibrationRecord,
    ExpertRecord,
    Finite,
    GenerationRecord,
    Record,
    Sha256,
)
from molex_adapt.text import shown

MIXTURE = "mixture.yaml"

_ALWAYS = (layout.ADAPTER_CONFIG, layout.ADAPTER, layout.EXEMPLARS, layout.ROUTING, layout.CARD)
EXPERT_FILES = (*_ALWAYS, layout.ROUTER, layout.HEAD)
"""What may lie beside an expert's expert.yaml."""
_OF_EXPERT = (*_ALWAYS, layout.EXPERT)
_OF_BASE = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.(json|safetensors|yaml|md)|LICENSE[A-Za-z0-9_.-]{0,93}"


def is_of_base(name: str) -> bool:
    """Whether a file of an embedded base travels with a mixture."""
    return re.fullmatch(_OF_BASE, name) is not None


class Surroundings(Record):
    """The mixture that an expert acted in: what its router rows and its calibration refer to."""

    experts: list[Sha256] = Field(min_length=1, max_length=4096)
    """Hashes of the adapters behind the router's rows; the expert itself comes first. Names do not travel."""
    recipe: str
    """Of its generation, verbatim: routing, head, windows."""
    calibration: CalibrationRecord
    threshold: Finite


class ExpertContents(Record):
    """expert.yaml of a repository with one expert."""

    format: StrictInt
    expert: ExpertRecord
    mixture: Surroundings
    files: dict[str, Sha256]
    """Of every other file. The card may be edited there; it is never read here."""

    @model_validator(mode="after")
    def _files_are_known(self) -> Self:
        unknown = sorted(set(self.files) - set(EXPERT_FILES))
        if unknown:
            raise ValueError(f"{shown(unknown[0])} is no file of an expert")
        return self


class MixtureContents(Record):
    """mixture.yaml of a repository with a whole generation."""

    format: StrictInt
    base: BaseRecord
    generation: GenerationRecord
    files: dict[str, Sha256] = Field(max_length=30_000)

    @model_validator(mode="after")
    def _files_are_known(self) -> Self:
        for path in self.files:
            if not self._is_known(path):
                raise ValueError(
                    f"{shown(path)} is no file of a mixture of {', '.join(self.generation.names)[:80]}"
                )
        return self

    def _is_known(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder == layout.BASE:
            return self.base.embedded and is_of_base(name)
        above, _, expert = folder.partition("/")
        if above == layout.EXPERTS:
            named = re.fullmatch(NAME_PATTERN, expert) is not None and expert in self.generation.names
            return named and name in _OF_EXPERT
        return path in (layout.ROUTER, layout.HEAD, layout.RECIPE, layout.CARD)
