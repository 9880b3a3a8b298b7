"""The readout: closed-form evidence for every attack that was learnt, from features that no expert ever changes.

Each attack has a witness: two linear classifiers against bona fide speech, one of the low-level view and one of the
frozen base's pooled states, solved by ridge regression and calibrated together to a log-likelihood ratio. A recording
is spoofed if any attack made it, so the witnesses together say how likely a mixture of attacks with equal priors is. A
further attack adds a witness and leaves all others as they are: none is forgotten, and one can be taken away. Where
the first training has several domains, one more witness learns all of them at once. It knows attacks that it has not
met better than the others do, and what it says is added.

Shapes: N recordings, S statistics of the spectrum, P pooled states, R raw features of a view, K of it after its basis,
A witnesses.

Source: own; the sum over attacks is the likelihood ratio of a composite hypothesis, and closed-form heads over frozen
features without forgetting are those of RanPAC (arXiv 2307.02251).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from molex_adapt.calibration import Calibration
from molex_adapt.errors import DataError, MolexError
from molex_adapt.low_level import STATISTICS, Spectrum
from molex_adapt.witnesses import BETWEEN, bytes_of, names_of

COMPONENTS = 128
"""K at most for the pooled states; more brought nothing."""
_FEWEST_FOR_ANY = 3
"""Domains of a first training that make a witness for any attack."""
_ANY = f"{BETWEEN}any"
OWN_WITNESS = 50
"""Training recordings that an attack needs for a witness of its own; smaller ones of a domain share one."""
_CLIP = 6.0
_CENTRE, _SPREAD, _BASIS, _MOMENTS = "centre", "spread", "basis", "moments"


@dataclass(frozen=True)
class Readings:
    """What the readout reads: (N, S) statistics of spectra, and (N, P) pooled states of the frozen base, float32.

    Rows of statistics may be NaN, where the waveform is gone: then the states speak alone.
    """

    spectrum: Tensor
    states: Tensor

    def pick(self, which: Tensor) -> Readings:
        """The rows of an index or a mask."""
        return Readings(self.spectrum[which], self.states[which])


@dataclass(frozen=True)
class Lesson:
    """Readings of one split of a domain with their truth: (N,) bool, and N names of attacks."""

    readings: Readings
    bona_fide: Tensor
    attacks: tuple[str | None, ...]

    def of(self, attacks: Sequence[str]) -> Tensor:
        """(N,) mask of the spoofed recordings by these attacks."""
        return torch.tensor([name in attacks for name in self.attacks]) & ~self.bona_fide

    @property
    def has_both_classes(self) -> bool:
        """Whether there is anything to learn."""
        return bool(self.bona_fide.any()) and not bool(self.bona_fide.all())


Lessons: TypeAlias = Mapping[str, tuple[Lesson, Lesson]]
"""By expert, the training and the development split of its domain."""


def pooled(states: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Mean and deviation over the valid frames of L states (B, F, D): (B, 2 L D) float32."""
    count = mask.sum(1, keepdim=True).clamp(min=1)
    parts = []
    for state in states:
        # Not a product with the mask: padded frames may hold what times 0 is no number.
        valid = state.float().masked_fill(~mask[..., None], 0.0)
        mean = valid.sum(1) / count
        centred = (valid - mean[:, None]).masked_fill(~mask[..., None], 0.0)
        parts += [mean, (centred.square().sum(1) / count).sqrt()]
    return torch.cat(parts, dim=1)


