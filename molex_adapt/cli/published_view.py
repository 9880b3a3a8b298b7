"""What a published detector brought with it, as rows of a table and as remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molex_adapt.api import BaseRecord, PublishedRecord


def published_rows(base: BaseRecord) -> dict[str, str]:
    """Kind, labels, licence and corpora; nothing of a bare encoder."""
    found = base.published
    if found is None:
        return {}
    return {
        "detector": f"{found.kind}; bona fide is {found.bona_fide!r}, spoofed {', '.join(map(repr, found.spoof))}",
        "its licence": found.licence or "not stated",
        "trained on": ", ".join(found.trained_on) or "not stated",
    }


def published_remarks(found: PublishedRecord | None) -> list[str]:
    """What is not known of it, and how to say it."""
    if found is None:
        return []
    missing = [
        f"{what} ({option})"
        for what, option, known in (
            ("licence", "--licence ID", found.licence),
            ("the corpora that it was trained on", "--trained-on NAME", found.trained_on),
        )
        if not known
    ]
    if not missing:
        return []
    remark = (
        f"no card of the detector states its {' and '.join(missing)}: start again with what you know of it, since "
        "nothing else can warn where it is evaluated on what it learnt from"
    )
    return [remark]
