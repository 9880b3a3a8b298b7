"""ASVspoof 2019, logical access: train, dev and eval of speakers of their own."""

from __future__ import annotations

from molex_adapt.data.corpora.layout import Layout
from molex_adapt.data.corpora.protocol import protocol_corpus

LAYOUT = Layout(
    name="ASVspoof 2019 LA",
    files={
        "ASVspoof2019.LA.cm.train.trn.txt": "train",
        "ASVspoof2019.LA.cm.dev.trl.txt": "dev",
        "ASVspoof2019.LA.cm.eval.trl.txt": "test",
    },
    folders=("", "ASVspoof2019_LA_cm_protocols", "LA", "LA/ASVspoof2019_LA_cm_protocols", "protocols"),
    audio={
        "train": ("ASVspoof2019_LA_train/flac", "LA/ASVspoof2019_LA_train/flac", "flac"),
        "dev": ("ASVspoof2019_LA_dev/flac", "LA/ASVspoof2019_LA_dev/flac", "flac"),
        "test": ("ASVspoof2019_LA_eval/flac", "LA/ASVspoof2019_LA_eval/flac", "flac"),
    },
    columns=("speaker", "file", "-", "attack", "key"),
)
"""Columns as its README.LA.txt gives them."""

CORPUS = protocol_corpus(
    LAYOUT,
    home="https://datashare.ed.ac.uk/handle/10283/3336 (LA.zip)",
    licence="ODC-By 1.0",
    citation="Wang et al., ASVspoof 2019: a large-scale public database of synthesized, converted and replayed speech, "
    "Computer Speech & Language 64, 2020",
)
