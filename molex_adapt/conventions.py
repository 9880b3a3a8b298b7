"""Words, units and signs that the whole package shares; each is defined here and nowhere else.

Polarity: a score is a log-likelihood ratio in nats; HIGHER = MORE BONA FIDE.
Rates (EER, miss, false alarm) are fractions; a percentage appears only on display.
Shapes: B batch, T samples, F frames, D width, L blocks, E experts, K selected experts, R rank, C channels of prefix
features, N utterances, D_in and D_out inputs and outputs of an adapted linear layer; T' and E' are another T and E.
A module that needs further letters, or these for something else, says so under "Shapes" in its own docstring.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

SAMPLE_RATE = 16_000
"""Hertz; every waveform inside the package has this rate, one channel, float32 in [-1, 1]."""

FRAME_SAMPLES = 320
"""Samples between two frames of every supported base (20 ms)."""

Label: TypeAlias = Literal["bonafide", "spoof"]
Split: TypeAlias = Literal["train", "dev", "test"]
Precision: TypeAlias = Literal["auto", "fp32", "bf16"]
Seconds: TypeAlias = float
Hertz: TypeAlias = float
Decibels: TypeAlias = float

BONA_FIDE: Label = "bonafide"
SPOOF: Label = "spoof"
SPLITS: tuple[Split, ...] = ("train", "dev", "test")

NULL_DOMAIN = "null"
"""The control domain: bona fide speech in another condition under the label spoof."""

NULL_EER = (0.45, 0.55)
"""Where the control's EER must lie: outside, the detector takes a condition for an attack, or its absence for one."""

NO_CONDITION = "none"
"""The condition of a recording that is known to have gone through nothing."""

DRAWN = "drawn"
"""The condition of a recording that went through others, drawn for it alone."""

SPEECH = "speech."
"""Begins the names of arrays that say what a domain's bona fide speech brought to the readout; see `witnesses`."""

EXPORT = "detector.json"
"""What stands beside an exported detector, and in no registry."""

LARGEST_INTEGER = 2**53
"""Beyond it a float no longer tells neighbours apart: recipes, records and seeds hold no larger ones."""

FEWEST_FOR_INTERVAL = 10
"""Recordings of each class. A bootstrap of fewer has few different resamples: of one and one recordings a single one,
so that its interval is a point. With ten and no error, the true rate may still be 26 % (the rule of three)."""

CLOSED_GATE = 40.0
"""By how much the gate logit of an expert is lowered that is withdrawn; trained ones differ by a few."""
PER_ATTACK = "per-attack"
"""In place of a number of experts: one for each attack of the data."""

NAME_PATTERN = r"[a-z0-9][a-z0-9_.-]{0,63}"
"""What experts, domains and attacks made here may be called: safe as a file and repository name."""
