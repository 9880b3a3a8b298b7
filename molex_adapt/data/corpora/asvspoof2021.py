"""ASVspoof 2021, logical access and deepfake: evaluation sets, whose keys are a download of their own."""

from __future__ import annotations

from molex_adapt.data.corpora.layout import Layout
from molex_adapt.data.corpora.protocol import protocol_corpus

_CITATION = (
    "Liu et al., ASVspoof 2021: towards spoofed and deepfake speech detection in the wild, "
    "IEEE/ACM TASLP 31, 2023"
)
_NOTE = (
    "All of it is for evaluation: its parts eval, progress and hidden are the split test. Figures are those of #eval. "
    "Which recording of ASVspoof 2019 each comes from is not published: train on the eval part of neither"
)
_COMMON = ("speaker", "file", "codec")
_REST = ("attack", "key", "trim", "subset")


def _layout(track: str, columns: tuple[str, ...], none: tuple[str, ...]) -> Layout:
    tree = f"ASVspoof2021_{track}_eval"
    return Layout(
        name=f"ASVspoof 2021 {track}",
        files={"trial_metadata.txt": "test"},
        folders=(
            *(f"keys/{track}/CM", f"{track}-keys-full/keys/{track}/CM", f"{track}/CM", f"*/keys/{track}/CM"),
            *("keys/CM", "CM", "keys", ""),
        ),
        audio={"test": (f"{tree}/flac", f"{tree}*/{tree}/flac", f"{tree}*/flac", "flac")},
        columns=columns,
        none=none,
        above=5,
    )


LA = _layout("LA", (*_COMMON, "transmission", *_REST), ("none",))
DF = _layout(
    "DF", (*_COMMON, "database", *_REST, "vocoder", "task", "team", "gender", "language"), ("nocodec",)
)
"""Columns as the evaluation package explains them; it has no names for the last four of DF."""

LA_CORPUS = protocol_corpus(
    LA,
    home="https://zenodo.org/records/4837263 and, for the keys, https://www.asvspoof.org/index2021.html (LA-keys-full)",
    licence="ODC-By 1.0",
    citation=_CITATION,
    note=_NOTE,
)
DF_CORPUS = protocol_corpus(
    DF,
    home="https://zenodo.org/records/4835108 and, for the keys, https://www.asvspoof.org/index2021.html (DF-keys-full)",
    licence="see its LICENSE.DF.txt: ODC-By 1.0 or ODbL, reports differ",
    citation=_CITATION,
    note=_NOTE,
)
