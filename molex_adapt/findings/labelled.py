"""What an analysis of labelled recordings finds beside the shares of the experts.

Rates and shares are fractions, scores nats, entropies and divergences bits; intervals are 95 % bootstrap intervals over
source recordings. None stands for "not measured"; NaN never occurs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from molex_adapt.conventions import Label

Interval: TypeAlias = tuple[float, float]
Grid: TypeAlias = list[list[float]]
"""(L, E) by block and expert."""

Catcher: TypeAlias = Literal["caught", "shared", "readout", "nobody", "unclear"]
"""Who catches an attack: one expert, several, the readout alone, nobody; or the recordings are too few to tell."""


@dataclass(frozen=True, slots=True)
class Cell:
    """How the recordings of one attack in one condition are routed, on average."""

    attack: str
    condition: str
    """"" where it is not known."""
    label: Label
    utterances: int
    gates: Grid
    before_top_k: Grid
    selected: Grid
    """How often an expert is among the top k."""
    top_1: Grid
    entropy_bits: list[float]
    """By block, of the gates after top-k."""
    entropy_before_bits: list[float]


@dataclass(frozen=True, slots=True)
class Errors:
    """The EER of one attack against all bona fide speech: of the whole detector, and of parts of it."""

    eer: float
    eer_ci: Interval | None
    """None where there are fewer than ten recordings of either."""
    without_experts: float
    """The readout and the head on the frozen base."""
    readout_alone: float | None
    """None where there is no readout."""
    experts_change: float
    """What all experts together change: EER without them minus EER with them."""
    experts_ci: Interval | None
    """None as `eer_ci`."""
    mean_score: float
    bona_fide: int
    spoof: int


class _Removal:
    """Whether what a removal does to the EER is certain among all that were tried."""

    __slots__ = ()
    eer_ci_together: Interval | None

    @property
    def is_needed(self) -> bool:
        """Whether the EER rises without it."""
        return self.eer_ci_together is not None and self.eer_ci_together[0] > 0

    @property
    def is_harmful(self) -> bool:
        """Whether it falls, as certainly."""
        return self.eer_ci_together is not None and self.eer_ci_together[1] < 0


@dataclass(frozen=True, slots=True)
class Ablation(_Removal):
    """What becomes of one attack when one expert is switched off, on the same recordings."""

    attack: str
    """Or "bonafide", which has mean scores and no EER."""
    expert: str
    heirs: Literal["others", "none"]
    """Who takes its gates."""
    eer_change: float | None
    """EER without the expert minus EER with it: above 0, it is needed."""
    eer_ci: Interval | None
    """None where there are fewer than ten recordings of the attack or of bona fide speech."""
    score_change: float
    """Of the mean score, nats."""
    score_ci: Interval
    moved: float
    """Mean size of the change of a score, nats."""
    utterances: int
    eer_ci_together: Interval | None = None
    """Wider than `eer_ci`, so that in 95 of 100 analyses it holds for all attacks and experts together: of many
    intervals, some lie beyond 0 by chance."""


@dataclass(frozen=True, slots=True)
class WithoutWitness(_Removal):
    """What becomes of one attack when one witness of the readout says nothing, on the same recordings."""

    attack: str
    witness: str
    """The attack that it knows; "any attack" for the one that learnt all at once."""
    eer_change: float
    """EER without the witness minus EER with it: above 0, it is needed."""
    eer_ci: Interval | None
    """None where there are fewer than ten recordings of the attack or of bona fide speech."""
    eer_ci_together: Interval | None = None
    """As that of `Ablation`, for all attacks and witnesses together."""


@dataclass(frozen=True, slots=True)
class Testimony:
    """Whose attack the readout's witnesses take one kind of speech for."""

    attack: str
    """Or "bonafide"."""
    blamed: dict[str, float]
    """By witness, how likely a recording is by its attack, were it by one of these, all with the same prior; mean over
    recordings, so that they sum to 1. The witness for any attack names none."""
    named: float | None
    """Share of the recordings for which the attack's own witness is the likeliest; None where it has none."""
    named_ci: Interval | None
    """None also where there are fewer than ten recordings."""
    utterances: int


@dataclass(frozen=True, slots=True)
class Distance:
    """How differently two kinds of speech are routed: Jensen-Shannon, 0 for alike, 1 for no expert in common."""

    one: str
    other: str
    distance: float
    """Root of the divergence in bits, averaged over blocks."""
    ci: Interval
    chance: float
    """What it is on average when labels are shuffled among sources: few recordings are never quite alike."""
    p: float
    """Of a permutation test: how often labels that are shuffled among sources are as far apart."""
    p_corrected: float
    """By Benjamini and Hochberg, for all pairs of the table that it stands in."""
    sources: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Within:
    """How differently an attack is routed from bona fide speech in the same condition.

    Recordings of one condition only are compared and shuffled, so that the condition itself makes no difference.
    """

    attack: str
    """Or the null control, which should not differ here."""
    condition: str
    distance: float
    """This and what follows as in `Distance`."""
    ci: Interval
    chance: float
    p: float
    p_corrected: float
    """By Benjamini and Hochberg, for all attacks in all conditions."""
    sources: tuple[int, int]
    channel: float | None
    """The channel effect: the largest distance of the table `controls`; None where that table is empty."""
    beyond_channel: bool | None
    """Whether it differs (p_corrected < 0.05) and the interval of its distance lies above that of the channel effect,
    both less what chance brings; None without a channel effect."""


