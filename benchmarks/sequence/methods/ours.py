"""The product's own way: an expert for every domain, inside the frozen mixture."""

from __future__ import annotations

import torch

from benchmarks.sequence.domains import Measured
from benchmarks.sequence.methods.base import Known, Learnt, Scores, Setting, scores_of
from benchmarks.sequence.methods.remembering import bytes_kept
from benchmarks.sequence.methods.state import State, state_of, take_up, trainable, weight_bytes, within
from benchmarks.workbench import detector_on
from molex_adapt.mixture import ExpertSpec
from molex_adapt.registry.exemplars import arrays_to_remembered, remembered_to_arrays
from molex_adapt.run import Run
from molex_adapt.train.adapt import add_expert, train_first
from molex_adapt.train.exemplars import choose_exemplars
from molex_adapt.train.old import OldDomain
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.remembering import remember


class Ours:
    """`train` on the first domain, `add-expert` for every other."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.detector = detector_on(setting.base, setting.recipe, setting.seed)
        self.old: dict[str, OldDomain] = {}
        self.threshold = 0.0

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Train the first mixture, or add an expert."""
        detector, recipe, former = self.detector, self.setting.recipe, weight_bytes(self.detector)
        run = Run(seed=self.setting.seed, progress=self.setting.progress)
        if self.old:
            result = add_expert(detector, name, name, data, self.old, self.threshold, recipe, run)
        else:
            result = train_first(detector, {name: data}, recipe, run)
            self.threshold = result.threshold
        exemplars = result.exemplars[name]
        arrays = remembered_to_arrays(remember(detector, data.train, recipe.data.crop_seconds))
        self.old[name] = OldDomain(
            name, exemplars, arrays_to_remembered(arrays)
        )  # in half precision, as stored
        kept = bytes_kept(exemplars.replay)
        routing = sum(array.nbytes for array in arrays.values())
        # Old experts and, after the first domain, the head stay as they are; all router rows are trained again.
        frozen = [weight for old in list(self.old)[:-1] for weight in detector.mixture.expert_parameters(old)]
        frozen += detector.head.parameters() if len(self.old) > 1 else []
        moved = trainable(detector) - sum(weight.numel() for weight in frozen)
        return Learnt(moved, weight_bytes(detector) - former + kept + routing, kept)

    def scores(self, measured: Measured) -> Scores:
        """Calibrated."""
        return scores_of(self.detector, measured)

    def state(self) -> State:
        """The detector, its threshold, and what routers read of every domain."""
        found = state_of(self.detector) | {"threshold": torch.tensor(self.threshold, dtype=torch.float64)}
        for name, old in self.old.items():
            assert old.remembered is not None
            arrays = remembered_to_arrays(old.remembered)
            found |= {
                f"routing.{name}.{part}": torch.from_numpy(array).clone() for part, array in arrays.items()
            }
        return found

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains, whose exemplars are drawn again."""
        recipe = self.setting.recipe
        specs = [ExpertSpec(name, recipe.lora.rank, recipe.lora.alpha) for name, _ in learnt]
        take_up(self.detector, state, specs)
        self.threshold = float(state["threshold"])
        for number, (name, data) in enumerate(learnt):
            seed = self.setting.seed + number
            drawn = (data.train, data.test, recipe.exemplars, recipe.data.crop_seconds, seed)
            arrays = {part: value.numpy() for part, value in within(state, f"routing.{name}.").items()}
            self.old[name] = OldDomain(name, choose_exemplars(*drawn), arrays_to_remembered(arrays))
