"""How witnesses are made: ridge regression, calibrated on recordings that it did not learn from.

Recordings are divided into folds by voice or source. For every fold there are weights that were solved without it, and
what they say of it is unheard evidence: that of new voices, or of new recordings where voices are few, unless the base
has heard them. (The embedded base has heard its training voices, and others get less.) It calibrates the witness, whose
own weights are solved from all folds, and it tells the experts what is left for them to learn.

Shapes: N recordings, K features of a view after its basis, W those of both views together with their constants.

Source: own; calibration on held-out folds after Platt (1999), by Gaussians rather than a logistic function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from molex_adapt.calibration import FEWEST_OF_GAUSSIAN, Calibration
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError
from molex_adapt.metrics.curve import Floats
from molex_adapt.readout.components import learn_with_best_components
from molex_adapt.readout.readings import Learnt, Lesson, Lessons, together
from molex_adapt.readout.readout import ANY, Readout, told
from molex_adapt.readout.view import Moments, View, half_of
from molex_adapt.witnesses import BETWEEN

FOLDS = 5
_FEWEST_FOR_ANY = 3
"""Domains of a first training that make a witness for any attack."""


@torch.no_grad()
def learn(readout: Readout, lessons: Lessons) -> Learnt:
    """Add witnesses for domains, by experts that have none yet.

    The very first lessons decide how features are standardised, and how many components of the states are read.

    Raises:
        MolexError: what the head keeps of former domains cannot be solved.
    """
    usable = {name: pair for name, pair in lessons.items() if pair[0].has_both_classes}
    if not usable or any(
        not len(_heard(raw)) for train, _ in usable.values() for raw in train.readings.views
    ):
        remark = "the readout has learnt nothing: recordings of both classes are missing, or their waveforms"
        return Learnt([remark], {})
    if readout.domains or readout.of_states.is_standardised:
        return _learn(readout, usable)
    return learn_with_best_components(readout, usable, _learn)


def _learn(readout: Readout, usable: Lessons) -> Learnt:
    first = not readout.domains
    for at, view in enumerate(readout.views):
        if first and not view.is_standardised:
            view.standardise([_heard(train.readings.views[at]) for train, _ in usable.values()])
    course = _Course(readout, [train for train, _ in usable.values()])
    remarks: list[str] = []
    if first and len(usable) >= _FEWEST_FOR_ANY:
        course.witness(ANY, course.everything, [development for _, development in usable.values()])
    speech = {}
    for part, (name, (train, development)) in zip(course.parts, usable.items(), strict=True):
        for attack, members in train.by_witness.items():
            if course.witness(f"{name}{BETWEEN}{attack}", part, [development], members):
                speech[name] = course.speech(part)
            else:
                remarks.append(f"the readout has no witness for {attack}: real and spoofed speech look alike")
    # Not strict: where no witness was made there is nothing to take in, for no view.
    for view, own in zip(readout.views, zip(*speech.values(), strict=True), strict=False):
        view.take_in(int(readout.domains), own)
    readout.domains += len(speech)
    return Learnt(remarks, course.unheard(list(usable)), speech)


class _Course:
    """One round of learning: the moments of bona fide speech, and what every new witness says of unheard recordings.

    Attributes:
        whole: the labels of all lessons' training recordings, N of them; of one lesson those in its part.
        features: (N, K + 1) of either view.
        folds: (N,).
        real: the moments of bona fide speech in either view, without each fold.
    """

    def __init__(self, readout: Readout, lessons: Sequence[Lesson]) -> None:
        self.readout = readout
        self.whole = together(lessons)
        self.features = _features(readout, lessons)
        self.folds = folds_of(self.whole.groups)
        ends = list(accumulate(len(lesson) for lesson in lessons))
        self.parts = [slice(end - len(lesson), end) for end, lesson in zip(ends, lessons, strict=True)]
        self.everything = slice(0, len(self.whole))
        self.real = [
            _real_speech(
                view,
                int(readout.domains),
                [self._moments(rows, self._within(part) & self.whole.bona_fide) for part in self.parts],
            )
            for view, rows in zip(readout.views, self.features, strict=True)
        ]
        self._former = _by_witness(readout, self.features)
        self._fresh: list[Tensor] = []

    def witness(
        self, name: str, part: slice, development: Sequence[Lesson], attacks: Sequence[str] | None = None
    ) -> bool:
        """Add one against attacks of a part, or all of them; False where it cannot tell them."""
        own = self._within(part)
        forged = own & (~self.whole.bona_fide if attacks is None else self.whole.of(attacks))
        moments = [self._moments(rows, forged) for rows in self.features]
        weights, apart = self._solved(moments, None), [self._solved(moments, fold) for fold in range(FOLDS)]
        views = [
            said.gather(1, self.folds[:, None])[:, 0] for said in told(torch.stack(apart), self.features)
        ]
        says = _says(views, self.whole.bona_fide & own, forged)
        scale = torch.cat([say.expand(view.size) for view, say in zip(self.readout.views, says, strict=True)])
        # In the weights themselves, so that scoring costs one product for each view.
        weights, unheard = weights * scale, _sum((says[0] * views[0], says[1] * views[1]))
        other = together(development)
        measured = ~other.bona_fide if attacks is None else other.of(attacks)
        heard = _sum(told(weights[None], self.features))[:, 0]
        parted = self._is_parted(forged) and self._is_parted(own & self.whole.bona_fide)
        calibration = (
            (_calibrated(unheard, self.whole.bona_fide, forged) if parted else None)
            or _calibrated(self._said(weights, development), other.bona_fide, measured)
            # It speaks too well of what it has heard: no more than their number shows.
            or _calibrated(heard, self.whole.bona_fide, forged, Calibration.fit)
        )
        if calibration is None:
            return False
        self.readout.add(name, weights, calibration)
        self._fresh.append(unheard * calibration.scale + calibration.offset)
        return True

    def speech(self, part: slice) -> tuple[Tensor, Tensor]:
        """The moments of a part's bona fide speech in either view, as they are kept."""
        which = self._within(part) & self.whole.bona_fide
        low, high = (half_of(self._moments(rows, which).mean()) for rows in self.features)
        return low, high

    def unheard(self, names: Sequence[str]) -> dict[str, Tensor]:
        """By name, (N,) of what the whole readout says of the recordings of each part."""
        each = torch.cat([self._former, *(said[:, None] for said in self._fresh)], dim=1)
        evidence = self.readout.mixed(each) if each.shape[1] else torch.zeros(len(self.whole))
        return {name: evidence[part] for name, part in zip(names, self.parts, strict=True)}

    def _within(self, part: slice) -> Tensor:
        found = torch.zeros(len(self.whole), dtype=torch.bool)
        found[part] = True
        return found

    def _is_parted(self, which: Tensor) -> bool:
        """Whether something of these is left to learn from without any fold."""
        return len(self.folds[which].unique()) > 1

    def _moments(self, rows: Tensor, which: Tensor) -> Moments:
        heard = which & ~rows.isnan().any(1)
        return Moments.of(rows[heard], self.folds[heard], FOLDS)

    def _solved(self, forged: Sequence[Moments], without: int | None) -> Tensor:
        """(W,) weights of both views, solved without one fold."""
        return torch.cat(
            [
                view.solve(real[without], own, without)
                for view, real, own in zip(self.readout.views, self.real, forged, strict=True)
            ]
        )

    def _said(self, weights: Tensor, lessons: Sequence[Lesson]) -> Tensor:
        return _sum(told(weights[None], _features(self.readout, lessons)))[:, 0]


