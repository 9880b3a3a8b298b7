"""The command that starts a registry."""

from __future__ import annotations

from typing import Annotated

import typer

from molex_adapt.cli.options import DEFAULT_REGISTRY, Json, RegistryFolder
from molex_adapt.cli.output import Answer, emit
from molex_adapt.cli.published_view import published_remarks, published_rows
from molex_adapt.cli.tables import pairs


def init(
    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE",
            help="Hub model id or local folder, of a detector or a bare encoder; or `embedded` for the one that comes "
            "along.",
        ),
    ],
    registry: RegistryFolder = DEFAULT_REGISTRY,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit on the Hub; the commit is recorded.")
    ] = None,
    experts: Annotated[
        bool, typer.Option("--experts/--no-experts", help="Begin with the shipped experts (embedded base).")
    ] = True,
    bona_fide_label: Annotated[
        str | None,
        typer.Option(
            "--bona-fide-label",
            metavar="LABEL",
            help="Of a detector: its label of bona fide speech, or that label's number.",
            show_default=False,
        ),
    ] = None,
    trained_on: Annotated[
        list[str] | None,
        typer.Option(
            "--trained-on",
            metavar="NAME",
            help="Of a detector: a corpus it learnt from, beside those its card names; may be repeated.",
            show_default=False,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence",
            metavar="ID",
            help="Of a detector, where its card does not say it, such as cc-by-nc-sa-4.0.",
            show_default=False,
        ),
    ] = None,
    encoder_only: Annotated[
        bool, typer.Option("--encoder-only", help="Of a detector, take the encoder alone, as a base.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start a registry on a base; on the embedded one, with the shipped experts.

    A base is any WavLM, wav2vec 2.0, XLS-R, MMS, HuBERT, UniSpeech-SAT, data2vec-audio, w2v-BERT 2.0 or Whisper.

    A published detector becomes generation 0: it scores as it was published,
    experts are added to it, and `molex-adapt rollback 0` returns it.

    [bold]Examples[/bold]

      molex-adapt init embedded
      molex-adapt init embedded --no-experts --registry empty/
      molex-adapt init microsoft/wavlm-large --registry wavlm/
      molex-adapt init detector/ --bona-fide-label LABEL_1 --trained-on ASVspoof5
    """
    from molex_adapt.api import Registry

    store = Registry.create(
        registry,
        base,
        revision=revision,
        experts=experts,
        encoder_only=encoder_only,
        bona_fide=bona_fide_label,
        trained_on=trained_on or [],
        licence=licence,
    ).store
    active = store.active
    record = store.base.model_dump(include={"id", "revision", "sha256", "published"})
    named = [] if active is None else active.names
    data = {
        "registry": str(registry),
        "base": record,
        "generation": None if active is None else active.number,
        "experts": named,
    }
    rows = {"base": str(store.base), **published_rows(store.base), "experts": ", ".join(named) or "none yet"}
    answer = Answer(data, [pairs(f"Registry {registry}", rows)], published_remarks(store.base.published))
    emit(answer, as_json=as_json)
