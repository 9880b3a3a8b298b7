"""From what a repository holds to what a registry can take: nothing is believed before it was checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molex_adapt.errors import ExpertError, HubError, RegistryError
from molex_adapt.hub.contents import MIXTURE, ExpertContents, MixtureContents, Surroundings
from molex_adapt.registry import checks, files, layout
from molex_adapt.registry.draft import NewExpert, adapter_config
from molex_adapt.registry.files import Arrays
from molex_adapt.registry.records import ExpertRecord
from molex_adapt.text import short, shown

_FIGURES = {"eer", "eer_ci", "min_dcf", "act_dcf", "cllr", "bona_fide", "spoof"}
_MOST = 10**12
_LOCAL_REMEDY = re.compile(r"\s+(?:Run|Restore|Train|Convert)\b[^.]*\.\s*$")
"""What helps in a registry of one's own does not help with a stranger's repository."""


@dataclass(frozen=True)
class PulledExpert:
    """An expert whose files are whole, finite and of one mind.

    Attributes:
        new: record, weights and exemplars, as the store takes them.
        mixture: where it acted; None for a stock adapter, as the three below.
        router: `blocks.{l}.rows` (E, D + 1) with its own row first, `.centre`, `.spread`.
        head: the state of that mixture's head.
        remarks: what the user should know.
    """

    new: NewExpert
    mixture: Surroundings | None = None
    router: Arrays | None = None
    head: Arrays | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class PulledMixture:
    """A whole generation whose files are whole, finite and of one mind."""

    contents: MixtureContents
    experts: list[NewExpert]
    router: Arrays
    head: Arrays
    recipe: str


def expert_contents(content: bytes, source: str) -> ExpertContents:
    """expert.yaml of a repository.

    Raises:
        HubError: damaged, of another format, or with values that no expert has.
    """
    with refusing(source):
        found = _parsed(content, layout.EXPERT)
        record = files.validate_record(ExpertContents, found, Path(layout.EXPERT))
        _check_figures(record.expert)
        return record


def mixture_contents(content: bytes, source: str) -> MixtureContents:
    """mixture.yaml of a repository; errors as `expert_contents`."""
    with refusing(source):
        record = files.validate_record(MixtureContents, _parsed(content, MIXTURE), Path(MIXTURE))
        _check_metrics(record.generation.metrics, MIXTURE)
        for value in _leaves(record.generation.profile):
            _check_number(value, MIXTURE)
        return record


def read_expert(contents: ExpertContents, content: Mapping[str, bytes], source: str) -> PulledExpert:
    """One expert from its repository's files, each held against its hash.

    Args:
        contents: its expert.yaml.
        content: bytes by path, all that `contents.files` lists but the card.
        source: the repository, for messages.

    Raises:
        HubError: a file is missing, changed, damaged, absurd or not finite.
    """
    with refusing(source):
        for path, body in content.items():
            files.require_digest(body, contents.files[path], Path(path))
        _require_files(content, (layout.ADAPTER_CONFIG, layout.ADAPTER, layout.ROUTER, layout.HEAD))
        new = _read_new(contents.expert, content, "")
        router = files.parse_tensors(content[layout.ROUTER], Path(layout.ROUTER))
        checks.check_router(router, len(contents.mixture.experts), layout.ROUTER)
        head = files.parse_tensors(content[layout.HEAD], Path(layout.HEAD))
        checks.check_head(head, layout.HEAD)
        return PulledExpert(new, contents.mixture, router, head)


def read_mixture(contents: MixtureContents, content: Mapping[str, bytes], source: str) -> PulledMixture:
    """A whole generation; arguments and errors as `read_expert`."""
    with refusing(source):
        for path, body in content.items():
            files.require_digest(body, contents.files[path], Path(path))
        _require_files(content, (layout.ROUTER, layout.HEAD, layout.RECIPE))
        router = files.parse_tensors(content[layout.ROUTER], Path(layout.ROUTER))
        checks.check_router(router, len(contents.generation.experts), layout.ROUTER)
        head = files.parse_tensors(content[layout.HEAD], Path(layout.HEAD))
        checks.check_head(head, layout.HEAD)
        recipe = content[layout.RECIPE].decode("utf-8", errors="replace")
        files.parse_yaml(recipe.encode(), Path(layout.RECIPE))
        experts = [
            _read_listed(entry.name, entry.sha256, contents, content) for entry in contents.generation.experts
        ]
        return PulledMixture(contents, experts, router, head, recipe)


@contextmanager
def refusing(source: str) -> Iterator[None]:
    """What a file of a repository is accused of, as the Hub's error with the Hub's remedy.

    Raises:
        HubError: in place of the registry's own errors.
    """
    try:
        yield
    except (RegistryError, ExpertError) as error:
        said = _LOCAL_REMEDY.sub("", str(error))
        reason = "; ".join(short(line, 400) for line in said.splitlines() if line.strip())
        raise HubError(
            f"{source} was refused: {reason} The registry is as it was. Ask the repository's owner to push it again, "
            "or pull another revision: ORG/REPO@REV"
        ) from None


def _read_listed(
    name: str, digest: str, contents: MixtureContents, content: Mapping[str, bytes]
) -> NewExpert:
    prefix = f"{layout.EXPERTS}/{name}/"
    _require_files(
        content, [prefix + item for item in (layout.EXPERT, layout.ADAPTER_CONFIG, layout.ADAPTER)]
    )
    found = _parsed(content[prefix + layout.EXPERT], prefix + layout.EXPERT)
    record = files.validate_record(ExpertRecord, found, Path(prefix + layout.EXPERT))
    _check_figures(record)
    if (record.name, record.weights_sha256) != (name, digest):
        raise ExpertError(
            f"{prefix}{layout.EXPERT} describes expert {record.name!r} with weights "
            f"{str(record.weights_sha256)[:8]}…; {MIXTURE} names {name!r} with {digest[:8]}…."
        )
    checks.check_base(record, contents.base)
    return _read_new(record, content, prefix)


def _read_new(record: ExpertRecord, content: Mapping[str, bytes], prefix: str) -> NewExpert:
    _check_adapter_config(record, content[prefix + layout.ADAPTER_CONFIG], prefix + layout.ADAPTER_CONFIG)
    adapter = Path(prefix + layout.ADAPTER)
    files.require_digest(content[str(adapter)], str(record.weights_sha256), adapter)
    weights = files.parse_tensors(content[str(adapter)], adapter)
    checks.check_expert(record, weights, str(adapter))
    if record.exemplars_sha256 is None:
        return NewExpert(record, weights)
    path = Path(prefix + layout.EXEMPLARS)
    _require_files(content, [str(path)])
    files.require_digest(content[str(path)], record.exemplars_sha256, path)
    exemplars = files.parse_tensors(content[str(path)], path)
    checks.check_exemplars(exemplars, str(path))
    return NewExpert(record, weights, exemplars)


def parse_config(content: bytes, where: str) -> dict[str, Any]:
    """A JSON object without keys given twice.

    Raises:
        RegistryError: it is none.
    """
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=files.unique)
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"{where} is not plain JSON: {short(error, 200)}.") from None
    if not isinstance(found, dict):
        raise RegistryError(f"{where} holds {type(found).__name__}; an object of keys is expected.")
    _check_text(found, where)
    return found


def _check_adapter_config(record: ExpertRecord, content: bytes, where: str) -> None:
    found, expected = parse_config(content, where), json.loads(adapter_config(record))
    for key in ("peft_type", "r", "lora_alpha", "target_modules"):
        if found.get(key) != expected[key]:
            raise ExpertError(
                f"{where} says {key} = {short(found.get(key), 100)}; {layout.EXPERT} says {expected[key]}: PEFT would "
                "load another adapter than molex-adapt."
            )


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    found = files.parse_yaml(content, Path(where))
    _check_text(found, where)
    return found


def _check_text(value: Any, where: str) -> None:
    """Signs that steer a terminal or hide what is written have no place in a record."""
    for item in _leaves(value):
        if isinstance(item, str) and not all(sign.isprintable() or sign in "\n\t" for sign in item):
            raise RegistryError(f"{where} holds control signs in {shown(item, 40)}.")


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


def _check_figures(record: ExpertRecord) -> None:
    _check_metrics(record.metrics, layout.EXPERT)
    for value in _leaves(record.data.counts):
        _check_number(value, layout.EXPERT)


def _check_metrics(metrics: Mapping[str, Any], where: str) -> None:
    for domain, rates in metrics.items():
        if not isinstance(rates, dict) or not set(rates) <= _FIGURES:
            raise RegistryError(f"{where}: the figures of {shown(domain)} are none that molex-adapt writes.")
        for key, value in rates.items():
            pair = isinstance(value, list) and key == "eer_ci" and len(value) == 2
            for item in value if pair else [value]:
                if not (item is None or (isinstance(item, int | float) and not isinstance(item, bool))):
                    raise RegistryError(f"{where}: {key} of {shown(domain)} is no number.")
                _check_number(item, where)


def _check_number(value: Any, where: str) -> None:
    if isinstance(value, int | float) and not (abs(value) < _MOST and math.isfinite(value)):
        raise RegistryError(f"{where} holds a figure that nothing has: {short(value, 40)}.")


def _require_files(content: Mapping[str, bytes], paths: Any) -> None:
    missing = [path for path in paths if path not in content]
    if missing:
        raise RegistryError(f"its record lists no {missing[0]}.")