def _real_speech(view: View, known: int, domains: Sequence[Moments]) -> dict[int | None, Tensor]:
    """Second moments of bona fide speech in one view, the mean over domains: without each fold, and of all (None).

    The `known` former domains are whole, as they cannot be divided any more.
    """
    former = view.kept * known
    found: dict[int | None, Tensor] = {}
    for fold in (None, *range(FOLDS)):
        total = former.clone()
        for moments in domains:
            total += moments.mean(fold)
        found[fold] = total.div_(known + len(domains))
    return found


def folds_of(groups: Sequence[str]) -> Tensor:
    """(N,) int64, the fold of every recording: the same for all of a group, in every lesson."""
    known = {group: int(sha256(group)[:8], 16) % FOLDS for group in set(groups)}
    return torch.tensor([known[group] for group in groups], dtype=torch.int64)


def groups_of(
    voices: Sequence[str], sources: Sequence[str], attacks: Sequence[str | None]
) -> tuple[str, ...]:
    """(N,) names of what no fold divides: voices, if they are known.

    Where all voices of real speech, or of an attack, lie in one fold, nothing of it would be left to learn from, and
    what is learnt from it all would pass for unheard. So its recordings go by source.
    """
    found, folds = list(voices), folds_of(voices).tolist()
    members: dict[str | None, list[int]] = {}
    for at, attack in enumerate(attacks):
        members.setdefault(attack, []).append(at)
    for own in members.values():
        if len({folds[at] for at in own}) == 1:
            for at in own:
                found[at] = sources[at]
    return tuple(found)


