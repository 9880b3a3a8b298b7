"""Commands that make things to work with: simulate, demo."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molex_adapt.cli.demo_view import demo_view
from molex_adapt.cli.options import (
    AllowFailures,
    Device,
    Json,
    Overrides,
    Quiet,
    RecipeFile,
    Seed,
    Workers,
    recipe_file,
    running,
)
from molex_adapt.cli.output import Answer, broken, emit
from molex_adapt.cli.progress import telling
from molex_adapt.cli.tables import failures, pairs

if TYPE_CHECKING:
    from molex_adapt.data import Table

ATTACK_NAMES = (
    "world, griffin_lim, lpc, formant_shift, phase_vocoder; codec2, opus, mp3, aac, amr_nb, gsm; "
    "espeak, hibari, piper; null"
)


def simulate(
    attack: Annotated[
        str, typer.Argument(metavar="ATTACK", help=f"One of: {ATTACK_NAMES}.", show_default=False)
    ],
    speech: Annotated[
        Path, typer.Argument(metavar="IN", help="Real speech: any folder, or a data set.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder.", show_default=False)],
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A parameter of the attack; may be repeated.",
            show_default=False,
        ),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            "--stage",
            metavar="KEY=VALUE",
            help="Of the last stage that both classes pass: codec, band, level_dbfs, trim.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Use so many recordings, chosen by the seed.", show_default=False
        ),
    ] = None,
    bona_fide: Annotated[
        bool, typer.Option("--bona-fide/--spoof-only", help="Write the bona fide class too.")
    ] = True,
    seed: Seed = 0,
    workers: Workers = None,
    allow_failures: AllowFailures = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make an attack domain from bona fide recordings by copy-synthesis.

    [bold]Examples[/bold]

      molex-adapt simulate griffin_lim speech/ data/
      molex-adapt simulate codec2 speech/ codec2_700/ --set bit_rate=700
      molex-adapt simulate null speech/ control/ --limit 200
    """
    from molex_adapt.outputs import check_folder
    from molex_adapt.recipe import parse_overrides
    from molex_adapt.simulate import SIMULATED, Finish, make_attack
    from molex_adapt.simulate import simulate as forge

    made = make_attack(attack, parse_overrides(parameters))
    finish = Finish.model_validate(parse_overrides(stage))
    check_folder(out, SIMULATED, [speech])
    with running(quiet, seed=seed, workers=workers) as run:
        result = forge(made, _speech(speech), out, finish=finish, run=run, limit=limit, bona_fide=bona_fide)
    data = asdict(result) | {"manifest": str(result.manifest), "attack": attack}
    for name in ("failed", "skipped"):
        data[name] = [{"path": item.path, "reason": item.reason} for item in getattr(result, name)]
    view = pairs(
        f"Attack {attack}",
        {
            "manifest": str(result.manifest),
            "recordings": f"{result.made} forged, {len(result.failed)} failed, {len(result.skipped)} passed over",
            "time": f"{result.seconds:.0f} s",
        },
    )
    answer = Answer(data, [view, *failures(result.failed)], failed=broken(result.failed))
    emit(answer, as_json=as_json, quiet=quiet, allow_failures=allow_failures)


def demo(
    speech: Annotated[
        Path | None,
        typer.Option(
            "--speech",
            metavar="DIR",
            help="Folder of real speech, one folder per voice; without it, Debian's Asterisk prompts.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where it works.")] = Path("demo-out"),
    recipe: RecipeFile = None,
    overrides: Overrides = None,
    device: Device = "auto",
    seed: Seed = 0,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the whole story on the embedded base, offline, on a copy of the shipped registry.

    [bold]Examples[/bold]

      molex-adapt demo
      molex-adapt demo --speech recordings/ --out somewhere/
    """
    from molex_adapt.recipe import DemoRecipe, load
    from molex_adapt.shipped import recipe_path

    options = load(DemoRecipe, recipe_path("demo") if recipe is None else recipe_file(recipe), overrides)
    with telling(quiet) as listener, running(True, device=device, seed=seed, workers=workers) as run:
        from molex_adapt.demo import run_demo  # takes seconds, which the bar may show

        report = run_demo(out, speech=speech, recipe=options, run=run, listener=listener)
    emit(Answer(report.as_dict(), demo_view(report)), as_json=as_json, quiet=quiet)


def _speech(path: Path) -> Table:
    """A data set as what it says it is; any other folder as real speech throughout."""
    from molex_adapt.data import read
    from molex_adapt.data.folder import class_folders
    from molex_adapt.data.protocols import find_protocols
    from molex_adapt.data.read import MANIFEST_NAMES
    from molex_adapt.simulate import prompts

    if not path.is_dir():
        return read(path)
    labelled = (
        class_folders(path) or any((path / name).is_file() for name in MANIFEST_NAMES) or find_protocols(path)
    )
    return read(path) if labelled else prompts(path)
