"""ASVspoof 5: train, dev and eval of track 1; the eval part through codecs."""

from __future__ import annotations

from molex_adapt.data.corpora.layout import Layout
from molex_adapt.data.corpora.protocol import protocol_corpus

LAYOUT = Layout(
    name="ASVspoof 5",
    files={
        "ASVspoof5.train.tsv": "train",
        "ASVspoof5.dev.track_1.tsv": "dev",
        "ASVspoof5.eval.track_1.tsv": "test",
    },
    folders=("", "ASVspoof5_protocols", "protocols"),
    audio={
        "train": ("flac_T", "*/flac_T"),
        "dev": ("flac_D", "*/flac_D"),
        "test": ("flac_E_eval", "*/flac_E_eval"),
    },
    columns=(
        *("speaker", "file", "gender", "codec", "codec_q", "codec_seed"),
        *("attack_tag", "attack", "key", "tmp"),
    ),
)
"""Columns as its README.txt gives them; fields are separated by blanks, whatever the suffix says."""

CORPUS = protocol_corpus(
    LAYOUT,
    home="https://zenodo.org/records/14498691",
    licence="ODC-By 1.0 (see its LICENSE.txt)",
    citation="Wang et al., ASVspoof 5: design, collection and validation of resources for spoofing, deepfake, and "
    "adversarial attack detection using crowdsourced speech, arXiv:2502.08857, 2025",
    note="The condition is the codec (C01 to C11); what codec_q says of its bit rate is not kept",
)