def _of_many(real: Floats, fake: Floats) -> Calibration:
    """Witnesses are many, and the lowest decides: by the spread of real speech, where there is enough to see it."""
    fit = Calibration.fit if len(real) < FEWEST_OF_GAUSSIAN else Calibration.of_gaussians
    return fit(real, fake)


def _calibrated(
    evidence: Tensor,
    bona_fide: Tensor,
    forged: Tensor,
    fit: Callable[[Floats, Floats], Calibration] = _of_many,
) -> Calibration | None:
    """None where a class is missing, or the evidence (N,) tells them the wrong way."""
    if not bool(forged.any()) or not bool(bona_fide.any()):
        return None
    values = evidence.double().numpy()
    real, fake = values[bona_fide.numpy()], values[forged.numpy()]
    try:
        return fit(real, fake)
    except DataError:
        return None


def _says(views: Sequence[Tensor], bona_fide: Tensor, forged: Tensor) -> Tensor:
    """(2,) what the unheard evidence (N,) of either view counts: half way between an equal say and the best one.

    The best one is Fisher's, and none is below zero. It is of few voices, and of a base that may have heard them.
    """
    classes = [torch.stack([view[which] for view in views]).double() for which in (bona_fide, forged)]
    spreads = torch.cat(classes, dim=1).std(1).clamp(min=1e-6)
    if min(values.shape[1] for values in classes) < 2:  # one recording has no covariance
        return (1 / spreads).float()
    classes = [values / spreads[:, None] for values in classes]
    within = torch.stack([torch.cov(values) for values in classes]).mean(0) + 1e-6 * torch.eye(2)
    best = torch.linalg.solve(within, classes[0].mean(1) - classes[1].mean(1)).clamp(min=0.0)
    best = 2 * best / best.sum().clamp(min=1e-6)
    says: Tensor = (1 + best) / 2 / spreads
    return says.float()


def _features(readout: Readout, lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
    """(N, K + 1) of either view of all lessons, on the CPU: the raw ones are not held twice."""
    parts = [readout.features(part) for lesson in lessons for part in lesson.readings.parts]
    low, high = (torch.cat([own.cpu() for own in view]) for view in zip(*parts, strict=True))
    return low, high


def _by_witness(readout: Readout, features: tuple[Tensor, Tensor]) -> Tensor:
    low, high = (view.to(readout.weights.device) for view in features)
    return readout.each_of((low, high)).cpu()


def _sum(views: tuple[Tensor, Tensor]) -> Tensor:
    return views[0] + views[1]


def _heard(rows: Tensor) -> Tensor:
    """(N, R) without rows of NaN, on the CPU."""
    values, lost = rows.cpu(), rows.isnan().any(1).cpu()
    return values[~lost] if bool(lost.any()) else values
