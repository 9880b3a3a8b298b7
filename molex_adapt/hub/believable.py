"""Whether what a stranger's record says can be: texts without hidden signs, figures and times that there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from molex_adapt.errors import RegistryError
from molex_adapt.registry import layout
from molex_adapt.registry.records import CalibrationRecord, ExpertRecord, GenerationRecord
from molex_adapt.text import is_open, short, shown

_MOST = 10**12
_RANGES = {
    **dict.fromkeys(("eer", "eer_ci"), (0, 1, False)),
    **dict.fromkeys(("min_dcf", "act_dcf", "cllr"), (0, _MOST, False)),
    **dict.fromkeys(("bona_fide", "spoof"), (0, 10**8, True)),
}
"""Of every figure that molex-adapt writes: the least and the most that it can be, and whether it counts."""
_MOST_NATS = 1e6
_ROUNDING = 1e-9


def check_text(value: Any, where: str) -> None:
    """Signs that steer a terminal or hide what is written have no place in a record."""
    for item in _leaves(value):
        if isinstance(item, str) and not is_open(item):
            raise RegistryError(f"{where} holds control signs in {shown(item, 40)}.")


def check_figures(record: ExpertRecord) -> None:
    """Refuse, by a RegistryError, figures and times that no expert has."""
    _check_metrics(record.metrics, layout.EXPERT)
    _check_time(record.created, layout.EXPERT)
    for value in _leaves(record.data.counts):
        _check_number(value, layout.EXPERT)


def check_generation(record: GenerationRecord, where: str) -> None:
    """The same of a generation, and of the scale of its scores."""
    _check_metrics(record.metrics, where)
    _check_time(record.created, where)
    check_scale(record.calibration, record.threshold, where)
    for name, raised in (record.raised or {}).items():
        _check_nats(f"raise for {name}", raised, where)
    for value in _leaves(record.profile):
        _check_number(value, where)


def _check_time(said: str, where: str) -> None:
    try:
        datetime.fromisoformat(said)
    except ValueError:
        raise RegistryError(
            f"{where} says that it was created {shown(said, 40)}, which is no time; ISO 8601 is expected."
        ) from None


def check_scale(calibration: CalibrationRecord, threshold: float, where: str) -> None:
    """Refuse, by a RegistryError, a calibration or a threshold beyond what scores are."""
    found = {"scale": calibration.scale, "offset": calibration.offset, "threshold": threshold}
    for name, value in found.items():
        _check_nats(name, value, where)


def _check_nats(name: str, value: float, where: str) -> None:
    if abs(value) > _MOST_NATS:
        raise RegistryError(
            f"{where} has a {name} of {value:g} for its scores; at most {_MOST_NATS:g} is believable there."
        )


def _check_metrics(metrics: Mapping[str, Any], where: str) -> None:
    for domain, rates in metrics.items():
        if not isinstance(rates, dict) or not set(rates) <= set(_RANGES):
            raise RegistryError(f"{where}: the figures of {shown(domain)} are none that molex-adapt writes.")
        for key, value in rates.items():
            pair = isinstance(value, list) and key == "eer_ci" and len(value) == 2
            for item in value if pair else [value]:
                if not (item is None or (isinstance(item, int | float) and not isinstance(item, bool))):
                    raise RegistryError(f"{where}: {key} of {shown(domain)} is no number.")
                _check_number(item, where)
                _check_figure(item, key, domain, where)


def _check_figure(value: float | None, key: str, domain: str, where: str) -> None:
    """Shares lie between 0 and 1, costs and nats are not negative, and recordings are counted."""
    least, most, whole = _RANGES[key]
    if value is None:
        return
    within = least - _ROUNDING <= value <= most + _ROUNDING
    if not within or (whole and not isinstance(value, int)):
        raise RegistryError(
            f"{where}: {key} of {shown(domain)} is {value:g}; from {least} to {most:g}"
            f"{', in whole numbers,' if whole else ''} is expected."
        )


def _check_number(value: Any, where: str) -> None:
    if isinstance(value, int | float) and not (abs(value) < _MOST and math.isfinite(value)):
        raise RegistryError(f"{where} holds a figure that nothing has: {short(value, 40)}.")


def _leaves(value: Any) -> Iterator[Any]:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            pending += item
        else:
            yield item
