"""A LoRA for every domain, trained for itself: alone, and routed by PEFT's Arrow."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.forms import computed_by
from benchmarks.sequence.domains import Measured
from benchmarks.sequence.methods.base import Known, Learnt, Scores, Setting, scores_of
from benchmarks.sequence.methods.lora import OneLora
from benchmarks.sequence.methods.state import State, state_of, take_up
from benchmarks.sequence.methods.training import fit_weights, without_readout
from benchmarks.workbench import detector_on
from molex_adapt.mixture import ExpertLinear, ExpertSpec
from molex_adapt.train.calibrate import calibrate
from molex_adapt.train.losses import logits_and_loss
from molex_adapt.train.pools import Batch, Pool
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.stages import TWIN_LOSS, append_expert


class Alone:
    """A LoRA and a head for each domain, knowing nothing of the others; scores are those of the last.

    The active rank is that of `OneLora`.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.method = OneLora(setting)

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Begin anew."""
        self.method = OneLora(self.setting)
        return self.method.learn(name, data)

    def scores(self, measured: Measured) -> Scores:
        """Calibrated, each detector by its own development split."""
        return self.method.scores(measured)

    def state(self) -> State:
        """Of the last."""
        return self.method.state()

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains, of which the last one counts."""
        self.method.go_on(state, learnt[-1:])


class Arrow:
    """A LoRA for each domain under the head of the first, routed as PEFT's Arrow does (arXiv 2405.11157).

    Each has the rank of an expert of ours, and as many act together, `router.top_k`: the same active rank. PEFT's
    default are three.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = without_readout(setting)
        self.detector = detector_on(setting.base, self.setting.recipe, setting.seed)

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Train the domain's LoRA alone, with the head for the first domain."""
        setting, mixture = self.setting, self.detector.mixture
        number = len(mixture.names)
        append_expert(self.detector, name, setting.recipe, setting.seed + number)
        torch.manual_seed(setting.seed + number)
        weights = mixture.expert_parameters(name)
        if not number:
            weights += self.detector.head.parameters()

        def loss(batch: Batch) -> Tensor:
            return logits_and_loss(self.detector, batch, TWIN_LOSS)[1]

        with mixture.forcing(name):
            fit_weights(setting, self.detector, weights, [Pool(data.train, 1.0)], [data.dev], loss, number)
        with computed_by(self._form()):
            calibrate(self.detector, [data.dev])
        moved = sum(weight.numel() for weight in weights)
        return Learnt(moved, 2 * moved, 0)

    def scores(self, measured: Measured) -> Scores:
        """Routed, calibrated."""
        with computed_by(self._form()):
            return scores_of(self.detector, measured)

    def state(self) -> State:
        """The detector."""
        return state_of(self.detector)

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains."""
        lora = self.setting.recipe.lora
        take_up(self.detector, state, [ExpertSpec(name, lora.rank, lora.alpha) for name, _ in learnt])

    def _form(self) -> ArrowForm:
        return ArrowForm(self.setting.recipe.router.top_k)


class ArrowForm:
    """An adapted layer routed by Arrow, token by token, after PEFT's `ArrowLoraLinearLayer`.

    An expert's prototype is the right singular vector of B A with the largest singular value; a token goes to the
    `top_k` experts whose prototypes have the largest absolute product with it, weighted by a softmax over these.
    """

    def __init__(self, top_k: int = 3) -> None:
        self.top_k = top_k
        self._prototypes: dict[int, Tensor] = {}

    def __call__(self, layer: ExpertLinear, x: Tensor) -> Tensor:
        """(B, F, D_in) to (B, F, D_out)."""
        output: Tensor = layer.linear(x)
        kept = self._prototypes.get(id(layer))
        if kept is None:
            kept = self._prototypes[id(layer)] = prototypes(layer.bank.stacked_a, layer.bank.stacked_b)
        similarity = F.linear(x.float(), kept).abs()
        values, chosen = similarity.topk(min(self.top_k, len(kept)), dim=-1)
        gates = torch.zeros_like(similarity).scatter(-1, chosen, values.softmax(-1))
        gates = (gates * layer.bank.scales).to(output.dtype)
        for at, (a, b) in enumerate(zip(layer.a, layer.b, strict=True)):
            output = output + gates[..., at, None] * F.linear(F.linear(x, a.to(x.dtype)), b.to(x.dtype))
        return output


def prototypes(a: Tensor, b: Tensor) -> Tensor:
    """(E, R, D_in) and (E, R, D_out) to (E, D_in): the first right singular vector of every B A, of length 1."""
    found = []
    for own_a, own_b in zip(a.float(), b.float(), strict=True):
        # B A = Q_b (R_b R_a^T) Q_a^T with Q orthogonal: the small matrix has the singular values.
        q_a, r_a = torch.linalg.qr(own_a.T)
        _, r_b = torch.linalg.qr(own_b.T)
        _, _, right = torch.linalg.svd(r_b @ r_a.T)
        found.append(F.normalize(q_a @ right[0], dim=0))
    return torch.stack(found)
