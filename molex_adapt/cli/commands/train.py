"""Commands that change the mixture: train, add-expert, retrain-router, set-threshold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molex_adapt.cli.options import (
    DEFAULT_REGISTRY,
    AllowFailures,
    Device,
    Domain,
    Json,
    LabelledData,
    Licence,
    MicroBatch,
    Overrides,
    Quiet,
    RecipeFile,
    RegistryFolder,
    Resume,
    Seed,
    Workers,
    recipe_for,
    running,
)
from molex_adapt.cli.output import Answer, broken, emit
from molex_adapt.cli.tables import stage_table
from molex_adapt.cli.threshold_view import threshold_tables
from molex_adapt.conventions import PER_ATTACK

if TYPE_CHECKING:
    from molex_adapt.reports import StageReport

Accept = Annotated[
    bool, typer.Option("--accept", help="Activate the new generation whatever acceptance finds.")
]
ReadoutOnly = Annotated[
    bool,
    typer.Option(
        "--readout-only", help="Train no expert: the readout alone learns, in closed form, in seconds."
    ),
]


def train(
    data: LabelledData,
    domain: Annotated[
        str | None,
        typer.Option(
            "--domain",
            metavar="NAME",
            help="What the experts are for, such as asvspoof5; they are named after it.",
            show_default=False,
        ),
    ] = None,
    experts: Annotated[
        str,
        typer.Option(
            "--experts",
            metavar="N|per-attack",
            help="How many share the data; or one for each of its attacks, each named after its own, with no --domain.",
        ),
    ] = "1",
    readout_only: ReadoutOnly = False,
    licence: Licence = "other",
    registry: RegistryFolder = DEFAULT_REGISTRY,
    recipe: RecipeFile = None,
    overrides: Overrides = None,
    device: Device = "auto",
    seed: Seed = 0,
    workers: Workers = None,
    micro_batch: MicroBatch = None,
    resume: Resume = False,
    allow_failures: AllowFailures = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the experts, router and head of an empty registry together.

    Recordings are heard under drawn codecs, bands, noise and rooms too, unless
    their manifest states a condition (--set joint.draws=0 leaves that out).
    The threshold errs alike on both classes of the dev splits, or lies lower, so
    as to refuse 3 % of real speech there at most (--set refused=0.01, or null).

    [bold]Examples[/bold]

      molex-adapt train ASVspoof5/ --domain asvspoof5 --experts 4
      molex-adapt train ASVspoof5/ --experts per-attack
      molex-adapt train attacks/ --experts per-attack --readout-only
    """
    count = _count(experts)
    if domain is None and isinstance(count, int):
        raise typer.BadParameter(
            "name what the experts are for: --domain NAME; or --experts per-attack for one per attack of the data"
        )
    if domain is not None and not isinstance(count, int):
        raise typer.BadParameter(
            "--experts per-attack names every expert and its domain after an attack of the data: leave --domain out"
        )
    from molex_adapt.api import Registry

    with running(
        quiet,
        device=device,
        seed=seed,
        workers=workers,
        resume=resume,
        allow_failures=allow_failures,
        micro_batch=micro_batch,
    ) as run:
        report = Registry.open(registry).train(
            data,
            domain=domain,
            experts=count,
            readout_only=readout_only,
            licence=licence,
            recipe=recipe_for(registry, recipe, overrides),
            run=run,
        )
    emit(_answer(report, registry), as_json=as_json, quiet=quiet, allow_failures=allow_failures)


