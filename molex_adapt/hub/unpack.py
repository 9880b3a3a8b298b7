"""From what a repository holds to what a registry can take: nothing is believed before it was checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molex_adapt.errors import ExpertError, HubError, RegistryError
from molex_adapt.hub.believable import check_figures, check_generation, check_scale, check_text
from molex_adapt.hub.contents import MIXTURE, ExpertContents, MixtureContents, Surroundings
from molex_adapt.hub.readouts import check_readout
from molex_adapt.registry import checks, files, layout
from molex_adapt.registry.draft import NewExpert, check_adapter_config
from molex_adapt.registry.files import Arrays
from molex_adapt.registry.records import ExpertRecord
from molex_adapt.text import short

_LOCAL_REMEDY = re.compile(r"\s+(?:Run|Restore|Train|Convert)\b[^.]*\.\s*$")
"""What helps in a registry of one's own does not help with a stranger's repository."""


class RefusedError(HubError):
    """A repository whose content is not taken, and the `reason`."""

    def __init__(self, source: str, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"{source} was refused: {reason} The registry is as it was. Ask the repository's owner to push it again, "
            "or pull another revision: ORG/REPO@REV"
        )


@dataclass(frozen=True)
class PulledExpert:
    """An expert whose files are whole, finite and of one mind, and the mixture it acted in; a stock one has none."""

    new: NewExpert
    mixture: Surroundings | None = None
    router: Arrays | None = None
    """`blocks.{l}.rows` (E, D + 1) with its own row first, `.centre`, `.spread`."""
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
        check_figures(record.expert)
        check_scale(record.mixture.calibration, record.mixture.threshold, layout.EXPERT)
        return record


def mixture_contents(content: bytes, source: str) -> MixtureContents:
    """mixture.yaml of a repository; errors as `expert_contents`."""
    with refusing(source):
        record = files.validate_record(MixtureContents, _parsed(content, MIXTURE), Path(MIXTURE))
        check_generation(record.generation, MIXTURE)
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
        router, head = _read_shared(content, contents.files, len(contents.mixture.experts))
        _require_files(content, (layout.ADAPTER_CONFIG, layout.ADAPTER))
        return PulledExpert(_read_new(contents.expert, content, ""), contents.mixture, router, head)


def read_mixture(contents: MixtureContents, content: Mapping[str, bytes], source: str) -> PulledMixture:
    """A whole generation; arguments and errors as `read_expert`."""
    with refusing(source):
        router, head = _read_shared(content, contents.files, len(contents.generation.experts))
        _require_files(content, [layout.RECIPE])
        recipe = content[layout.RECIPE].decode("utf-8", errors="replace")
        files.parse_yaml(recipe.encode(), Path(layout.RECIPE))
        experts = [
            _read_listed(entry.name, entry.sha256, contents, content) for entry in contents.generation.experts
        ]
        return PulledMixture(contents, experts, router, head, recipe)


def _read_shared(
    content: Mapping[str, bytes], digests: Mapping[str, str], experts: int
) -> tuple[Arrays, Arrays]:
    """Router and head, once all content is found to be what the record lists."""
    for path, body in content.items():
        files.require_digest(body, digests[path], Path(path))
    _require_files(content, (layout.ROUTER, layout.HEAD))
    router = files.parse_tensors(content[layout.ROUTER], Path(layout.ROUTER))
    checks.check_router(router, experts, layout.ROUTER)
    head = files.parse_tensors(content[layout.HEAD], Path(layout.HEAD))
    checks.check_head(head, layout.HEAD)
    check_readout(head, layout.HEAD)
    return router, head


@contextmanager
def refusing(source: str) -> Iterator[None]:
    """What a file of a repository is accused of, as the Hub's error with the Hub's remedy.

    Raises:
        RefusedError: in place of the registry's own errors.
        HubError: where a newer version of molex-adapt is all that it takes.
    """
    try:
        yield
    except files.NewerError as error:
        raise HubError(f"{source} cannot be read: {error}. The registry is as it was") from None
    except (RegistryError, ExpertError) as error:
        said = _LOCAL_REMEDY.sub("", str(error))
        reason = "; ".join(short(line, 400) for line in said.splitlines() if line.strip())
        raise RefusedError(source, reason) from None


def _read_listed(
    name: str, digest: str, contents: MixtureContents, content: Mapping[str, bytes]
) -> NewExpert:
    prefix = f"{layout.EXPERTS}/{name}/"
    _require_files(
        content, [prefix + item for item in (layout.EXPERT, layout.ADAPTER_CONFIG, layout.ADAPTER)]
    )
    found = _parsed(content[prefix + layout.EXPERT], prefix + layout.EXPERT)
    record = files.validate_record(ExpertRecord, found, Path(prefix + layout.EXPERT))
    check_figures(record)
    if (record.name, record.weights_sha256) != (name, digest):
        raise ExpertError(
            f"{prefix}{layout.EXPERT} describes expert {record.name!r} with weights "
            f"{str(record.weights_sha256)[:8]}…; {MIXTURE} names {name!r} with {digest[:8]}…."
        )
    checks.check_base(record, contents.base)
    return _read_new(record, content, prefix)


def _read_new(record: ExpertRecord, content: Mapping[str, bytes], prefix: str) -> NewExpert:
    config, adapter = prefix + layout.ADAPTER_CONFIG, Path(prefix + layout.ADAPTER)
    check_adapter_config(record, parse_config(content[config], config), config)
    weights = files.parse_hashed(content[str(adapter)], str(record.weights_sha256), adapter)
    checks.check_expert(record, weights, str(adapter))
    exemplars = _kept(content, prefix + layout.EXEMPLARS, record.exemplars_sha256, checks.check_exemplars)
    routing = _kept(content, prefix + layout.ROUTING, record.routing_sha256, checks.check_routing)
    return NewExpert(record, weights, exemplars, routing)


def _kept(
    content: Mapping[str, bytes], name: str, digest: str | None, check: Callable[[files.Arrays, str], None]
) -> files.Arrays | None:
    if digest is None:
        return None
    _require_files(content, [name])
    found = files.parse_hashed(content[name], digest, Path(name))
    check(found, name)
    return found


def parse_config(content: bytes, where: str) -> dict[str, Any]:
    """A JSON object without keys given twice, and without hidden signs.

    Raises:
        RegistryError: it is none.
    """
    found = files.parse_json(content, Path(where))
    check_text(found, where)
    return found


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    found = files.parse_yaml(content, Path(where))
    check_text(found, where)
    return found


def _require_files(content: Mapping[str, bytes], paths: Any) -> None:
    missing = [path for path in paths if path not in content]
    if missing:
        raise RegistryError(f"its record lists no {missing[0]}.")