@dataclass(frozen=True, slots=True)
class Clustering:
    """Attacks joined step by step by average linkage of their distances."""

    names: list[str]
    merges: list[tuple[int, int, float, int]]
    """As scipy writes them: two clusters, their distance, how many attacks; clusters are numbered after the names."""
    order: list[str]
    """Names as leaves of the tree, from left to right."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How well the attack can be read from the routing alone, on sources that were not learnt from."""

    accuracy: float
    """Balanced: mean over attacks."""
    chance: float
    """Mean of the same with labels shuffled among sources."""
    highest_by_chance: float
    """95 % of shuffles stay below it."""
    p: float
    by_attack: dict[str, float]
    utterances: int


@dataclass(frozen=True, slots=True)
class Depth:
    """What one block does."""

    block: int
    """From 1."""
    information_bits: float | None
    """Between attack and expert: 0 where all attacks are routed alike. None where there is one kind of speech only."""
    distance: float | None
    """Mean Jensen-Shannon distance between attacks; None as above."""
    entropy_bits: float
    """Mean over attacks, before top-k."""
    busiest: str | None
    """The expert with the largest mean gate over attacks; None where all gates are closed."""
    share: float


@dataclass(frozen=True, slots=True)
class Health:
    """Experts and blocks that do no work."""

    dead: list[str]
    """Experts that are in the top k of fewer than one decision in a hundred, for every attack and in every block."""
    unneeded: list[str]
    """Experts that live, but without which the EER of no attack with ten recordings rises beyond chance; empty where
    none was switched off, or no attack has as many."""
    collapsed: list[int]
    """Blocks, from 1, in which one expert has the largest gate in 95 of 100 decisions for every kind of speech; empty
    where there is one kind only."""


@dataclass(frozen=True, slots=True)
class AttackVerdict:
    """Who catches an attack."""

    attack: str
    kind: Catcher
    experts: list[str]
    sentence: str
    witnesses: list[str] = field(default_factory=list)
    """Of the readout, without which the EER certainly rises; the one that is missed most first."""


@dataclass(frozen=True, slots=True)
class ScoreCurves:
    """How the scores lie, for pictures."""

    edges: list[float]
    """Of the bins of all histograms, nats; scores beyond the outermost are in the outermost bins."""
    counts: dict[str, list[int]]
    """By attack, and of bona fide speech."""
    det: dict[str, list[tuple[float, float]]]
    """By attack, false alarms and misses at some thresholds, from accepting all to refusing all."""


@dataclass(frozen=True)
class Findings:
    """Everything beside the shares. Lists and mappings are empty where a thing was not measured."""

    cells: list[Cell] = field(default_factory=list)
    co_firing: dict[str, list[list[float]]] = field(default_factory=dict)
    """(E, E) per attack: how often two experts act on one frame, over blocks; selection rates on the diagonal."""
    errors: dict[str, Errors] = field(default_factory=dict)
    ablation: list[Ablation] = field(default_factory=list)
    moved: dict[str, dict[str, float]] = field(default_factory=dict)
    """Share of all movement of an attack's scores by expert; with `moved_by_readout` a row sums to 1."""
    moved_by_readout: dict[str, float] = field(default_factory=dict)
    """An expert's part is how much scores change without it; the readout's all that it adds, also what is the same for
    every recording and decides nothing."""
    testimony: list[Testimony] = field(default_factory=list)
    """Of every kind of speech, where at least two witnesses of the readout know an attack each."""
    without_witness: list[WithoutWitness] = field(default_factory=list)
    distances: list[Distance] = field(default_factory=list)
    """Between all attacks, and bona fide speech; all conditions together, so that conditions can be what differs."""
    controls: list[Distance] = field(default_factory=list)
    """What must not differ: the null control, and bona fide speech of each condition, from other bona fide speech."""
    within: list[Within] = field(default_factory=list)
    """Each attack from bona fide speech in the same condition, where both were heard in one that is known."""
    clustering: Clustering | None = None
    probe: Probe | None = None
    depth: list[Depth] = field(default_factory=list)
    health: Health | None = None
    verdicts: list[AttackVerdict] = field(default_factory=list)
    curves: ScoreCurves | None = None

    def verdict_on(self, attack: str) -> AttackVerdict | None:
        """Who catches it; None where that was not measured."""
        return next((item for item in self.verdicts if item.attack == attack), None)
