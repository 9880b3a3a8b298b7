"""Commands that read and tend the registry: list, show, history, verify, rollback, remove. None loads a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from molex_adapt.cli.options import DEFAULT_REGISTRY, Json, Quiet, RegistryFolder
from molex_adapt.cli.output import Answer, emit
from molex_adapt.cli.published_view import published_rows
from molex_adapt.cli.tables import forgetting_tables, pairs, plain_table

if TYPE_CHECKING:
    from molex_adapt.api import BaseRecord, Forgetting, GenerationRecord

_IN_HISTORY = {"number", "parent", "created", "command", "metrics", "changes", "remarks"}

_LISTED = ("expert", "domain", "rank", "EER when made", "made on", "state")

ExpertName = Annotated[str, typer.Argument(metavar="NAME", help="Of the expert.", show_default=False)]


def list_experts(registry: RegistryFolder = DEFAULT_REGISTRY, as_json: Json = False) -> None:
    """List the experts of the active generation.

    [bold]Example[/bold]

      molex-adapt list --registry registry/
    """
    from molex_adapt.api import Registry

    store = Registry.open(registry).store
    active = store.active
    experts = [] if active is None else store.summaries(active)
    data = {
        "base": store.base.model_dump(include={"id", "revision", "sha256", "published"}),
        "generation": None if active is None else active.number,
        "experts": [
            {"name": item.name, "domain": item.domain, "rank": item.rank, "sha256": entry.sha256}
            | _state(active, item.name)
            for item, entry in zip(experts, [] if active is None else active.experts, strict=True)
        ],
    }
    states = [_marks(_state(active, item.name)) for item in experts]
    rows = [
        (item.name, item.domain, str(item.rank), _percent(item.eer), item.created[:10], state)
        for item, state in zip(experts, states, strict=True)
    ]
    shown = len(_LISTED) if any(states) else len(_LISTED) - 1
    title = f"{store.base}, " + ("no generation yet" if active is None else f"generation {active.number}")
    view = [plain_table(title, _LISTED[:shown], [row[:shown] for row in rows])]
    if store.base.published is not None:
        view.insert(0, pairs("Published detector", published_rows(store.base)))
    emit(Answer(data, view), as_json=as_json)


def _state(active: GenerationRecord | None, name: str) -> dict[str, bool | None]:
    """Whether an expert is withdrawn and whether it was pulled; None where the generation does not say."""
    said = {} if active is None else {"withdrawn": active.withdrawn, "pulled": active.pulled}
    return {key: None if names is None else name in names for key, names in said.items()}


def _marks(state: dict[str, bool | None]) -> str:
    return ", ".join(key for key, is_so in state.items() if is_so)


def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="An expert; without it, the whole generation.", show_default=False
        ),
    ] = None,
    generation: Annotated[
        int | None, typer.Option(metavar="N", help="Another than the active one.", show_default=False)
    ] = None,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    as_json: Json = False,
) -> None:
    """Show everything on record about an expert, or about a generation.

    [bold]Examples[/bold]

      molex-adapt show world
      molex-adapt show --generation 2
    """
    from molex_adapt.api import Registry

    store = Registry.open(registry).store
    if name is None:
        record = store.generation(generation)
        data = record.model_dump(mode="json") | {"base": store.base.model_dump(mode="json")}
        emit(Answer(data, [_generation_view(record, store.base)]), as_json=as_json)
        return
    expert = store.expert(name, generation)
    origin, withdrawn = expert.origin, name in store.withdrawn(generation)
    counts = "; ".join(
        f"{split}: " + ", ".join(f"{count} {label}" for label, count in found.items())
        for split, found in expert.data.counts.items()
    )
    view = pairs(
        f"Expert {expert.name}",
        {
            "domain": expert.domain,
            **(
                {"state": "withdrawn, or never trained: its gates are closed, the readout speaks"}
                if withdrawn
                else {}
            ),
            "made": f"{expert.created}, seed {expert.seed}",
            "base": str(expert.base),
            **published_rows(expert.base),
            "LoRA": f"rank {expert.rank}, alpha {expert.alpha:g}, {expert.blocks} blocks, {', '.join(expert.targets)}",
            "data": f"{counts} (split by {expert.data.split_by}, digest {expert.data.digest[:8]}…)",
            "attacks": ", ".join(expert.data.attacks) or "-",
            "conditions": ", ".join(expert.data.conditions) or "-",
            "EER when made": _eers(expert.metrics),
            "licence": expert.licence,
            "pulled from": "-" if origin is None else f"{origin.repository} at {origin.commit}",
            "sha256": str(expert.weights_sha256),
            "versions": _joined(expert.versions),
        },
    )
    emit(Answer(expert.model_dump(mode="json") | {"withdrawn": withdrawn}, [view]), as_json=as_json)


def history(
    domains: Annotated[
        bool,
        typer.Option(
            "--domains",
            help="Each domain's EER along the generations that led to the active one, and what was forgotten.",
        ),
    ] = False,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    as_json: Json = False,
) -> None:
    """List all generations, those that were refused as well.

    [bold]Examples[/bold]

      molex-adapt history
      molex-adapt history --domains
    """
    from molex_adapt.api import Registry

    store = Registry.open(registry).store
    forgetting = store.forgetting() if domains else None
    active, records = store.record().active, store.history()
    data: dict[str, Any] = {
        "active": active,
        "generations": [
            item.model_dump(mode="json", include=_IN_HISTORY)
            | {"experts": item.names, "active": item.number == active}
            for item in records
        ],
    }
    if forgetting is not None:
        data["forgetting"] = forgetting.as_dict()
        emit(Answer(data, forgetting_tables(forgetting), _unknown(forgetting)), as_json=as_json)
        return
    rows = [
        (
            f"{item.number}{' *' if item.number == active else ''}",
            "-" if item.parent is None else str(item.parent),
            item.created[:16].replace("T", " "),
            ", ".join(item.names) or "-",
            item.command or "-",
        )
        for item in records
    ]
    title = f"Generations of {registry} (* active)"
    view = plain_table(title, ("n", "parent", "made (UTC)", "experts", "by"), rows)
    emit(Answer(data, [view]), as_json=as_json)


def verify(
    registry: RegistryFolder = DEFAULT_REGISTRY,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Delete what interrupted writes and interrupted training left behind."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every file of the registry against its record; exit status 1 if anything is wrong.

    [bold]Example[/bold]

      molex-adapt verify --repair
    """
    from molex_adapt.api import Registry

    problems = Registry.open(registry).store.verify(repair=repair)
    view: list[Any] = [f"{registry}: every file is as recorded"]
    if problems:
        rows = [(str(number), problem) for number, problem in enumerate(problems, start=1)]
        view = [plain_table(f"{registry}: {len(problems)} problem(s)", ("", "problem"), rows)]
    emit(Answer({"ok": not problems, "problems": problems}, view, ok=not problems), as_json=as_json)