def add_expert(
    data: LabelledData,
    domain: Domain,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the expert; without it, the domain's.", show_default=False),
    ] = None,
    licence: Licence = "other",
    registry: RegistryFolder = DEFAULT_REGISTRY,
    recipe: RecipeFile = None,
    overrides: Overrides = None,
    device: Device = "auto",
    seed: Seed = 0,
    workers: Workers = None,
    check: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATA",
            help="Labelled recordings of old domains, to measure these on; nothing learns from them. May be repeated.",
            show_default=False,
        ),
    ] = None,
    accept: Accept = False,
    if_needed: Annotated[
        bool,
        typer.Option("--if-needed", help="Train no expert where the readout alone solves the domain."),
    ] = False,
    readout_only: ReadoutOnly = False,
    micro_batch: MicroBatch = None,
    resume: Resume = False,
    allow_failures: AllowFailures = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one expert on a new attack, then the routers briefly; every old expert stays as it is.

    Every domain is measured before and after: old ones on what their experts
    kept, or on --check. The new generation is active
    if the new domain certainly gains, no old one suffers beyond the recipe's
    tolerance, and no more real speech is refused. Where the expert brings
    nothing or does harm, it is withdrawn, and what the readout learnt stays,
    if that is accepted alone. Otherwise the generation is kept but not
    activated, and the exit status is 1; --accept activates it.

    [bold]Examples[/bold]

      molex-adapt add-expert --domain codec_x data/
      molex-adapt add-expert --domain codec_x data/ --set expert.steps=600 --json
      molex-adapt add-expert --domain codec_x data/ --check old_attacks/
      molex-adapt add-expert --domain codec_x data/ --readout-only
      molex-adapt add-expert --domain codec_x data/ --resume
    """
    from molex_adapt.api import Registry

    with running(
        quiet,
        device=device,
        seed=seed,
        workers=workers,
        resume=resume,
        allow_failures=allow_failures,
        micro_batch=micro_batch,
    ) as run:
        report = Registry.open(registry).add_expert(
            data,
            domain=domain,
            name=name,
            licence=licence,
            recipe=recipe_for(registry, recipe, overrides),
            check=check or (),
            accept=accept,
            if_needed=if_needed,
            readout_only=readout_only,
            run=run,
        )
    emit(_answer(report, registry), as_json=as_json, quiet=quiet, allow_failures=allow_failures)


def retrain_router(
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DATA", help="Further data; without it, the experts' exemplars.", show_default=False
        ),
    ] = None,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    recipe: RecipeFile = None,
    overrides: Overrides = None,
    device: Device = "auto",
    seed: Seed = 0,
    workers: Workers = None,
    accept: Accept = False,
    micro_batch: MicroBatch = None,
    resume: Resume = False,
    allow_failures: AllowFailures = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Retrain the routers alone; no expert and no head changes.

    In closed form where that lowers the development loss, from what they read of every domain; else by gradient.

    [bold]Example[/bold]

      molex-adapt retrain-router data/ --set router_stage.steps=200
    """
    from molex_adapt.api import Registry

    with running(
        quiet,
        device=device,
        seed=seed,
        workers=workers,
        resume=resume,
        allow_failures=allow_failures,
        micro_batch=micro_batch,
    ) as run:
        report = Registry.open(registry).retrain_router(
            data or [], recipe=recipe_for(registry, recipe, overrides), accept=accept, run=run
        )
    emit(_answer(report, registry), as_json=as_json, quiet=quiet, allow_failures=allow_failures)


def set_threshold(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="SPEECH",
            help="Real speech of the place of use: any folder, or a data set.",
            show_default=False,
        ),
    ],
    refused: Annotated[
        float,
        typer.Option(
            metavar="SHARE", min=0.0, max=0.49, help="Of the real recordings, at most so many may be refused."
        ),
    ] = 0.03,
    new_voices: Annotated[
        bool,
        typer.Option("--new-voices", help="Hold the share for voices that are not among them, all together."),
    ] = False,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    device: Device = "auto",
    workers: Workers = None,
    allow_failures: AllowFailures = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose the threshold on your own real speech; nothing is trained.

    How much real speech a threshold refuses depends on its voices and
    channels. Give at least 1/SHARE recordings of voices that the detector
    did not learn from; hundreds, of many voices, say more. With
    --new-voices and a manifest that names eight speakers or more, it is
    low enough for other speakers too. Forged recordings among them decide
    nothing, and are reported. The new generation is
    active at once; molex-adapt rollback takes it back.

    [bold]Examples[/bold]

      molex-adapt set-threshold our_calls/
      molex-adapt set-threshold manifest.csv --refused 0.01 --new-voices
    """
    from molex_adapt.api import Registry

    with running(quiet, device=device, workers=workers) as run:
        report = Registry.open(registry).set_threshold(data, refused=refused, new_voices=new_voices, run=run)
    kept = f"generation {report.generation} is active"
    answer = Answer(
        report.as_dict(), threshold_tables(report), report.remarks, failed=broken(report.failed), kept=kept
    )
    emit(answer, as_json=as_json, quiet=quiet, allow_failures=allow_failures)


def _answer(report: StageReport, registry: Path) -> Answer:
    view, failed = stage_table(report, registry), broken(report.failed)
    kept = f"generation {report.generation} is active" if report.activated else None
    return Answer(report.as_dict(), view, report.remarks, ok=report.activated, failed=failed, kept=kept)


def _count(experts: str) -> int | str:
    """Of the experts; as it is where it is `per-attack`."""
    if experts == PER_ATTACK:
        return experts
    if not experts.isdecimal() or not 1 <= int(experts) <= 256:
        raise typer.BadParameter(f"--experts {experts}: expected a number from 1 to 256, or per-attack")
    return int(experts)
