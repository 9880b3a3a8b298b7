"""What the registry's YAML files hold; closed to keys they do not know, and checked before anything is believed."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from molex_adapt.conventions import LARGEST_INTEGER, NAME_PATTERN
from molex_adapt.plain import for_yaml
from molex_adapt.text import shown, storable
from molex_adapt.version import __version__

FORMAT = 1
"""Version of the layout on disk that this code reads and writes."""

MOST_GENERATIONS = 100_000

PUBLISHED = 0
"""Number of the generation that is a published detector as it was published; trained ones count from 1."""

OTHER_LICENCE = "other"
"""Of what nobody stated a licence for, as the Hub calls it."""

_MOST_FIGURES = 1_000_000
_MOST_DEPTH = 12

_PACKAGES = ("numpy", "torch", "transformers", "safetensors")


def _matching(pattern: str, what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{shown(text)} is not a {what}")
        return text

    return AfterValidator(check)


def _checked_figures(figures: dict[str, Any]) -> dict[str, Any]:
    left: list[tuple[Any, int]] = [(figures, 0)]
    count = 0
    while left:
        value, depth = left.pop()
        count += 1
        if depth > _MOST_DEPTH or count > _MOST_FIGURES:
            raise ValueError(f"more than {_MOST_FIGURES} figures, or more than {_MOST_DEPTH} levels of them")
        if isinstance(value, dict | list):
            left += [(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)]
        elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise ValueError(f"a figure is beyond {LARGEST_INTEGER}")
    return figures


Text = Annotated[str, AfterValidator(storable)]
"""Anybody's words; what of them UTF-8 cannot hold is kept in Python's notation."""
Name = Annotated[
    str, _matching(NAME_PATTERN, "name: 1 to 64 of a-z 0-9 _ . - starting with a letter or digit")
]
Commit = Annotated[str, _matching(r"[0-9a-f]{40}", "commit: 40 hexadecimal digits in lower case")]
Sha256 = Annotated[str, _matching(r"[0-9a-f]{64}", "sha256: 64 hexadecimal digits in lower case")]
Repository = Annotated[str, _matching(r"[\w.-]{1,100}/[\w.-]{1,100}", "repository: ORG/NAME")]
"""Not pydantic's own `pattern`: its engine takes 80 ms to make an automaton of that many letters, at every start."""
Number = Annotated[StrictInt, Field(ge=1, le=10**9)]
GenerationNumber = Annotated[StrictInt, Field(ge=PUBLISHED, le=10**9)]
Count = Annotated[StrictInt, Field(ge=0, le=LARGEST_INTEGER)]
Seed = Annotated[StrictInt, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Figures = Annotated[dict[str, Any], BeforeValidator(for_yaml), AfterValidator(_checked_figures)]
"""Nested mappings and lists of finite numbers and texts, as `for_yaml` leaves them."""


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def package_versions() -> dict[str, str]:
    """Versions of Python, of this package and of those that decide a result; what is not installed is left out."""
    found = {"molex-adapt": __version__, "python": platform.python_version()}
    return found | {name: known for name in _PACKAGES if (known := _version(name))}


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


class Record(BaseModel):
    """A section of a registry file; frozen. Its checks are built with the first one: a command reads few kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class PublishedRecord(Record):
    """The detector that a base was published as part of; it goes wherever the base is named."""

    kind: Text
    """The class of transformers that it is, or the family of detectors."""
    bona_fide: Text
    """The label of bona fide speech there."""
    spoof: list[Text] = Field(min_length=1)
    """All its other labels."""
    licence: Text | None = None
    """None where nobody said."""
    trained_on: list[Text] = []
    """Names of corpora that figures must not be taken on, as far as they are known."""


class BaseRecord(Record):
    """Which base; the hash is `molex_adapt.base.weights_hash`."""

    id: str = Field(min_length=1, max_length=500)
    revision: str = Field(min_length=1, max_length=200)
    sha256: Sha256
    embedded: StrictBool
    published: PublishedRecord | None = None
    """None for a bare encoder."""

    def __str__(self) -> str:
        return f"{self.id}@{self.revision[:7]} (sha256 {self.sha256[:8]}…)"


class OriginRecord(Record):
    """The Hub repository that something was pulled from, pinned to what was read there."""

    repository: Repository
    revision: str | None = Field(default=None, max_length=250)
    """As asked for; None for the default branch."""
    commit: Commit
    pulled: str = Field(default_factory=now)

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit[:7]}"


class DataRecord(Record):
    """What an expert was trained on; no paths."""

    digest: str
    counts: dict[str, dict[str, Count]]
    """{split: {class: utterances}}."""
    attacks: list[Text] = []
    conditions: dict[Text, dict[str, Count]] = {}
    """{condition: {class: utterances}} of what is known to have gone through one, or through none."""
    split_by: str = "auto"


class ExpertRecord(Record):
    """expert.yaml. The store sets the hashes when it writes the expert."""

    name: Name
    domain: Name
    rank: int = Field(ge=1, le=4096)
    alpha: float = Field(gt=0, allow_inf_nan=False)
    targets: list[str] = Field(min_length=1)
    blocks: int = Field(ge=1, le=10_000)
    base: BaseRecord
    data: DataRecord
    recipe: str
    """The verbatim YAML that made it."""
    seed: Seed
    metrics: Figures = {}
    """{domain: figures as `Rates.as_dict()`} on the test split."""
    licence: Text = OTHER_LICENCE
    created: str = Field(default_factory=now)
    versions: dict[str, str] = Field(default_factory=package_versions)
    machine: dict[str, str] = {}
    """What it was computed on, as far as that decides rounding: processor, device, precision, threads, and
    the recordings that pass at once where that was limited."""
    weights_sha256: Sha256 | None = None
    exemplars_sha256: Sha256 | None = None
    routing_sha256: Sha256 | None = None
    head_sha256: Sha256 | None = None
    """Of the head that it was trained under, as `witnesses.head_digest`; None where nobody knows."""
    origin: OriginRecord | None = None
    """Where it was pulled from; None for an expert trained here."""

    def is_the_same(self, other: ExpertRecord) -> bool:
        """Whether two records are of one expert: those that were not trained all have the same weights."""
        return (self.weights_sha256, self.data.digest) == (other.weights_sha256, other.data.digest)


class ExpertEntry(Record):
    """One expert of a generation, in router order."""

    name: Name
    sha256: Sha256
    """Of its adapter_model.safetensors."""


class ExpertSummary(Record):
    """What a listing shows of an expert; copied from its record into the generation, so that listing opens one file."""

    name: Name
    domain: Name
    rank: int
    eer: Finite | None
    """On its own domain, when it was made."""
    created: str

    @classmethod
    def of(cls, record: ExpertRecord) -> Self:
        """The summary of a whole record."""
        figures = record.metrics.get(record.domain)
        said = figures.get("eer") if isinstance(figures, dict) else None
        eer = float(said) if isinstance(said, int | float) and not isinstance(said, bool) else None
        return cls(name=record.name, domain=record.domain, rank=record.rank, eer=eer, created=record.created)


class CalibrationRecord(Record):
    """score = scale * logit + offset, in nats."""

    scale: float = Field(gt=0, allow_inf_nan=False)
    offset: Finite


class UnheardRecord(Record):
    """What the threshold refused of real speech by voices that it was not chosen on, when that was measured."""

    refused: Annotated[float, Field(ge=0, le=1)]
    """Share of the recordings."""
    recordings: Number
    voices: Number
    in_turn: bool = False
    """Whether these voices chose the threshold: each was then held against one that the others chose alike."""


class GenerationRecord(Record):
    """generation.yaml."""

    number: GenerationNumber
    parent: GenerationNumber | None
    created: str = Field(default_factory=now)
    command: Text = ""
    seed: Seed | None = None
    """Of the training; None where nothing was trained."""
    data: list[DataRecord] = []
    """What was trained and measured on, besides exemplars."""
    versions: dict[str, str] = Field(default_factory=package_versions)
    machine: dict[str, str] = {}
    """As in `ExpertRecord`."""
    experts: list[ExpertEntry]
    calibration: CalibrationRecord
    threshold: Finite
    """Decision threshold in nats; frozen when the mixture changes."""
    raised: dict[Name, Finite] | None = None
    """By how much the calibration's offset rose when each expert came, nats; those are left out of which that is not
    known. None in generations from before this was kept: their ancestors tell."""
    unheard: UnheardRecord | None = None
    """Of the threshold, when it was chosen; None where it was not measured, as in generations that only keep it."""
    withdrawn: list[Name] | None = None
    """Experts whose gates are closed; None in generations from before this was kept."""
    pulled: list[Name] | None = None
    """Experts that came from elsewhere, alone or with the mixture; None as for `withdrawn`."""
    metrics: Figures = {}
    changes: Figures = {}
    """Per domain, what this generation changed against its parent, on the same recordings before and after."""
    profile: Figures = {}
    """How the experts' check exemplars are routed: what `analyze` shows without data."""
    remarks: list[Text] = []
    origin: OriginRecord | None = None
    """Where the whole mixture was pulled from; None for one made here."""
    files: dict[str, Sha256]
    """File name to sha256, for every other file of this generation."""

    @property
    def names(self) -> list[str]:
        """The experts' names in router order."""
        return [entry.name for entry in self.experts]

    @property
    def is_published(self) -> bool:
        """Whether it is a published detector, to which nothing was added yet."""
        return self.number == PUBLISHED

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.parent is not None and self.parent >= self.number:
            raise ValueError(f"parent {self.parent} must be older than generation {self.number}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"an expert is listed twice among {self.names}")
        return self


class PurgedRecord(Record):
    """A generation that went with an expert, and what it was made from: what led to others is found over it."""

    number: GenerationNumber
    parent: GenerationNumber | None

    @model_validator(mode="after")
    def _parent_is_older(self) -> Self:
        if self.parent is not None and self.parent >= self.number:
            raise ValueError(f"parent {self.parent} must be older than generation {self.number}")
        return self


class RegistryRecord(Record):
    """registry.yaml."""

    format: StrictInt
    base: BaseRecord
    active: GenerationNumber | None
    generations: list[GenerationNumber] = Field(max_length=MOST_GENERATIONS)
    purged: list[PurgedRecord] = Field(default_factory=list, max_length=MOST_GENERATIONS)
    created: str = Field(default_factory=now)

    @model_validator(mode="after")
    def _active_exists(self) -> Self:
        if sorted(set(self.generations)) != self.generations:
            raise ValueError("generations must be listed once each, in rising order")
        if self.active is not None and self.active not in self.generations:
            raise ValueError(
                f"active generation {self.active} is not among generations {self.generations[-5:]}"
            )
        return self

    def before(self, generation: GenerationRecord) -> int | None:
        """The newest generation that led to one and is there; None where there is none, or nobody knows of it."""
        gone = {item.number: item.parent for item in self.purged}
        number = generation.parent
        while number is not None and number not in self.generations:
            number = gone.get(number)
        return number
