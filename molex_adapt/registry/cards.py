"""The README.md of an expert: a Hugging Face model card, generated from its record."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import yaml

from molex_adapt.registry.records import ExpertRecord

_USE = """\
## Use

With molex-adapt, inside the mixture it was trained for (higher scores are more bona fide):

```sh
molex-adapt score recording.wav --registry REGISTRY
```

```python
from molex_adapt.api import Registry

report = Registry.open("REGISTRY").score(["recording.wav"])
```

Alone on its base, as any LoRA adapter (hidden states; the classifier is the registry's):

```python
from peft import PeftModel
from transformers import AutoModel

base = AutoModel.from_pretrained({base})
model = PeftModel.from_pretrained(base, "PATH_OF_THIS_FOLDER")
```
"""

_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories that show nothing, or something else than what is there."""

_LIMITS = """\
## Limits

The figures above hold for the data described here. Other attacks, codecs, languages and recording conditions can be
far worse; measure on your own recordings before relying on a score. A score is evidence, not proof.
"""


def expert_card(record: ExpertRecord) -> str:
    """The card: metadata, what it is, data, figures, use, limits. Names no path of the training machine."""
    parts = [
        _metadata(record),
        purpose_section(record),
        data_section(record),
        figures_section(record.metrics),
    ]
    parts += [_USE.format(base=_base_source(record)), limits_section()]
    return "\n".join(part for part in parts if part)


def _metadata(record: ExpertRecord) -> str:
    fields: dict[str, Any] = {"library_name": "peft", "license": _one_line(record.licence)}
    if "/" in record.base.id:
        fields["base_model"] = _one_line(record.base.id)
    fields["tags"] = ["molex-adapt", "lora", "audio-deepfake-detection", "anti-spoofing", record.domain]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---\n"


def purpose_section(record: ExpertRecord) -> str:
    """What it is, on which base, how it was made."""
    origin = f"- Pulled from: `{record.origin}`\n" if record.origin is not None else ""
    return (
        f"# {record.name}\n\n"
        f"A LoRA expert for the spoofing domain `{record.domain}`: rank {record.rank}, alpha {record.alpha:g}, on "
        f"{', '.join(map(code, record.targets))} of {record.blocks} blocks.\n\n"
        f"- Base: {code(record.base.id)} at {code(record.base.revision)}, weights sha256 "
        f"`{record.base.sha256}`\n- Trained: {plain_text(record.created)}, seed {record.seed}, with "
        f"{', '.join(f'{plain_text(name)} {plain_text(number)}' for name, number in record.versions.items())}\n"
        f"{origin}- Recipe: verbatim in `expert.yaml`\n- Licence: {plain_text(record.licence)}\n"
    )


def data_section(record: ExpertRecord) -> str:
    """What it was trained on: counts and a digest, no paths."""
    rows = [
        f"| {plain_text(split)} | {counts.get('bonafide', 0)} | {counts.get('spoof', 0)} |"
        for split, counts in record.data.counts.items()
    ]
    attacks = ", ".join(plain_text(name) for name in record.data.attacks) or "not named"
    table = "\n".join(["| split | bona fide | spoof |", "|---|---|---|", *rows])
    return (
        f"## Data\n\nAttacks: {attacks}. Splits by {plain_text(record.data.split_by)}. "
        f"Digest of the utterance table: {code(record.data.digest)}.\n\n{table}\n"
    )


def figures_section(metrics: dict[str, Any]) -> str:
    """Figures per domain, with intervals."""
    rows = list(_rows(metrics))
    if not rows:
        return "## Figures\n\nNot measured.\n"
    columns = ["domain", "EER % (interval)", "minDCF", "actDCF", "Cllr bits", "bona fide", "spoof"]
    head = f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"
    return "\n".join(["## Figures", "", "On the test split, inside the mixture.", "", head, *rows, ""])


def _rows(metrics: dict[str, Any]) -> Iterator[str]:
    for domain, rates in metrics.items():
        if not isinstance(rates, dict) or not isinstance(rates.get("eer"), int | float):
            continue
        pair = rates.get("eer_ci")
        low, high = pair if isinstance(pair, list | tuple) and len(pair) == 2 else (None, None)
        shown = [_number(rates.get(key)) for key in ("min_dcf", "act_dcf", "cllr")]
        counts = [str(rates.get(key, "")) for key in ("bona_fide", "spoof")]
        interval = f"{_percent(rates['eer'])} ({_percent(low)}–{_percent(high)})"
        yield "| " + " | ".join([plain_text(domain), interval, *shown, *map(plain_text, counts)]) + " |"


def _percent(value: Any) -> str:
    return f"{100 * value:.1f}" if isinstance(value, int | float) else "?"


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "?"


def _base_source(record: ExpertRecord) -> str:
    """A Python text."""
    return json.dumps("REGISTRY/base" if record.base.embedded else _one_line(record.base.id))


def _one_line(text: str) -> str:
    return "".join(" " if unicodedata.category(sign) in _UNSEEN or sign in "`<>" else sign for sign in text)[
        :200
    ]


def limits_section() -> str:
    """What the figures do not say."""
    return _LIMITS


def plain_text(text: Any) -> str:
    """One line of at most 200 characters that Markdown and HTML leave alone and that links nowhere."""
    line = "".join(" " if unicodedata.category(sign) in _UNSEEN else sign for sign in str(text)[:1000])
    line = " ".join(line.split())[:200]
    line = "".join(" " if sign in "|`<>[]{}" else sign for sign in line)
    line = re.sub(r"[\\*_~#!&]", r"\\\g<0>", line)
    return re.sub(
        r"(://|www\.|@)", lambda found: f"{found[0][0]}\u2060{found[0][1:]}", line, flags=re.IGNORECASE
    )


def code(text: Any) -> str:
    """The same inside backticks, where nothing needs escaping."""
    line = "".join(
        " " if unicodedata.category(sign) in _UNSEEN or sign in "`|<>" else sign for sign in str(text)[:1000]
    )
    return f"`{' '.join(line.split())[:200]}`"
