"""Whether the active mixture already detects a new domain, measured before training."""

from __future__ import annotations

from dataclasses import dataclass

from molex_adapt.detector import Detector
from molex_adapt.features import Features
from molex_adapt.metrics import FEWEST_FOR_INTERVAL, eer_interval
from molex_adapt.metrics import eer as equal_error_rate
from molex_adapt.routing import collect
from molex_adapt.train.acceptance import MOST_ACCEPTED, DomainScores

_AT_WORK = 0.05
"""With a smaller share the expert with the largest one does not do the work."""


@dataclass(frozen=True)
class Likeness:
    """How the active mixture performs on a new domain's development split.

    Attributes:
        eer, interval: fractions.
        expert, share: the expert with the largest mean gate on the domain's spoofed speech, and that gate.
        accepted: share of that speech which the frozen threshold accepts.
    """

    eer: float
    interval: tuple[float, float]
    expert: str
    share: float
    accepted: float

    def remark(self, domain: str) -> str:
        """What a user should know before training."""
        low, high = self.interval
        most = f", most of it by expert {self.expert} ({100 * self.share:.0f} % of the gates)"
        use = (
            "Another expert may bring little; the mixture can be used as it is"
            if self.accepted <= MOST_ACCEPTED
            else f"Yet its threshold accepts {100 * self.accepted:.0f} % of its spoofed speech: it lacks a margin"
        )
        return (
            f"the active mixture already tells {domain} from bona fide speech: EER {100 * self.eer:.1f} % "
            f"({100 * low:.1f} to {100 * high:.1f}) on its development split"
            f"{most if self.share >= _AT_WORK else ', by the readout, for hardly a gate opens'}. {use}"
        )


def likeness(
    detector: Detector, development: Features, threshold: float, known: float = 1.0
) -> Likeness | None:
    """Score a new domain's development split with the active mixture, and find the expert that does the work.

    The threshold is in nats. None where the EER is above `known`, and of so few recordings that it has no interval.
    """
    real = int(development.bona_fide.sum())
    if min(real, len(development) - real) < FEWEST_FOR_INTERVAL:
        return None
    found = collect(detector, development)
    scores = detector.calibration.apply(found.logits.double().numpy())
    scored = DomainScores(scores, development.bona_fide.numpy(), development.sources)
    eer = float(equal_error_rate(*scored.classes))
    if eer > known:
        return None
    shares = found.gates[~development.bona_fide].mean((0, 1))
    most = int(shares.argmax())
    return Likeness(
        eer,
        eer_interval(*scored.classes, groups=scored.groups),
        detector.mixture.names[most],
        float(shares[most]),
        float((scored.classes[1] >= threshold).mean()),
    )
