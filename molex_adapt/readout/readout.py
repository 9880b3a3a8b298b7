"""The readout: closed-form evidence for every attack that was learnt, from features that no expert ever changes.

Each attack has a witness: two linear classifiers against bona fide speech, one of the low-level view and one of the
frozen base's pooled states, solved by ridge regression and calibrated together to a log-likelihood ratio. A recording
is spoofed if any attack made it, so the witnesses together say how likely a mixture of attacks with equal priors is. A
further attack adds a witness and leaves all others as they are: none is forgotten, and one can be taken away. Where
the first training has several domains, one more witness learns all of them at once. It knows attacks that it has not
met better than the others do, and what it says is added. How a witness is made stands in `learning`.

Shapes: N recordings, S statistics of the low-level view, P pooled states, K features of a view after its basis, A
witnesses.

Source: own; the sum over attacks is the likelihood ratio of a composite hypothesis, and closed-form heads over frozen
features without forgetting are those of RanPAC (arXiv 2307.02251).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from molex_adapt.calibration import Calibration
from molex_adapt.low_level import POWER, STATISTICS, Spectrum
from molex_adapt.readout.readings import Readings
from molex_adapt.readout.view import Ridge, View
from molex_adapt.witnesses import BETWEEN, bytes_of, names_of, owner_of

COMPONENTS = (128, 256, 512)
"""K for the pooled states: the first, or what `components` chooses among these."""
ANY = f"{BETWEEN}any"
"""The witness for any attack."""


class Readout(nn.Module):
    """The witnesses of all attacks, and what a further one is learnt from. It says 0 until it has learnt.

    Attributes:
        share: (1,) what it counts beside the mixture's logit.
        domains: (1,) how many it has learnt from.
        weights: (A, K + 1 of both views).
        scales: (A, 2), evidence to nats.
        names: the witnesses' names, one a line, as bytes.
    """

    share: Tensor
    domains: Tensor
    weights: Tensor
    scales: Tensor
    names: Tensor

    def __init__(self, states: int) -> None:
        """For a base with `states` pooled states (P)."""
        super().__init__()
        self._hear(STATISTICS)
        self._see(states, COMPONENTS[0])
        for name, values in (
            ("share", torch.zeros(1)),
            ("domains", torch.zeros(1)),
            ("weights", torch.zeros(0, self.of_spectrum.size + self.of_states.size)),
            ("scales", torch.zeros(0, 2)),
            ("names", torch.zeros(0, dtype=torch.uint8)),
        ):
            self.register_buffer(name, values)
        self.owners: tuple[str, ...] = ()
        """The expert of every witness, "" of the one for any attack, which is the first of all. Kept apart, as names
        would have to be read back from a GPU in every batch."""

    def _hear(self, statistics: int) -> None:
        """Read so many statistics of the low-level view."""
        self.spectrum = Spectrum(statistics)
        self.of_spectrum = View(statistics, 0, ridge=Ridge(least=0.05, pull=10.0))

    def _see(self, states: int, components: int) -> None:
        """Read so many components of so many pooled states."""
        self.of_states = View(states, min(components, states), ridge=Ridge(least=0.06, pull=12.0))

    def see(self, components: int) -> None:
        """Read so many components of the states (K), before anything is learnt."""
        self._see(self.seen, components)
        self.of_states = self.of_states.to(self.weights.device)
        self.weights = self.weights.new_zeros(0, self.of_spectrum.size + self.of_states.size)

    @property
    def seen(self) -> int:
        """P, the number of pooled states that it reads."""
        return len(self.of_states.centre)

    @property
    def heard(self) -> int:
        """S, the number of statistics that it reads."""
        return self.spectrum.width

    @property
    def views(self) -> tuple[View, View]:
        """In the order of `Readings.views`."""
        return self.of_spectrum, self.of_states

    @property
    def has_learnt(self) -> bool:
        """Whether it has a witness."""
        return len(self.weights) > 0

    @property
    def of_any(self) -> int:
        """Witnesses for any attack: 1 or 0."""
        return int(self.owners[:1] == ("",))

    @property
    def witnesses(self) -> tuple[str, ...]:
        """EXPERT/ATTACK of every witness."""
        return names_of(self.names.cpu().numpy())

    def evidence(self, readings: Readings) -> Tensor:
        """(N,) nats for bona fide speech against all attacks alike, to be scaled by `share`; 0 without witnesses."""
        if not self.has_learnt:
            return torch.zeros(len(readings.states), device=self.share.device)
        return self.mixed(self.each(readings))

    def of_many(self, readings: Readings) -> Tensor:
        """The evidence of very many recordings, (N,) on the CPU, part by part."""
        return torch.cat([self.evidence(part).cpu() for part in readings.parts])

    def joined(self, each: Tensor, logit: Tensor, joins: Tensor) -> Tensor:
        """(N,) the score of witnesses, (N, A) nats, with what experts say, (N,) `logit`.

        That is evidence for or against the attacks of those experts alone: it joins the witnesses that (A,) bool
        `joins` has. Added to the sum over all attacks it would count against real speech as much as against forgeries
        by attacks of which the experts know nothing, and more so the less the readout itself may count (`share`).
        Where that has no part in the score, experts speak alone.
        """
        whole = self.share * self.mixed(each + logit[:, None] * joins)
        return torch.where(self.share > 0, whole, logit)

    def mixed(self, each: Tensor) -> Tensor:
        """(N, A) log-likelihood ratios by witness to (N,) of the mixture of attacks."""
        of_any, named = each.tensor_split([self.of_any], dim=1)
        if not named.shape[1]:  # their experts were removed
            return of_any.sum(1)
        found: Tensor = math.log(named.shape[1]) - torch.logsumexp(-named, dim=1) + of_any.sum(1)
        return found

    def each(self, readings: Readings) -> Tensor:
        """(N, A) log-likelihood ratio in nats by witness."""
        return self.each_of(self.features(readings))

    def each_of(self, features: tuple[Tensor, Tensor]) -> Tensor:
        """The same of (N, K + 1) features of either view."""
        low, high = told(self.weights, features)
        return (low + high) * self.scales[:, 0] + self.scales[:, 1]

    def features(self, readings: Readings) -> tuple[Tensor, Tensor]:
        """(N, K + 1) of either view; rows of NaN where it has heard nothing."""
        return self.of_spectrum(readings.spectrum), self.of_states(readings.states)

    def add(self, name: str, weights: Tensor, calibration: Calibration) -> None:
        """Append a witness with its weights (K + 1 of both views,); that for any attack comes first of all."""
        scale = torch.tensor([[calibration.scale, calibration.offset]])
        self.weights = torch.cat([self.weights, weights[None].to(self.weights)])
        self.scales = torch.cat([self.scales, scale.to(self.scales)])
        self.names = torch.from_numpy(bytes_of([*self.witnesses, name])).to(self.names.device)
        self.owners = (*self.owners, owner_of(name))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        self.make_room({name.removeprefix(prefix): value for name, value in state_dict.items()})
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.owners = tuple(owner_of(name) for name in self.witnesses)

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Take the numbers of witnesses and of components of a stored state; other widths and types remain.

        What was learnt when the low-level view heard power alone goes on with that.
        """
        basis = state.get("of_states.basis")
        components = basis.shape[1] if basis is not None and basis.ndim == 2 else 0
        if 0 < components <= self.seen and components != self.of_states.basis.shape[1]:
            self.see(components)
        centre = state.get("of_spectrum.centre")
        if centre is not None and tuple(centre.shape) == (POWER,) != tuple(self.of_spectrum.centre.shape):
            self._hear(POWER)
            self.to(self.weights.device)
            self.weights = self.weights.new_zeros(0, self.of_spectrum.size + self.of_states.size)
        for name in ("weights", "scales", "names"):
            given, own = state.get(name), getattr(self, name)
            if given is not None and given.ndim == own.ndim:
                setattr(self, name, own.new_zeros((len(given), *own.shape[1:])))


def told(weights: Tensor, features: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """(N, A) raw evidence by either view; what the spectrum does not say, the states say twice."""
    cut = features[0].shape[1]
    low, high = features[0] @ weights[:, :cut].T, features[1] @ weights[:, cut:].T
    return torch.where(low.isnan(), high, low), high
