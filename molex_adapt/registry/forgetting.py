"""What was forgotten: every domain's EER along the generations that led to the active one, as they recorded it.

No model is loaded and nothing is measured. A domain is first measured on the whole test split that it came with, and
in later generations on the check exemplars kept of it: fewer recordings, each cut short. Figures therefore say whether
they stand on the same recordings as the present one, as far as records tell. Every generation also records what it
changed against the one before on the same recordings; these changes add up to what was forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from molex_adapt.conventions import NULL_DOMAIN
from molex_adapt.registry.domains import arrivals, labels, owners, trained
from molex_adapt.registry.intervals import is_change, is_rate, recorded_interval
from molex_adapt.registry.layout import HEAD, ROUTER, SUMMARIES
from molex_adapt.registry.records import ExpertRecord, GenerationRecord

_DETECTOR = (ROUTER, HEAD, SUMMARIES)


@dataclass(frozen=True, slots=True)
class Figure:
    """One domain in one generation."""

    generation: int
    """The one that measured it; a later one may carry it over."""
    eer: float
    """A fraction."""
    eer_ci: tuple[float, float] | None
    bona_fide: int | None
    """Utterances that it was measured on; None where that is not on record."""
    spoof: int | None
    test_split: bool
    """Whether these are the test split of data that the command was given."""

    def same_recordings(self, other: Figure) -> bool:
        """Whether both were measured on the same recordings, as far as their records tell."""
        if self == other:  # carried over
            return True
        if self.test_split or other.test_split or self.bona_fide is None or self.spoof is None:
            return False
        return (self.bona_fide, self.spoof) == (other.bona_fide, other.spoof)


@dataclass(frozen=True, slots=True)
class GenerationStep:
    """One generation, and what it did to the experts of the one before."""

    generation: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    command: str
    """The command's name, such as retrain-router; empty where none is on record."""


@dataclass(frozen=True, slots=True)
class Course:
    """One domain along the generations; `known`, `figures` and `changes` have an entry for each."""

    domain: str
    """As metrics name it; a second expert with data of its own has a row "domain (expert)"."""
    known: tuple[bool, ...]
    """Whether the generation has an expert for it; for a domain that never had one, whether it was measured."""
    figures: tuple[Figure | None, ...]
    """None where it was not measured."""
    changes: tuple[float | None, ...]
    """EER minus that under the generation before, on the same recordings; None where that is not on record."""

    @property
    def present(self) -> Figure | None:
        """Under the active generation; None where that does not know it, or has not measured it."""
        return self.figures[-1] if self.known[-1] else None

    @property
    def first(self) -> Figure | None:
        """The first one on record since it is known."""
        return next(iter(self._all), None)

    @property
    def best(self) -> Figure | None:
        """The lowest EER before the present one; the earliest of equals."""
        return min(self._earlier, key=lambda item: item.eer, default=None)

    @property
    def forgetting(self) -> float | None:
        """Present EER minus the best before, a fraction; negative where it was never better. None for the control.

        Source: Chaudhry et al., Riemannian Walk for Incremental Learning (2018), with EER in place of accuracy.
        """
        now, best = self.present, self.best
        return None if now is None or best is None or self._is_control else now.eer - best.eer

    @property
    def forgetting_paired(self) -> float | None:
        """The same on the same recordings, as far back as every generation can be held against the one before."""
        path = self._path()
        return None if len(path) < 2 or self._is_control else path[-1] - min(path[:-1])

    @property
    def risen(self) -> float:
        """How far the last EER on record lies above the lowest on that path, itself included; 0 where there is none.

        A generation that measured nothing, such as one that removed an expert, is held for no better than the last.
        """
        path = self._walked() if self.known[-1] else []
        return path[-1] - min(path) if path else 0.0

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        now, best = self.present, self.best
        alike = None if now is None or best is None else best.same_recordings(now)
        figures = {"first": self.first, "best": best, "present": now}
        return {
            "known": list(self.known),
            "eer": [None if item is None else item.eer for item in self.figures],
            "change": list(self.changes),
            **{key: None if item is None else asdict(item) for key, item in figures.items()},
            "same_recordings": alike,
            "forgetting": self.forgetting,
            "forgetting_paired": self.forgetting_paired,
        }

    @property
    def _all(self) -> list[Figure]:
        pairs = zip(self.known, self.figures, strict=True)
        return [item for known, item in pairs if known and item is not None]

    @property
    def _earlier(self) -> list[Figure]:
        return self._all if self.present is None else self._all[:-1]

    @property
    def _is_control(self) -> bool:
        return self.domain == NULL_DOMAIN

    def _path(self) -> list[float]:
        """EER under each generation that measured it minus the first; empty where there is no present one."""
        return [] if self.present is None else self._walked()

    def _walked(self) -> list[float]:
        """The same up to the last on record, from paired changes.

        It begins anew where one cannot be held against the one before.
        """
        path: list[float] = []
        last: Figure | None = None
        skipped = False
        for known, figure, change in zip(self.known, self.figures, self.changes, strict=True):
            if not known or figure is None:
                skipped = True
                continue
            if last is not None and change is not None and not skipped:
                path.append(path[-1] + change)
            elif last is not None and figure.same_recordings(last):
                path.append(path[-1] + figure.eer - last.eer)
            else:
                path = [0.0]
            last, skipped = figure, False
        return path


