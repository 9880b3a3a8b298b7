"""Commands that spread work over a cluster of Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from molex_adapt.cli.analysis_view import analysis_view
from molex_adapt.cli.cluster_view import cluster_view, features_view
from molex_adapt.cli.options import (
    DEFAULT_REGISTRY,
    AllowFailures,
    Device,
    Json,
    Overrides,
    Precision,
    Quiet,
    RecipeFile,
    RegistryFolder,
    check_rates,
    recipe_for,
    running,
)
from molex_adapt.cli.output import Answer, broken, emit
from molex_adapt.decision import EVEN_PRIOR, MOST_ERROR

cluster = typer.Typer(
    help="Score, analyze and compute features by many workers, on one machine or many, with Ray.\n\n"
    "[bold]Example[/bold]\n\n  molex-adapt cluster score corpus.parquet --out scores/ --workers 8",
    no_args_is_help=True,
)

Manifest = Annotated[
    Path,
    typer.Argument(
        metavar="MANIFEST", help="Parquet, CSV, TSV or JSON Lines with path and label.", show_default=False
    ),
]
AudioRoot = Annotated[
    str | None,
    typer.Option(
        "--audio-root",
        metavar="DIR",
        help="Where relative paths begin; to score, also an address such as s3://BUCKET/PREFIX. Without it: the "
        "manifest's folder.",
        show_default=False,
    ),
]
ClusterWorkers = Annotated[
    int, typer.Option("--workers", metavar="N", min=1, help="Workers, each with a detector of its own.")
]
Cores = Annotated[int, typer.Option("--cpus", metavar="N", min=1, help="Cores of each worker.")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Of a cluster of Ray: auto, or ray://HOST:10001. Without it, one is started here.",
        show_default=False,
    ),
]


@cluster.command()
def score(
    manifest: Manifest,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="Where scores go; every worker writes there.", show_default=False
        ),
    ],
    workers: ClusterWorkers = 2,
    cpus: Cores = 1,
    address: Address = None,
    audio_root: AudioRoot = None,
    prior: Annotated[
        float, typer.Option("--prior", metavar="P", help="Probability of bona fide speech before listening.")
    ] = EVEN_PRIOR,
    error: Annotated[
        float,
        typer.Option(
            "--error", metavar="RATE", help="Where a decision would be wrong more often, none is made."
        ),
    ] = MOST_ERROR,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    device: Device = "auto",
    precision: Precision = None,
    allow_failures: AllowFailures = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a manifest's recordings: DIR/scores.parquet, a row for each.

    A worker that dies is replaced and its recordings are done again; the same
    command goes on where it was interrupted, and tries again what failed.
    With --device cuda each worker has a card of its own.

    [bold]Examples[/bold]

      molex-adapt cluster score corpus.parquet --out scores/
      molex-adapt cluster score corpus.parquet --out scores/ --address auto
    """
    check_rates(prior, error)
    from molex_adapt.cluster import Cluster, score_manifest

    with running(quiet, device=device, precision=precision) as run:
        report = score_manifest(
            registry,
            manifest,
            out,
            Cluster(workers, cpus, address),
            audio_root=audio_root,
            prior=prior,
            error=error,
            run=run,
        )
    failed = broken(report.failed)
    answer = Answer(
        report.as_dict(), cluster_view(report), ok=len(report.failed) < report.recordings, failed=failed
    )
    emit(answer, as_json=as_json, quiet=quiet, allow_failures=allow_failures)


@cluster.command()
def analyze(
    manifest: Manifest,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write report.html, and every figure and number as files.",
            show_default=False,
        ),
    ] = None,
    ablate: Annotated[
        bool | None,
        typer.Option(
            "--ablate/--no-ablate",
            help="Switch each expert off too, on a sample. On with --out.",
            show_default=False,
        ),
    ] = None,
    workers: ClusterWorkers = 2,
    cpus: Cores = 1,
    address: Address = None,
    audio_root: AudioRoot = None,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    device: Device = "auto",
    precision: Precision = None,
    allow_failures: AllowFailures = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show which experts act for which attack, as molex-adapt analyze does.

    Each worker hears a part of the recordings; the sums are those of one.

    [bold]Example[/bold]

      molex-adapt cluster analyze corpus.parquet --out report/ --workers 8
    """
    from molex_adapt.api import Registry, check_report_folder
    from molex_adapt.cluster import Cluster, analyse_manifest

    if out is not None:
        check_report_folder(out, [manifest])
    with running(quiet, device=device, precision=precision) as run:
        report = analyse_manifest(
            registry,
            manifest,
            Cluster(workers, cpus, address),
            audio_root=audio_root,
            ablate=out is not None if ablate is None else ablate,
            run=run,
        )
        view = analysis_view(report)
        if out is not None:
            Registry.open(registry).write_report(report, out)
            view.append(Text(f"Page: {out / 'report.html'}"))
    answer = Answer(report.as_dict(), view, report.remarks, failed=broken(report.failed))
    emit(answer, as_json=as_json, quiet=quiet, allow_failures=allow_failures)


@cluster.command()
def features(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="What train or add-expert will be given.", show_default=False),
    ],
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="Where features go; every worker writes there. Without it: where MOLEX_CACHE says.",
            show_default=False,
        ),
    ] = None,
    workers: ClusterWorkers = 2,
    cpus: Cores = 1,
    address: Address = None,
    recipe: RecipeFile = None,
    overrides: Overrides = None,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    device: Device = "auto",
    allow_failures: AllowFailures = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compute the base's features of a data set, for training to read.

    They are those that train and add-expert would compute first, with what a
    readout reads of each recording, and stay in the cache: train where
    MOLEX_CACHE names it. What is there is not computed again. A worker that
    dies is replaced, and what it wrote stays.

    [bold]Examples[/bold]

      molex-adapt cluster features data/ --cache /shared/cache --workers 8
      MOLEX_CACHE=/shared/cache molex-adapt add-expert data/ --domain new
    """
    from dataclasses import replace

    from molex_adapt.cluster import Cluster, fill_cache

    with running(quiet, device=device) as run:
        report = fill_cache(
            registry,
            data,
            Cluster(workers, cpus, address),
            recipe=recipe_for(registry, recipe, overrides),
            run=run if cache is None else replace(run, cache=cache),
        )
    answer = Answer(
        report.as_dict(),
        features_view(report),
        ok=len(report.failed) < report.recordings,
        failed=broken(report.failed),
    )
    emit(answer, as_json=as_json, quiet=quiet, allow_failures=allow_failures)
