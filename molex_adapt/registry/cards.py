"""The README.md of an expert: a Hugging Face model card, generated from its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molex_adapt.pages import markup, render
from molex_adapt.plain import dump_yaml
from molex_adapt.registry.intervals import recorded_interval
from molex_adapt.registry.records import ExpertRecord
from molex_adapt.text import inert


def expert_card(record: ExpertRecord) -> str:
    """The card: metadata, what it is, data, figures, use, limits. Names no path of the training machine."""
    fields: dict[str, Any] = {"library_name": "peft", "license": inert(record.licence)}
    if "/" in record.base.id:
        fields["base_model"] = inert(record.base.id)
    fields["tags"] = ["molex-adapt", "lora", "audio-deepfake-detection", "anti-spoofing", record.domain]
    metadata = markup(dump_yaml(fields))
    return render(
        "registry/expert.md.j2", record=record, metadata=metadata, figures=figure_rows(record.metrics)
    )


def figure_rows(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Any, Any]]:
    """Domain, figures, and both ends of the EER's interval, None where there is none; for domains that have an EER."""
    rows: list[tuple[str, Mapping[str, Any], Any, Any]] = []
    for domain, rates in metrics.items():
        if not isinstance(rates, dict) or not isinstance(rates.get("eer"), int | float):
            continue
        low, high = recorded_interval(rates) or (None, None)
        rows.append((domain, rates, low, high))
    return rows
