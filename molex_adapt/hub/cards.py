"""Model cards of pushed repositories: metadata that the Hub understands, and how to use them in three ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from molex_adapt.hub.licences import licence_fields
from molex_adapt.registry.cards import (
    data_section,
    figures_section,
    limits_section,
    plain_text,
    purpose_section,
)
from molex_adapt.registry.files import Arrays
from molex_adapt.registry.records import BaseRecord, ExpertRecord, GenerationRecord

TAGS = ("molex-adapt", "lora", "audio-deepfake-detection", "anti-spoofing")

_USE = """\
## Use

Scores are log-likelihood ratios in nats; higher is more bona fide.

1. With molex-adapt, on the command line: {told}

```sh
{commands}
```

2. With stock PEFT, as any LoRA adapter (hidden states; the classifier is molex-adapt's):

```python
from peft import PeftModel
from transformers import AutoModel

base = AutoModel.from_pretrained({base})
model = PeftModel.from_pretrained(base, "{repository}"{subfolder})
```

3. In Python:

```python
from molex_adapt.api import Registry

{python}
print(registry.score(["recording.wav"]).scores[0].score)
```
"""


def expert_card(
    record: ExpertRecord, repository: str, generation: GenerationRecord, exemplars: Arrays | None
) -> str:
    """README.md of a repository with one expert. Names no path of the training machine."""
    use = _USE.format(
        told="the expert joins the mixture of your registry, which must stand on the same base.",
        commands=f"molex-adapt pull {repository}\nmolex-adapt score recording.wav",
        base=_base_arguments(record.base, None),
        repository=repository,
        subfolder="",
        python=f'registry = Registry.open("registry")\nregistry.pull("{repository}")',
    )
    parts = [
        _metadata(repository, [record], record.metrics),
        purpose_section(record),
        data_section(record),
        figures_section(record.metrics),
        _mixture_section(record, generation),
        _exemplar_section(exemplars),
        use,
        limits_section(),
    ]
    return "\n".join(parts)


def mixture_card(
    records: Sequence[ExpertRecord],
    repository: str,
    generation: GenerationRecord,
    kept: Sequence[Arrays | None],
) -> str:
    """README.md of a repository with a whole mixture."""
    first = records[0]
    together: Arrays = {}
    for name, arrays in zip(generation.names, kept, strict=True):
        together |= {f"{name}/{key}": array for key, array in (arrays or {}).items()}
    use = _USE.format(
        told="into a new registry, with everything in it.",
        commands=f"molex-adapt pull --mixture {repository} --registry mine/\n"
        "molex-adapt score recording.wav --registry mine/",
        base=_base_arguments(first.base, repository),
        repository=repository,
        subfolder=f', subfolder="experts/{first.name}"',
        python=f'registry = Registry.pull_mixture("{repository}", "mine")',
    )
    title = (
        f"# {plain_text(repository.partition('/')[2])}\n\nA mixture of {len(records)} LoRA experts over a frozen "
        "speech model, with its routers, head and calibration: it tells bona fide from spoofed speech.\n\n"
        f"- Base: `{plain_text(first.base.id)}` at `{plain_text(first.base.revision)}`, weights sha256 "
        f"`{first.base.sha256}`\n- Threshold: {generation.threshold:+.3f} nats\n"
    )
    rows = [
        f"| {record.name} | {record.domain} | {record.rank} | {plain_text(record.licence)} | "
        f"{_counts(record)} | `{record.data.digest[:12]}` |"
        for record in records
    ]
    table = "\n".join(
        [
            "| expert | domain | rank | licence | bona fide, spoof | data digest |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )
    parts = [
        _metadata(repository, records, generation.metrics),
        title,
        f"## Experts\n\n{table}\n",
        figures_section(generation.metrics),
        _exemplar_section(together),
        use,
        limits_section(),
    ]
    return "\n".join(parts)


def shown_eer(metrics: Mapping[str, Any], domain: str) -> str:
    """One figure for a commit's first line."""
    rates = metrics.get(domain)
    eer = rates.get("eer") if isinstance(rates, dict) else None
    return f"EER {100 * eer:.1f} %" if isinstance(eer, int | float) else "not measured"


def description(records: Sequence[ExpertRecord]) -> str:
    """The body of a commit: what is in it, on what base."""
    lines = [
        f"- {record.name}: {shown_eer(record.metrics, record.domain)}, rank {record.rank}, weights "
        f"{str(record.weights_sha256)[:12]}, data {plain_text(record.data.digest)[:12]}"
        for record in records
    ]
    return "\n".join([f"Base {records[0].base}" if records else "No experts", *lines])


def _metadata(repository: str, records: Sequence[ExpertRecord], metrics: Mapping[str, Any]) -> str:
    from huggingface_hub import ModelCardData

    first = records[0]
    licences = {record.licence for record in records}
    fields: dict[str, Any] = dict(licence_fields(first.licence if len(licences) == 1 else "other"))
    if "/" in first.base.id and not first.base.embedded:
        fields |= {"base_model": first.base.id, "base_model_relation": "adapter"}
    data = ModelCardData(
        library_name="peft",
        tags=[*TAGS, *dict.fromkeys(record.domain for record in records)],
        pipeline_tag="audio-classification",
        model_name=repository.partition("/")[2],
        eval_results=list(_results(metrics)) or None,
        **fields,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _results(metrics: Mapping[str, Any]) -> Any:
    from huggingface_hub import EvalResult

    for domain, rates in metrics.items():
        if not isinstance(rates, dict) or not isinstance(rates.get("eer"), int | float):
            continue
        interval = rates.get("eer_ci")
        yield EvalResult(
            task_type="audio-classification",
            task_name="Audio deepfake detection",
            dataset_type=plain_text(domain),
            dataset_name=f"{plain_text(domain)} (test split)",
            metric_type="eer",
            metric_name="Equal error rate",
            metric_value=rates["eer"],
            metric_args={"interval": list(interval)} if interval else None,
        )


def _base_arguments(base: BaseRecord, mixture: str | None) -> str:
    if not base.embedded:
        return f'"{_quotable(base.id)}", revision="{_quotable(base.revision)}"'
    if mixture is not None:
        return f'"{mixture}", subfolder="base"'
    return '"REGISTRY/base"'  # it is on no Hub: molex-adapt init makes it


def _quotable(text: str) -> str:
    return plain_text(text).replace('"', "").replace("\\", "")


def _mixture_section(record: ExpertRecord, generation: GenerationRecord) -> str:
    where = (
        "Its base comes with molex-adapt (`molex-adapt init embedded` puts it into `REGISTRY/base`) or with the "
        "mixture it was trained in.\n\n"
        if record.base.embedded
        else ""
    )
    others = len(generation.experts) - 1
    return (
        f"## In a mixture\n\n{where}It was trained beside {others} other expert{'' if others == 1 else 's'}. Its "
        "router rows, the head and the calibration of that mixture are in this repository. In the same mixture it "
        "acts as it did there; in another, `molex-adapt pull` finds rows for it, measures every domain before and "
        "after, and `molex-adapt retrain-router` improves them.\n"
    )


def _exemplar_section(exemplars: Arrays | None) -> str:
    heard = sum(len(array) for name, array in (exemplars or {}).items() if name.endswith(".lengths"))
    if not heard:
        return "## Exemplars\n\nNone: nothing of anybody's speech is in this repository.\n"
    return (
        f"## Exemplars\n\nFeatures of {heard} recordings, from which later experts learn not to forget these. They "
        "are no audio, but they come from somebody's voice: treat them as you treat recordings.\n"
    )


def _counts(record: ExpertRecord) -> str:
    totals = [
        sum(counts.get(label, 0) for counts in record.data.counts.values()) for label in ("bonafide", "spoof")
    ]
    return ", ".join(map(str, totals))
