"""What a published detector's model card says in its metadata: the licence, and the corpora that it learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molex_adapt.plain import load_yaml
from molex_adapt.text import short

_MOST_BYTES = 2**20
_MOST_NAMES = 1000


@dataclass(frozen=True)
class Card:
    """The metadata of a README.md that matter here; None and empty where it does not say."""

    licence: str | None = None
    trained_on: tuple[str, ...] = ()


def read_card(path: Path) -> Card:
    """The card in a file; an empty one where there is none, or its metadata are no YAML."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return Card()
    opening, _, rest = text.partition("\n")
    if opening.strip() != "---":
        return Card()
    try:
        stated = load_yaml(rest.partition("\n---")[0])
    except ValueError:
        return Card()
    return _of(stated) if isinstance(stated, dict) else Card()


def _of(stated: dict[Any, Any]) -> Card:
    licences = _texts(stated.get("license"))
    if licences == ["other"]:
        licences = _texts(stated.get("license_name")) or licences
    return Card(", ".join(licences) or None, tuple(dict.fromkeys(_texts(stated.get("datasets")))))


def _texts(value: Any) -> list[str]:
    """One text, or a list of them; of anything else nothing."""
    items = value if isinstance(value, list) else [value]
    return [short(item, 200) for item in items[:_MOST_NAMES] if isinstance(item, str) and item.strip()]
