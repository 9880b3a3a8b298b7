"""The product's own way: an expert for every domain, inside the frozen mixture."""

from __future__ import annotations

from benchmarks.sequence.domains import Measured
from benchmarks.sequence.methods.base import Learnt, Scores, Setting, scores_of
from benchmarks.workbench import detector_on
from molex_adapt.run import Run
from molex_adapt.train.adapt import add_expert, train_first
from molex_adapt.train.old import OldDomain
from molex_adapt.train.prepare import DomainData


class Ours:
    """`train` on the first domain, `add-expert` for every other."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.detector = detector_on(setting.base, setting.recipe, setting.seed)
        self.old: dict[str, OldDomain] = {}
        self.threshold = 0.0

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Train the first mixture, or add an expert."""
        setting, detector = self.setting, self.detector
        run = Run(seed=setting.seed, progress=setting.progress)
        if self.old:
            result = add_expert(
                detector,
                name,
                name,
                data,
                self.old,
                self.threshold,
                setting.recipe,
                run,
            )
        else:
            result = train_first(detector, {name: data}, setting.recipe, run)
            self.threshold = result.threshold
        exemplars = result.exemplars[name]
        self.old[name] = OldDomain(name, exemplars)
        weights = [*detector.mixture.expert_parameters(name), *detector.mixture.router_rows(name)]
        own = sum(weight.numel() for weight in weights)
        head = sum(weight.numel() for weight in detector.head.parameters())
        first = len(self.old) == 1
        kept = sum(clip.numel() * clip.element_size() for clip in exemplars.replay.clips)
        # One head serves all domains: only the first step adds it to what is stored.
        return Learnt(own + head, 2 * (own + head * first) + kept, kept)

    def scores(self, measured: Measured) -> Scores:
        """Calibrated."""
        return scores_of(self.detector, measured)