class View(nn.Module):
    """Features of one kind, standardised once, and the second moments of bona fide speech in them.

    Attributes:
        centre, spread: (R,) of the raw features.
        basis: (R, K) principal components after that, such that the features have a mean square of 1; (R, 0) for a view
            that is used as it is.
        moments: (K + 1, K + 1) of bona fide speech, the last feature constant; its upper triangle in one row.
    """

    def __init__(self, raw: int, components: int, ridge: float) -> None:
        super().__init__()
        self.ridge = ridge
        self.size = (components or raw) + 1
        self.register_buffer(_CENTRE, torch.zeros(raw))
        self.register_buffer(_SPREAD, torch.ones(raw))
        self.register_buffer(_BASIS, torch.zeros(raw, components, dtype=torch.float16))
        self.register_buffer(_MOMENTS, torch.zeros(self.size * (self.size + 1) // 2))

    centre: Tensor
    spread: Tensor
    basis: Tensor
    moments: Tensor

    def forward(self, raw: Tensor) -> Tensor:
        """(N, R) to (N, K + 1) float32, the last one constant."""
        rows = ((raw.to(self.centre.device).float() - self.centre) / self.spread).clamp(-_CLIP, _CLIP)
        rows = rows @ self.basis.float() if self.basis.shape[1] else rows
        return nn.functional.pad(rows, (0, 1), value=1.0)

    def standardise(self, raw: Tensor) -> None:
        """Decide on centre, spread and basis, once, from (N, R)."""
        self.centre.copy_(raw.mean(0))
        self.spread.copy_(raw.std(0, unbiased=False).clamp(min=1e-3))
        if not self.basis.shape[1]:
            return
        rows = ((raw - self.centre.cpu()) / self.spread.cpu()).clamp(-_CLIP, _CLIP)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            axes = torch.svd_lowrank(rows, q=min(self.basis.shape[1], *rows.shape), niter=3)[2]
        scale = (rows @ axes).square().mean().sqrt().clamp(min=1e-3)  # half precision ends at 65504
        self.basis.zero_()
        self.basis[:, : axes.shape[1]] = (axes / scale).to(self.basis)

    def average_in(self, raw: Tensor, known: int) -> None:
        """Take a further domain's (N, R) bona fide speech into the moments, which are those of `known` domains."""
        above = torch.triu_indices(self.size, self.size)
        own = _second_moments(self(raw))[above[0], above[1]]
        self.moments.copy_((self.moments.cpu().double() * known + own) / (known + 1))

    def solve(self, raw: Tensor) -> Tensor:
        """Weights (K + 1,) that tell bona fide speech (near 1) from (N, R) spoofed recordings (near -1).

        Raises:
            MolexError: the moments that were kept cannot be solved.
        """
        real = torch.zeros(self.size, self.size, dtype=torch.float64)
        above = torch.triu_indices(self.size, self.size)
        real[above[0], above[1]] = self.moments.cpu().double()
        real = real + real.triu(1).T
        forged = _second_moments(self(raw))
        penalty = torch.full((self.size,), self.ridge, dtype=torch.float64)
        penalty[-1] = 1e-9  # the constant is not held back
        factor, fault = torch.linalg.cholesky_ex((real + forged) / 2 + penalty.diag())
        if fault:
            raise MolexError(
                "the readout cannot be solved: what the head keeps of former domains is not what recordings give. "
                "Restore head.safetensors from a copy, or roll back to an earlier generation"
            )
        # The last column holds the means: every feature times the constant.
        return torch.cholesky_solve((real[:, -1:] - forged[:, -1:]) / 2, factor)[:, 0].float()


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
        self.spectrum = Spectrum()
        self.of_spectrum = View(STATISTICS, 0, ridge=0.05)
        self.of_states = View(states, min(COMPONENTS, states), ridge=0.06)
        width = self.of_spectrum.size + self.of_states.size
        for name, values in (
            ("share", torch.zeros(1)),
            ("domains", torch.zeros(1)),
            ("weights", torch.zeros(0, width)),
            ("scales", torch.zeros(0, 2)),
            ("names", torch.zeros(0, dtype=torch.uint8)),
        ):
            self.register_buffer(name, values)
        self.of_any = 0
        """Witnesses for any attack: 1 or 0, the first of all. Kept apart, as names would have to be read back from a
        GPU in every batch."""

    @property
    def has_learnt(self) -> bool:
        """Whether it has a witness."""
        return len(self.weights) > 0

    @property
    def witnesses(self) -> tuple[str, ...]:
        """EXPERT/ATTACK of every witness."""
        return names_of(self.names.cpu().numpy())

    def forward(self, readings: Readings) -> Tensor:
        """(N,) to be added to the mixture's logit."""
        return self.share * self.evidence(readings)

    def evidence(self, readings: Readings) -> Tensor:
        """(N,) log-likelihood ratio in nats of bona fide speech against all attacks alike; 0 without witnesses."""
        if not self.has_learnt:
            return torch.zeros(len(readings.states), device=self.share.device)
        of_any, named = self.each(readings).tensor_split([self.of_any], dim=1)
        if not named.shape[1]:  # their experts were removed
            return of_any.sum(1)
        found: Tensor = math.log(named.shape[1]) - torch.logsumexp(-named, dim=1) + of_any.sum(1)
        return found

    def each(self, readings: Readings) -> Tensor:
        """(N, A) log-likelihood ratio in nats by witness."""
        low, high = self._told(self.weights, readings)
        return (low + high) * self.scales[:, 0] + self.scales[:, 1]

    @torch.no_grad()
    def learn(self, lessons: Lessons) -> list[str]:
        """Add witnesses for domains, by experts that have none yet; returns remarks on what could not be learnt.

        The very first lessons decide how features are standardised.
        """
        usable = {name: pair for name, pair in lessons.items() if pair[0].has_both_classes}
        for at, view in enumerate((self.of_spectrum, self.of_states)):
            rows = [
                _heard((train.readings.spectrum, train.readings.states)[at]) for train, _ in usable.values()
            ]
            if not usable or any(not len(own) for own in rows):
                return [
                    "the readout has learnt nothing: recordings of both classes are missing, or their waveforms"
                ]
            if not self.domains:
                view.standardise(torch.cat(rows))
            for known, (train, _) in enumerate(usable.values(), int(self.domains)):
                raw = (train.readings.spectrum, train.readings.states)[at][train.bona_fide]
                view.average_in(_heard(raw), known)
        self.domains += len(usable)
        remarks: list[str] = []
        if int(self.domains) == len(usable) >= _FEWEST_FOR_ANY:
            train, development = (_together([pair[at] for pair in usable.values()]) for at in (0, 1))
            self.of_any = int(
                self._add(_ANY, train, development, sorted({name for name in train.attacks if name}))
            )
        for name, (train, development) in usable.items():
            for attack, members in _groups(train).items():
                if not self._add(f"{name}{BETWEEN}{attack}", train, development, members):
                    remarks.append(
                        f"the readout has no witness for {attack}: real and spoofed speech look alike"
                    )
        return remarks

    def _add(self, name: str, train: Lesson, development: Lesson, attacks: Sequence[str]) -> bool:
        forged = train.readings.pick(train.of(attacks))
        solved = [
            self.of_spectrum.solve(_heard(forged.spectrum)),
            self.of_states.solve(_heard(forged.states)),
        ]
        # Both views have the same say.
        spreads = [part.std().clamp(min=1e-6) for part in self._told(torch.cat(solved)[None], train.readings)]
        weights = torch.cat([own / float(spread) for own, spread in zip(solved, spreads, strict=True)])
        calibration = self._calibrated(weights, development, attacks) or self._calibrated(
            weights, train, attacks
        )
        if calibration is None:
            return False
        scale = torch.tensor([[calibration.scale, calibration.offset]])
        self.weights = torch.cat([self.weights, weights[None].to(self.weights)])
        self.scales = torch.cat([self.scales, scale.to(self.scales)])
        self.names = torch.from_numpy(bytes_of([*self.witnesses, name])).to(self.names.device)
        return True

    def _calibrated(self, weights: Tensor, lesson: Lesson, attacks: Sequence[str]) -> Calibration | None:
        """None where the split has not both, or tells them the wrong way."""
        forged = lesson.of(attacks)
        if not bool(forged.any()) or not bool(lesson.bona_fide.any()):
            return None
        evidence = sum(self._told(weights[None], lesson.readings)).cpu()[:, 0].double().numpy()  # type: ignore[union-attr]
        try:
            return Calibration.fit(evidence[lesson.bona_fide.numpy()], evidence[forged.numpy()])
        except DataError:
            return None

    def _told(self, weights: Tensor, readings: Readings) -> tuple[Tensor, Tensor]:
        """(N, A) by either view; what the spectrum does not say, the states say twice."""
        cut = self.of_spectrum.size
        own = weights.to(self.weights)
        low = self.of_spectrum(readings.spectrum) @ own[:, :cut].T
        high = self.of_states(readings.states) @ own[:, cut:].T
        return torch.where(low.isnan(), high, low), high

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        self.make_room({name.removeprefix(prefix): value for name, value in state_dict.items()})
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.of_any = int(self.witnesses[:1] == (_ANY,))

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Take the number of witnesses of a stored state; widths and types remain."""
        for name in ("weights", "scales", "names"):
            given, own = state.get(name), getattr(self, name)
            if given is not None and given.dim() == own.dim():
                setattr(self, name, own.new_zeros((len(given), *own.shape[1:])))


def _groups(lesson: Lesson) -> dict[str, list[str]]:
    """Attacks by witness: its own where there are enough recordings, one for all others of the domain."""
    counts = Counter(name for name in lesson.attacks if name is not None)
    own = [name for name, count in sorted(counts.items()) if count >= OWN_WITNESS]
    rest = sorted(set(counts) - set(own))
    return {name: [name] for name in own} | ({"+".join(rest): rest} if rest else {})


def _together(lessons: Sequence[Lesson]) -> Lesson:
    return Lesson(
        Readings(
            torch.cat([item.readings.spectrum for item in lessons]),
            torch.cat([item.readings.states for item in lessons]),
        ),
        torch.cat([item.bona_fide for item in lessons]),
        tuple(name for item in lessons for name in item.attacks),
    )


def _heard(rows: Tensor) -> Tensor:
    """(N, R) without rows of NaN, float32 on the CPU."""
    values = rows.float().cpu()
    return values[~values.isnan().any(1)]


def _second_moments(rows: Tensor) -> Tensor:
    values = rows.cpu().double()  # not every device has double precision
    return values.T @ values / max(1, len(values))
