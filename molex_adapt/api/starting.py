"""A new registry: on a bare encoder, empty; on a published detector, with that detector as its generation 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from molex_adapt.base import Base, load_base
from molex_adapt.conventions import Seconds
from molex_adapt.errors import RegistryError
from molex_adapt.mixture.routers import Router
from molex_adapt.published import PublishedDetector, onnx_refused, open_published, read_card
from molex_adapt.recipe import DataOptions, Recipe, dump
from molex_adapt.registry import BaseRecord, GenerationDraft, PublishedRecord, Store
from molex_adapt.registry.assemble import embeddable

HEARD_WHOLE: Seconds = 60.0
"""Published detectors hear recordings whole; so long ones are cut into windows here all the same."""


@dataclass(frozen=True)
class Stated:
    """What a user states of a published detector.

    Attributes:
        bona_fide: its label of bona fide speech, or that label's number; None to go by the labels' own words.
        trained_on: corpora that it was trained on, beside those that its card names.
        licence: None for what its card says.
    """

    bona_fide: str | None = None
    trained_on: Sequence[str] = ()
    licence: str | None = None


def start_registry(path: Path, base: str, revision: str | None, stated: Stated | None) -> Store:
    """A registry on a Hub model id or a local folder; what is `stated` is stated of a detector.

    Raises:
        RegistryError: nothing can be loaded there; a detector's labels are not clear; or something was stated of a
            detector that is none.
    """
    with onnx_refused(base, revision):
        with open_published(base, revision, stated.bona_fide if stated is not None else None) as found:
            if found is not None:
                return _on_detector(path, found, stated or Stated())
        if stated is None:
            return start_on_encoder(path, base, revision)
        raise RegistryError(
            f"{base} is no detector that is recognised: a label, a licence and corpora are stated of a published "
            "detector, and a bare encoder has none. Leave these options out, or give the detector's own folder or id"
        )


def start_on_encoder(path: Path, base: str, revision: str | None, name: str | None = None) -> Store:
    """An empty registry on the encoder of a Hub model id or a local folder, which it calls `name`."""
    folder = Path(base)
    loaded = load_base(folder if folder.is_dir() else base, revision)
    return _create(path, loaded, folder if folder.is_dir() else None, name=name)


def _on_detector(path: Path, found: PublishedDetector, stated: Stated) -> Store:
    card = read_card(found.card)
    record = PublishedRecord(
        kind=found.kind,
        bona_fide=found.bona_fide,
        spoof=list(found.spoof),
        licence=stated.licence or card.licence,
        trained_on=list(dict.fromkeys([*stated.trained_on, *card.trained_on])),
    )
    return _create(path, found.base, found.folder, record, _draft(found))


def _draft(found: PublishedDetector) -> GenerationDraft:
    """Generation 0: no experts, the published head, and scores as they were published."""
    # Not read off a detector: to make one changes the base, which is still to be copied.
    recipe = Recipe(precision="fp32", data=DataOptions(window_seconds=HEARD_WHOLE))
    lora = recipe.lora.model_copy(update={"targets": found.base.targets(recipe.lora.targets)})
    router = Router(found.base.width, recipe.router)
    parts = {"rows": router.rows.table, "centre": router.centre, "spread": router.spread}
    return GenerationDraft(
        parent=None,
        experts=[],
        router={
            f"blocks.{block}.{part}": value.numpy()
            for block in range(len(found.base.blocks))
            for part, value in parts.items()
        },
        head={name: value.numpy() for name, value in found.head.items()},
        recipe=dump(recipe.model_copy(update={"lora": lora})),
        command="init",
        remarks=[
            f"the published detector itself: a score is its log-odds of {found.bona_fide!r}, and is not calibrated"
        ],
    )


def _create(
    path: Path,
    base: Base,
    folder: Path | None,
    published: PublishedRecord | None = None,
    draft: GenerationDraft | None = None,
    name: str | None = None,
) -> Store:
    identity = base.identity
    record = BaseRecord(
        id=name or identity.id,
        revision=identity.revision,
        sha256=identity.sha256,
        embedded=folder is not None,
        published=published,
    )
    if folder is None:
        return Store.create(path, record, published=draft)
    with embeddable(folder, base) as source:
        return Store.create(path, record, source, draft)
