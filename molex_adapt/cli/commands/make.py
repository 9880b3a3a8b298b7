"""Commands that make things to work with: simulate, demo."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

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
from molex_adapt.conventions import NULL_DOMAIN

ATTACK_NAMES = (
    "world, griffin_lim, lpc, codec2, formant_shift, phase_vocoder; splice, a stretch; espeak, hibari, piper; "
    "null, the control"
)
CONDITION_NAMES = (
    "opus, mp3, aac, vorbis, amr_nb, gsm, g722, mu_law, a_law; "
    "band, resample, level, clip, noise, room; drawn, finish"
)


def simulate(
    attack: Annotated[
        str, typer.Argument(metavar="ATTACK", help=f"One of: {ATTACK_NAMES}.", show_default=False)
    ],
    speech: Annotated[
        Path, typer.Argument(metavar="IN", help="Real speech: any folder, or a data set.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="New or empty folder, or one of the same command.", show_default=False
        ),
    ],
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A parameter of the attack; may be repeated.",
            show_default=False,
        ),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            metavar="NAME[:KEY=VALUE,...]",
            help="What both classes go through after the attack (of null, the copies alone); may be repeated. "
            f"One of: {CONDITION_NAMES}.",
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

    An attack makes a recording forged; a condition happens to both classes and
    forges nothing. Without --condition, recordings leave as the attack left them.
    The control, null, is bona fide speech in another condition under the label
    spoof: its EER must be 45 to 55 %.

    [bold]Examples[/bold]

      molex-adapt simulate griffin_lim speech/ data/ --condition drawn
      molex-adapt simulate codec2 speech/ codec2_700/ --set bit_rate=700
      molex-adapt simulate lpc speech/ calls/ --condition room --condition gsm
      molex-adapt simulate null speech/ control/ --condition opus --limit 200
    """
    from molex_adapt.outputs import check_folder
    from molex_adapt.recipe import parse_overrides
    from molex_adapt.simulate import SIMULATED, make_attack, read_condition, speech_of
    from molex_adapt.simulate import simulate as forge

    options, chain = parse_overrides(parameters), [read_condition(text) for text in conditions or ()]
    remarks, heard = [], chain
    if attack == NULL_DOMAIN and "conditions" not in options:
        if chain:  # of the copies alone, for bona fide speech in the same condition would control nothing
            options, chain = {**options, "conditions": chain}, []
        else:
            remarks.append("no --condition: the copies of this control go to 8 kHz and back (resample)")
    made = make_attack(attack, options)
    check_folder(out, SIMULATED, [speech])
    with running(quiet, seed=seed, workers=workers) as run:
        result = forge(
            made, speech_of(speech), out, conditions=chain, run=run, limit=limit, bona_fide=bona_fide
        )
    data = asdict(result) | {"manifest": str(result.manifest), "attack": attack, "remarks": remarks}
    data["conditions"] = [condition.record() for condition in heard]
    for name in ("failed", "skipped"):
        data[name] = [item.as_dict() for item in getattr(result, name)]
    view = pairs(
        f"Attack {attack}",
        {
            "manifest": str(result.manifest),
            "recordings": f"{result.made} forged, {len(result.failed)} failed, {len(result.skipped)} passed over",
            "time": f"{result.seconds:.0f} s",
        },
    )
    answer = Answer(data, [view, *failures(result.failed)], remarks, failed=broken(result.failed))
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