@dataclass(frozen=True, slots=True)
class Forgetting:
    """All domains along the generations, oldest first."""

    steps: tuple[GenerationStep, ...]
    courses: tuple[Course, ...]
    """In the order in which domains became known."""
    missing_parent: int | None = None
    """The first generation that one of these was made from and that was deleted."""
    called: Mapping[str, str] = field(default_factory=dict)
    """Experts to the courses of their domains."""

    @property
    def risen(self) -> dict[str, float]:
        """Experts to how far the EER of their domains lies above its lowest; see `Course.risen`."""
        found = {course.domain: course.risen for course in self.courses}
        return {expert: found[domain] for expert, domain in self.called.items()}

    def mean(self, *, paired: bool = False) -> float | None:
        """Mean forgetting over the domains that have one, `paired` from changes on the same recordings; else None."""
        values = self._values(paired)
        return sum(values.values()) / len(values) if values else None

    def worst(self, *, paired: bool = False) -> tuple[str, float] | None:
        """The domain that was forgotten most, and by how much; arguments as `mean`."""
        return max(self._values(paired).items(), key=lambda item: item[1], default=None)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; lists of a domain have one entry per step."""
        content: dict[str, Any] = {
            "steps": [asdict(step) for step in self.steps],
            "missing_parent": self.missing_parent,
            "domains": {course.domain: course.as_dict() for course in self.courses},
        }
        for suffix, paired in (("", False), ("_paired", True)):
            worst = self.worst(paired=paired)
            content[f"mean{suffix}"] = self.mean(paired=paired)
            content[f"worst{suffix}"] = (
                None if worst is None else dict(zip(("domain", "forgetting"), worst, strict=True))
            )
        return content

    def _values(self, paired: bool) -> dict[str, float]:
        found = {item.domain: item.forgetting_paired if paired else item.forgetting for item in self.courses}
        return {domain: value for domain, value in found.items() if value is not None}


def forgetting(chain: Sequence[GenerationRecord], experts: Mapping[str, ExpertRecord]) -> Forgetting:
    """Every domain along a chain of one or more generations, oldest first, each made from the one before.

    Where generations between two were purged, nothing counts as new after the gap.

    Source: own.
    """
    before = zip(chain[1:], chain[:-1], strict=True)
    parents = [None, *(former if record.parent == former.number else None for record, former in before)]
    gaps = (record.parent for record, parent in zip(chain, parents, strict=True) if parent is None)
    came = arrivals(chain)
    called = labels(experts, came)
    known = [{called[name]: True for name in record.names} for record in chain]
    figures: list[dict[str, Figure]] = []
    changes = []
    for record, parent in zip(chain, parents, strict=True):
        new = trained(record, parent, experts)
        about = owners(record, new, experts, came)
        carried = parent is not None and _carries_over(record, parent)
        figures.append(figures[-1] if carried else _figures(record, new, about, called))
        changes.append(_changes(record, about, called))
    owned = set(called.values())
    order = dict.fromkeys(name for pair in zip(known, figures, strict=True) for part in pair for name in part)
    return Forgetting(
        tuple(map(_step, chain, parents)),
        tuple(
            Course(
                domain,
                tuple(domain in part for part in (known if domain in owned else figures)),
                tuple(part.get(domain) for part in figures),
                tuple(part.get(domain) for part in changes),
            )
            for domain in order
        ),
        next((number for number in gaps if number is not None), None),
        called,
    )


def _carries_over(record: GenerationRecord, parent: GenerationRecord) -> bool:
    """Whether figures are its parent's, and so is all that EER depends on, as set-threshold leaves them."""
    alike = (name in record.files and record.files[name] == parent.files.get(name) for name in _DETECTOR)
    return record.metrics == parent.metrics and all(alike)


def _figures(
    record: GenerationRecord, new: set[str], about: Mapping[str, str], called: Mapping[str, str]
) -> dict[str, Figure]:
    """What a generation measured, by what each domain is called throughout."""
    # retrain-router measures what it is given; add-expert measures the new domain alone on what it is given.
    given = set() if new else {attack.lower() for data in record.data for attack in data.attacks}
    found = {}
    for key, value in record.metrics.items():
        figure = _figure(record.number, value, about.get(key) in new or key in given)
        if figure is not None:
            found[called[about[key]] if key in about else key] = figure
    return found


def _changes(
    record: GenerationRecord, about: Mapping[str, str], called: Mapping[str, str]
) -> dict[str, float]:
    """What a generation changed against the one before, by what each domain is called throughout."""
    return {
        called[about[key]] if key in about else key: float(value["eer"])
        for key, value in record.changes.items()
        if isinstance(value, dict) and is_change(value.get("eer"))
    }


def _figure(generation: int, value: Any, test_split: bool) -> Figure | None:
    """None where that is no EER."""
    if not isinstance(value, dict) or not is_rate(value.get("eer")):
        return None
    bona_fide, spoof = (_count(value.get(key)) for key in ("bona_fide", "spoof"))
    return Figure(generation, float(value["eer"]), recorded_interval(value), bona_fide, spoof, test_split)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _step(record: GenerationRecord, parent: GenerationRecord | None) -> GenerationStep:
    old = parent.names if parent is not None else record.names if record.parent is not None else []
    words = record.command.removeprefix("molex-adapt ").split()
    return GenerationStep(
        record.number,
        tuple(name for name in record.names if name not in old),
        tuple(name for name in old if name not in record.names),
        words[0] if words else "",
    )
