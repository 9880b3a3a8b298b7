"""No training by gradients: the readout of the package alone, and RanPAC, both over frozen readings."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.sequence.domains import Measured
from benchmarks.sequence.methods.analytic import Moments, RandomFeatures, raw_readings
from benchmarks.sequence.methods.base import Known, Learnt, Scores, Setting, calibrated
from benchmarks.sequence.methods.state import (
    State,
    bytes_of,
    calibration_of,
    copied,
    of_calibration,
    within,
)
from benchmarks.workbench import detector_on
from molex_adapt.calibration import Calibration
from molex_adapt.features import Features, readings_of
from molex_adapt.run import Run
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import learn_readout


class Ridge:
    """The readout alone: what `add-expert` keeps where the readout suffices, and no expert ever.

    A witness for every attack, in closed form, on the frozen base's pooled states and the statistics of the spectrum.
    """

    def __init__(self, setting: Setting) -> None:
        head = setting.recipe.head.model_copy(update={"readout": True})
        self.setting = setting
        recipe = setting.recipe.model_copy(update={"head": head})
        self.detector = detector_on(setting.base, recipe, setting.seed)
        self.calibration = Calibration.identity()

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Add the domain's witnesses."""
        readout = self.detector.head.readout
        assert readout is not None
        former, witnesses = bytes_of(self.state()), len(readout.witnesses)
        run = Run(seed=self.setting.seed, progress=self.setting.progress)
        learn_readout(self.detector, {name: data}, run)
        self.calibration = calibrated(self._evidence(data.dev), data.dev.bona_fide, self.calibration)
        stored = bytes_of(self.state()) - (former if witnesses else 0)
        return Learnt(readout.weights[witnesses:].numel(), stored, 0)

    def scores(self, measured: Measured) -> Scores:
        """Calibrated evidence."""
        return self.calibration.apply(self._evidence(measured.features))

    def state(self) -> State:
        """The readout, which has the moments of bona fide speech."""
        readout = self.detector.head.readout
        assert readout is not None
        found = {f"readout.{name}": copied(value) for name, value in readout.state_dict().items()}
        return found | of_calibration(self.calibration)

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains."""
        readout = self.detector.head.readout
        assert readout is not None
        readout.load_state_dict(within(state, "readout."))
        self.calibration = calibration_of(state)

    def _evidence(self, features: Features) -> Scores:
        readout = self.detector.head.readout
        assert readout is not None
        found: Tensor = readout.of_many(readings_of(self.detector, features))
        return np.asarray(found.cpu().double().numpy())


class RanPac:
    """RanPAC (McDonnell et al., NeurIPS 2023, arXiv 2307.02251), on what the readout reads.

    Random features, their second-order statistics over all domains, and ridge regression to classes: bona fide speech
    and one for every attack. A score is the value of bona fide speech less that of the likeliest attack.

    As in the authors' published code (github.com/RanPAC/RanPAC) the ridge is chosen anew on every domain, of the powers
    of ten, by the squared error on a fifth of its training recordings of a solution from the others. What differs:
    there are 2,000 random features, where it has 5,000 for images of deepfakes and 10,000 for most others; and no
    adapter is trained on the first task.
    """

    RIDGES = tuple(10.0**power for power in range(-8, 9))

    def __init__(self, setting: Setting) -> None:
        self.detector = detector_on(setting.base, setting.recipe, setting.seed)
        self.random = RandomFeatures(setting.seed)
        self.moments = Moments.none(self.random.size)
        self.classes: list[str | None] = [None]
        self.ridge = 0.0
        self.weights = torch.zeros(self.random.size, 0).double()
        self.calibration = Calibration.identity()

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Add the domain's moments, and solve."""
        former = bytes_of(self.state()) if self.ridge else 0
        assert isinstance(data.train, Features)
        raw = raw_readings(self.detector, data.train)
        self.random.standardise(raw)
        self._meet(data)
        features, classes = self.random(raw), self._one_hot(data.train)
        self.ridge = self._chosen(features, classes)
        self.moments.add(features, classes)
        self.weights = self.moments.solve(self.ridge)
        self.calibration = calibrated(self._margin(data.dev), data.dev.bona_fide, self.calibration)
        return Learnt(self.weights.numel(), bytes_of(self.state()) - former, 0)

    def scores(self, measured: Measured) -> Scores:
        """Calibrated."""
        return self.calibration.apply(self._margin(measured.features))

    def state(self) -> State:
        """Moments, ridge, standardisation and calibration; the weights follow from the first two."""
        parts = {"moments": self.moments.state(), "random": self.random.state()}
        found = {f"{part}.{name}": value for part, own in parts.items() for name, value in own.items()}
        return found | of_calibration(self.calibration) | {"ridge": torch.tensor(self.ridge).double()}

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains, which say what the classes are called."""
        self.moments.go_on(within(state, "moments."))
        self.random.go_on(within(state, "random."))
        self.ridge, self.calibration = float(state["ridge"]), calibration_of(state)
        for _, data in learnt:
            self._meet(data)
        self.weights = self.moments.solve(self.ridge)

    def _meet(self, data: DomainData) -> None:
        assert isinstance(data.train, Features)
        self.classes += sorted({name for name in data.train.attacks if name is not None} - {*self.classes})

    def _one_hot(self, features: Features) -> Tensor:
        of = torch.tensor([self.classes.index(name) for name in features.attacks])
        return F.one_hot(of, len(self.classes)).double()

    def _chosen(self, features: Tensor, classes: Tensor) -> float:
        """The ridge by (N, M) features and (N, K) classes of one domain alone."""
        at = torch.randperm(len(features), generator=torch.Generator().manual_seed(self.random.seed))
        learnt, held = at.split([len(at) - len(at) // 5, len(at) // 5])
        alone = Moments.none(self.random.size)
        alone.add(features[learnt], classes[learnt])
        errors = {}
        for ridge in self.RIDGES:
            with suppress(np.linalg.LinAlgError):
                errors[ridge] = float((features[held] @ alone.solve(ridge) - classes[held]).square().mean())
        return min(errors, key=errors.__getitem__)

    def _margin(self, features: Features) -> Scores:
        values = self.random(raw_readings(self.detector, features)) @ self.weights
        return np.asarray((values[:, 0] - values[:, 1:].amax(1)).numpy())
