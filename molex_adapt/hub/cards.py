"""Model cards of pushed repositories: metadata that the Hub understands, and how to use them in three ways."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from molex_adapt.hub.leaving import Leaving, kept_of
from molex_adapt.pages import markup, render
from molex_adapt.registry.cards import figure_rows
from molex_adapt.registry.files import Arrays
from molex_adapt.registry.records import ExpertRecord, GenerationRecord
from molex_adapt.text import inert

if TYPE_CHECKING:
    from huggingface_hub import EvalResult
    from markupsafe import Markup

_TAGS = ("molex-adapt", "lora", "audio-deepfake-detection", "anti-spoofing")
# fmt: off
_LICENCES = frozenset(
    {
        "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m",
        "bigscience-bloom-rail-1.0", "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd",
        "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0", "cc-by-2.0",
        "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0",
        "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
        "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-sharing-1.0", "cdla-permissive-1.0",
        "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1",
        "eupl-1.2", "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc",
        "lppl-1.3c", "ms-pl", "mpl-2.0", "odc-by", "odbl", "openrail++", "osl-3.0", "postgresql",
        "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl", "unknown", "other",
    }
)
# fmt: on
"""Identifiers that the Hub knows; anything else is `other` with a name."""


def expert_card(expert: Leaving, repository: str, generation: GenerationRecord, head: Arrays) -> str:
    """README.md of a repository with one expert. Names no path of the training machine."""
    record = expert.record
    return render(
        "hub/expert.md.j2",
        record=record,
        repository=repository,
        metadata=_metadata(repository, [record], record.metrics),
        figures=figure_rows(record.metrics),
        others=len(generation.experts) - 1,
        pulled=expert.origin is not None,
        withdrawn=expert.withdrawn,
        kept=kept_of([expert], head),
    )


def mixture_card(
    experts: Sequence[Leaving], repository: str, generation: GenerationRecord, head: Arrays
) -> str:
    """README.md of a repository with a whole mixture."""
    records = [expert.record for expert in experts]
    return render(
        "hub/mixture.md.j2",
        records=records,
        withdrawn=[expert.record.name for expert in experts if expert.withdrawn],
        repository=repository,
        generation=generation,
        metadata=_metadata(repository, records, generation.metrics),
        figures=figure_rows(generation.metrics),
        kept=kept_of(experts, head),
    )


def shown_eer(metrics: Mapping[str, Any], domain: str) -> str:
    """One figure for a commit's first line."""
    rates = metrics.get(domain)
    eer = rates.get("eer") if isinstance(rates, dict) else None
    return f"EER {100 * eer:.1f} %" if isinstance(eer, int | float) else "not measured"


def description(records: Sequence[ExpertRecord]) -> str:
    """The body of a commit: what is in it, on what base."""
    lines = [
        f"- {record.name}: {shown_eer(record.metrics, record.domain)}, rank {record.rank}, weights "
        f"{str(record.weights_sha256)[:12]}, data {inert(record.data.digest)[:12]}"
        for record in records
    ]
    return "\n".join([f"Base {records[0].base}" if records else "No experts", *lines])


def _metadata(repository: str, records: Sequence[ExpertRecord], metrics: Mapping[str, Any]) -> Markup:
    from huggingface_hub import ModelCardData

    first = records[0]
    licences = {record.licence for record in records}
    if first.base.published is not None and first.base.published.licence is not None:
        licences.add(first.base.published.licence)  # of the head that is in the repository
    fields: dict[str, Any] = dict(licence_fields(first.licence if len(licences) == 1 else "other"))
    if "/" in first.base.id and not first.base.embedded:
        fields |= {"base_model": first.base.id, "base_model_relation": "adapter"}
    data = ModelCardData(
        library_name="peft",
        tags=[*_TAGS, *dict.fromkeys(record.domain for record in records)],
        pipeline_tag="audio-classification",
        model_name=repository.partition("/")[2],
        eval_results=list(_results(metrics)) or None,
        **fields,
    )
    return markup(f"{data.to_yaml()}\n")


def licence_fields(licence: str) -> dict[str, str]:
    """What a card's metadata says about a licence; the Hub refuses a card that names one it does not know."""
    found = licence.strip().lower()
    if found in _LICENCES:
        return {"license": found}
    name = re.sub(r"[^a-z0-9.-]+", "-", found).strip("-.")[:60]
    return {"license": "other"} | ({"license_name": name} if name else {})


def _results(metrics: Mapping[str, Any]) -> Iterator[EvalResult]:
    from huggingface_hub import EvalResult

    for domain, rates, low, high in figure_rows(metrics):
        yield EvalResult(
            task_type="audio-classification",
            task_name="Audio deepfake detection",
            dataset_type=inert(domain),
            dataset_name=f"{inert(domain)} (test split)",
            metric_type="eer",
            metric_name="Equal error rate",
            metric_value=rates["eer"],
            metric_args=None if low is None else {"interval": [low, high]},
        )