def rollback(
    generation: Annotated[
        int | None,
        typer.Argument(metavar="N", help="Without it, the active one's parent.", show_default=False),
    ] = None,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    as_json: Json = False,
) -> None:
    """Activate an earlier generation, or one that was refused.

    [bold]Examples[/bold]

      molex-adapt rollback
      molex-adapt rollback 3
    """
    from molex_adapt.api import Registry

    store = Registry.open(registry).store
    before = store.record().active
    record = store.rollback(generation)
    data = {"generation": record.number, "before": before, "experts": record.names}
    line = f"Generation {record.number} is active (before: {before}); experts: {', '.join(record.names) or 'none'}"
    emit(Answer(data, [line], kept=line), as_json=as_json)


def remove(
    name: ExpertName,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge",
            help="Delete its files and all generations with it, for good; experts that no other generation has go too.",
        ),
    ] = False,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take an expert out of the mixture; its router rows go too.

    A new generation without it becomes active. A rollback brings it back, unless
    a purge deleted all generations with it; only after a purge is its name free.

    [bold]Example[/bold]

      molex-adapt remove world
    """
    from molex_adapt.api import Registry

    store = Registry.open(registry).store
    before = store.taken_names()
    number = store.remove(name, purge=purge)
    active = store.record().active
    others = sorted(before - store.taken_names() - {name})
    data = {
        "removed": name,
        "purged": purge,
        "also_deleted": others,
        "generation": active,
        "new": number is not None,
    }
    gone = f"{', '.join([name, *others])} {'are' if others else 'is'} {'deleted' if purge else 'out'}"
    line = f"{gone}; active generation: {'none' if active is None else active}"
    remarks = [f"expert {other} was deleted too: no generation that is left has it" for other in others]
    if number is not None:
        remarks.append("the routers were not retrained: see molex-adapt retrain-router")
    emit(Answer(data, [line], remarks, kept=line), as_json=as_json, quiet=quiet)


def _generation_view(record: GenerationRecord, base: BaseRecord) -> Any:
    return pairs(
        f"Generation {record.number}",
        {
            "parent": "-" if record.parent is None else str(record.parent),
            "made": record.created,
            "by": record.command or "-",
            **published_rows(base),
            "experts": ", ".join(record.names) or "none",
            "EER": _eers(record.metrics),
            "threshold": f"{record.threshold:+.3f} nats",
            "calibration": f"{record.calibration.scale:.3f} x logit {record.calibration.offset:+.3f}",
            "remarks": "\n".join(record.remarks) or "-",
            "versions": _joined(record.versions),
        },
    )


def _unknown(forgetting: Forgetting) -> list[str]:
    last = forgetting.steps[-1]
    found = []
    if forgetting.missing_parent is not None:
        found.append(
            f"generation {forgetting.missing_parent} is gone with what it measured: purging an expert deletes every "
            "generation that names it"
        )
    if forgetting.courses and not any(course.present for course in forgetting.courses):
        found.append(
            f"generation {last.generation} ({last.command or 'active'}) measured nothing: what it forgot is not known. "
            "molex-adapt retrain-router measures, but trains as well; molex-adapt evaluate DATA only measures"
        )
    return found


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def _eers(metrics: dict[str, Any]) -> str:
    rates = {domain: item.get("eer") if isinstance(item, dict) else None for domain, item in metrics.items()}
    return ", ".join(f"{domain} {_percent(eer)}" for domain, eer in rates.items()) or "-"


def _joined(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
