"""One LoRA that hears a part of the old domains again; every method keeps the same bytes of each, `Setting.keep`.

The active rank is that of `OneLora`.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from benchmarks.sequence.methods.base import Known, Learnt, Setting
from benchmarks.sequence.methods.lora import OneLora
from benchmarks.sequence.methods.remembering import Ledger, bytes_kept, drawn_from
from benchmarks.sequence.methods.state import State, within
from molex_adapt.features import Features, logits_of
from molex_adapt.run import Run
from molex_adapt.train.exemplars import divide_replay
from molex_adapt.train.pools import Batch, Pool
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import learn_readout, let_it_speak_alone, told_of, told_to_experts


class Replay(OneLora):
    """Half of every batch is of old domains, to equal parts (experience replay, e.g. Rolnick et al., arXiv 1811.11682).

    As with ours, every fourth source recording of what is kept is for early stopping and calibration.
    """

    beside = 0
    """Bytes kept with every utterance, which count as data."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.kept: list[Features] = []

    def pools(self, data: DomainData) -> list[Pool]:
        """The new domain, and what is kept of each old one."""
        old = [Pool(divide_replay(features)[0], 1.0 / len(self.kept)) for features in self.kept]
        return [*super().pools(data), *old]

    def remembered(self) -> list[Features]:
        """What is kept for early stopping."""
        return [divide_replay(features)[1] for features in self.kept]

    def conclude(self, name: str, data: DomainData) -> int:
        """Keep a part of the domain."""
        kept = self._draw(data, self.steps)
        self.kept.append(kept)
        return bytes_kept(kept)

    def go_on(self, state: State, learnt: Known) -> None:
        """What was kept of these domains is drawn again."""
        super().go_on(state, learnt)
        self.kept = [self._draw(data, number) for number, (_, data) in enumerate(learnt)]

    def _draw(self, data: DomainData, number: int) -> Features:
        assert isinstance(data.train, Features)
        setting = self.setting
        seconds = setting.recipe.data.crop_seconds
        seed = setting.seed + number
        return drawn_from(data.train, setting.keep, seconds, seed, self.beside, self.has_readout)


class ReplayBesideReadout(Replay):
    """The same beside the readout of ours: what its mixture brings over one LoRA that is trained on and on.

    The readout learns each domain first, in closed form. The head scores what the LoRA changes of the frozen states,
    and both learn what the readout leaves unsolved, as an expert does. Nothing is routed: the LoRA always acts. The
    statistics that the readout hears are kept with what is replayed.
    """

    has_readout = True

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        readout = self.detector.head.readout
        assert readout is not None
        self.beside = 4 * readout.heard
        self._unheard: Tensor | None = None
        self._act()

    def learn(self, name: str, data: DomainData) -> Learnt:
        """The readout first."""
        learnt = learn_readout(self.detector, {name: data}, Run(seed=self.setting.seed))
        if not self.steps:
            let_it_speak_alone(self.detector, [data.dev])
        self._unheard = learnt.unheard.get(name)
        return super().learn(name, data)

    def pools(self, data: DomainData) -> list[Pool]:
        """The same, with what the readout adds to each logit."""
        new, *old = super().pools(data)
        beside = [replace(pool, told=told_of(self.detector, _features(pool))) for pool in old]
        return [replace(new, told=told_to_experts(self.detector, data, self._unheard)), *beside]

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains."""
        super().go_on(state, learnt)
        self._act()

    def _act(self) -> None:
        for router in self.detector.mixture.routers:
            router.forced = 0


def _features(pool: Pool) -> Features:
    assert isinstance(pool.clips, Features)
    return pool.clips


class HeadAlone(Replay):
    """The head on the frozen base, with replay and without a LoRA."""

    trains_lora = False


class Der(Replay):
    """Dark experience replay with labels, DER++ (Buzzega et al., arXiv 2004.07211, equation 6).

    Beside replay's loss of the labels, the mean squared distance to the logits that the model gave to what is kept when
    it had learnt its domain. In the paper each term has a draw of its own and logits are taken down while a task is
    learnt; here one draw serves both terms, and logits are those after the domain, of the whole stored clip. The weight
    of the logits is the paper's for CIFAR-10; that of the labels is replay's.
    """

    beside = 4
    strength = 0.1

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.ledger = Ledger()
        self.logits: list[Tensor] = []

    def pools(self, data: DomainData) -> list[Pool]:
        """The same, with old logits."""
        new, *old = super().pools(data)
        if not old:
            return [new]
        known = zip(old, self.logits, strict=True)
        written = [self.ledger.pool(pool.clips, pool.share, logits) for pool, logits in known]
        return [self.ledger.pool(new.clips, new.share), *written]

    def penalty(self, logit: Tensor, batch: Batch) -> Tensor:
        """The strength times the mean squared distance to the old logits."""
        return self.strength * self.ledger.distance(logit)

    def conclude(self, name: str, data: DomainData) -> int:
        """Keep a part of the domain, and the logits of what training will hear of it."""
        kept = super().conclude(name, data)
        self.logits.append(logits_of(self.detector, divide_replay(self.kept[-1])[0]))
        return kept

    def own_state(self) -> State:
        """The logits."""
        return {str(number): logits.clone() for number, logits in enumerate(self.logits)}

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains."""
        super().go_on(state, learnt)
        own = within(state, "own.")
        self.logits = [own[str(number)] for number in range(len(learnt))]
