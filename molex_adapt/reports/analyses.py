"""Which experts act for which attack."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from molex_adapt.data.table import Failed
from molex_adapt.findings import Findings

_ROUNDED = 0.005
"""Stored shares are rounded."""


@dataclass(frozen=True)
class Analysis:
    """Which experts fire for which attack; rows are named by attack, or "bonafide", in one order throughout."""

    experts: list[str]
    """In router order."""
    attacks: list[str]
    """The rows."""
    blocks: int
    """L, the number of routed transformer blocks."""
    usage: dict[str, dict[str, float]]
    """Mean share after top-k per row and expert, over all blocks; what a row lacks of 1, the frozen base keeps."""
    usage_by_block: dict[str, list[list[float]]]
    """(L, E) per row; the same of each block."""
    usage_before_top_k: dict[str, dict[str, float]] = field(default_factory=dict)
    top_1: dict[str, dict[str, float]] = field(default_factory=dict)
    """How often each expert has the largest share."""
    selected: dict[str, dict[str, float]] = field(default_factory=dict)
    """How often each expert is among the top k."""
    entropy_bits: dict[str, float] = field(default_factory=dict)
    utterances: dict[str, int] = field(default_factory=dict)
    """How many recordings each row was averaged over."""
    drawn: dict[str, int] = field(default_factory=dict)
    """Beside them, draws from the routing statistics of domains of which no recordings are kept."""
    generation: int | None = None
    failed: tuple[Failed, ...] = ()
    remarks: list[str] = field(default_factory=list)
    threshold: float | None = None
    """Nats, as in `ScoreReport`; None where it is not known."""
    findings: Findings = field(default_factory=Findings)
    """What is beside the shares."""

    @property
    def frozen_base(self) -> dict[str, float]:
        """What each row lacks of 1: the frozen base's share. Empty where it keeps none of any."""
        kept = {row: max(0.0, 1 - sum(own.values())) for row, own in self.usage.items()}
        return kept if any(share > _ROUNDED for share in kept.values()) else {}

    @property
    def experts_act(self) -> bool:
        """Whether a gate of any expert is open on any speech; not so where all are withdrawn, or none was trained."""
        return any(sum(own.values()) > _ROUNDED for own in self.usage.values())

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "failed": [item.as_dict() for item in self.failed]}
