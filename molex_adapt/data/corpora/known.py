"""Every corpus that is known, in one table; and which of them a folder or a file is of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from molex_adapt.data.corpora import (
    asvspoof5,
    asvspoof2019,
    asvspoof2021,
    fake_or_real,
    in_the_wild,
    mlaad,
    partialspoof,
    spoofceleb,
    wavefake,
)
from molex_adapt.data.corpora.corpus import PublishedCorpus, Recognised, refuse
from molex_adapt.data.corpora.layout import Layout, first_fields
from molex_adapt.data.corpora.protocol import list_protocol, list_protocol_names
from molex_adapt.data.table import Utterance
from molex_adapt.errors import DataError

CORPORA: tuple[PublishedCorpus, ...] = (
    asvspoof2019.CORPUS,
    asvspoof2021.LA_CORPUS,
    asvspoof2021.DF_CORPUS,
    asvspoof5.CORPUS,
    in_the_wild.CORPUS,
    mlaad.CORPUS,
    wavefake.CORPUS,
    fake_or_real.CORPUS,
    spoofceleb.CORPUS,
    partialspoof.CORPUS,
)

LAYOUTS: tuple[Layout, ...] = (
    asvspoof2019.LAYOUT,
    asvspoof2021.LA,
    asvspoof2021.DF,
    asvspoof5.LAYOUT,
    partialspoof.LAYOUT,
)
"""Of those with protocols."""


def recognise(root: Path) -> Recognised | None:
    """The corpus whose folder this is; None for none that is known.

    Raises:
        DataError: it is the folder of several.
    """
    found = [Recognised(corpus, root, files) for corpus in CORPORA if (files := corpus.find(root))]
    if len(found) > 1:
        told = "; ".join(f"{item.corpus.name} ({item.files[0].relative_to(root)})" for item in found)
        raise DataError(
            f"{root} holds several corpora: {told}. Expected one. Name the file, or a folder with one."
        )
    return found[0] if found else None


def layout_of(path: Path) -> Layout | None:
    """The layout of a protocol: by its name, or by the columns of its first line; None for any other file."""
    named = [layout for layout in LAYOUTS if path.name in layout.files and len(layout.files) > 1]
    if named:
        return named[0]
    fields = first_fields(path)
    return next((layout for layout in LAYOUTS if layout.has_columns(fields)), None)


def recognise_file(path: Path, audio: Path | None = None) -> Recognised | None:
    """The corpus that a protocol file alone is of; None for any other file.

    Args:
        path: the file.
        audio: the folder of its audio, or the tree's root, where that does not lie above it.
    """
    layout = layout_of(path)
    if layout is None:
        return None
    corpus = next(item for item in CORPORA if item.name == layout.name)
    alone = replace(corpus, read=lambda root, files, wanted: list_protocol(path, layout, audio=audio))
    return Recognised(alone, path, (path,))


def is_protocol(path: Path) -> bool:
    """Whether a text file is a protocol."""
    return layout_of(path) is not None


def list_names(path: Path) -> list[Utterance]:
    """What a protocol says of recordings that need not be there; their paths are bare names.

    Raises:
        DataError: it has faults.
    """
    layout = layout_of(path)
    if layout is None:
        raise DataError(
            f"{path} is no protocol of {', '.join(item.name for item in LAYOUTS)}. Check the file."
        )
    listings = list_protocol_names(path, layout)
    refuse([fault for item in listings for fault in item.faults])
    return [utterance for item in listings for utterance in item.utterances]
