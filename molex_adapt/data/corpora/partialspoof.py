"""PartialSpoof: utterances of ASVspoof 2019 LA in which stretches were replaced by spoofed ones."""

from __future__ import annotations

from molex_adapt.data.corpora.layout import Layout
from molex_adapt.data.corpora.protocol import protocol_corpus
from molex_adapt.data.corpora.segment_labels import add_stretches

LAYOUT = Layout(
    name="PartialSpoof",
    files={
        "PartialSpoof.LA.cm.train.trl.txt": "train",
        "PartialSpoof.LA.cm.dev.trl.txt": "dev",
        "PartialSpoof.LA.cm.eval.trl.txt": "test",
    },
    folders=(
        *("", "protocols/PartialSpoof_LA_cm_protocols", "database/protocols/PartialSpoof_LA_cm_protocols"),
        *("PartialSpoof_LA_cm_protocols", "protocols"),
    ),
    audio={
        "train": ("train/con_wav", "database/train/con_wav"),
        "dev": ("dev/con_wav", "database/dev/con_wav"),
        "test": ("eval/con_wav", "database/eval/con_wav"),
    },
    columns=("speaker", "file", "-", "attack", "key"),
    suffix=".wav",
    above=4,
    complete=add_stretches,
)
"""Columns as those of ASVspoof 2019."""

CORPUS = protocol_corpus(
    LAYOUT,
    home="https://zenodo.org/records/5766198",
    licence="CC BY 4.0",
    citation="Zhang et al., The PartialSpoof database and countermeasures for the detection of short fake speech "
    "segments embedded in an utterance, IEEE/ACM TASLP 31, 2023",
    note="Bona fide speech is that of ASVspoof 2019 LA: do not train on one and test on the other",
)
