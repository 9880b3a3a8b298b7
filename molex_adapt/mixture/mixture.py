"""The experts and routers of a whole base, and how they are put into its blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from molex_adapt.base import Base, frame_mask
from molex_adapt.errors import ExpertError
from molex_adapt.mixture.experts import ExpertLinear, ExpertSpec, ExpertWeights
from molex_adapt.mixture.routers import Heirs, Router, Routing
from molex_adapt.recipe import LoraOptions, RouterOptions


class Mixture(nn.Module):
    """The experts and routers of every block. `attach` puts them into the base, `detach` takes them out again.

    Attributes:
        lora: the options, its targets by the names that the base's blocks have.
        rest: whether the frozen base takes a share beside the experts; see `Router`.
        specs: the experts, in the order of the router's rows.
        routings: the decision of every block in the last forward pass.
    """

    def __init__(self, base: Base, lora: LoraOptions, router: RouterOptions, rest: bool = False) -> None:
        super().__init__()
        self.rest = rest
        self.lora = lora.model_copy(update={"targets": base.targets(lora.targets)})
        self.specs: list[ExpertSpec] = []
        self.routings: list[Routing] = []
        self._mask: Tensor | None = None
        self._silent = False
        self._handles: list[Any] = []
        vars(self)["_base"] = base  # not a submodule: the base's weights are not the mixture's
        self._layers = nn.ModuleList(
            nn.ModuleDict(
                {_key(target): ExpertLinear(_linear(block, target)) for target in self.lora.targets}
            )
            for block in base.blocks
        )
        self._routers = nn.ModuleList(Router(base.width, router, rest) for _ in base.blocks)

    @property
    def names(self) -> list[str]:
        """The experts' names, in router order."""
        return [spec.name for spec in self.specs]

    @property
    def has_choice(self) -> bool:
        """Whether gates decide anything: there are several experts, or one beside the rest."""
        return len(self.specs) > 1 or (self.rest and len(self.specs) > 0)

    @property
    def base(self) -> Base:
        """The base that this mixture was built for."""
        return cast(Base, vars(self)["_base"])

    @property
    def layers(self) -> list[dict[str, ExpertLinear]]:
        """Per block, the adapted layers by target."""
        return [
            {target: cast(ExpertLinear, block[_key(target)]) for target in self.lora.targets}
            for block in cast(Iterable[nn.ModuleDict], self._layers)
        ]

    @property
    def placed(self) -> dict[str, ExpertLinear]:
        """Every adapted layer by its path inside the base, as PEFT names it."""
        return {
            f"encoder.layers.{block}.{target}": layer
            for block, layers in enumerate(self.layers)
            for target, layer in layers.items()
        }

    @property
    def routers(self) -> list[Router]:
        """One router per block."""
        return cast(list[Router], list(self._routers))

    def index(self, name: str) -> int:
        """Position of an expert; ExpertError where there is no such one."""
        if name not in self.names:
            raise ExpertError(f"no expert {name!r} in this mixture; it has {', '.join(self.names) or 'none'}")
        return self.names.index(name)

    def add(
        self,
        spec: ExpertSpec,
        weights: ExpertWeights | None = None,
        rows: list[Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Append an expert, and its row (D + 1,) to every router.

        Without weights it is a fresh expert that changes nothing; without rows, they are the mean of the old ones.

        Raises:
            ExpertError: the name is taken, or weights do not fit; the mixture is as before.
        """
        if weights is None:
            self._check_names([spec])
            weights = {}
            for path, layer in self.placed.items():
                weights[f"{path}.lora_A"], weights[f"{path}.lora_B"] = layer.fresh(spec, generator)
        self.extend([(spec, weights)], None if rows is None else [rows])

    def extend(
        self,
        experts: Sequence[tuple[ExpertSpec, ExpertWeights]],
        rows: Sequence[Sequence[Tensor]] | None = None,
    ) -> None:
        """Append several experts at once, which is faster than one by one; otherwise as `add`."""
        # Everything is checked before the first layer changes.
        specs = [spec for spec, _ in experts]
        self._check_names(specs)
        for spec, weights in experts:
            self._check_fit(spec, weights)
        for path, layer in self.placed.items():
            layer.extend(
                specs, [(weights[f"{path}.lora_A"], weights[f"{path}.lora_B"]) for _, weights in experts]
            )
        for block, router in enumerate(self.routers):
            if rows is not None and specs:
                router.extend(torch.stack([own[block] for own in rows]))
            for _ in specs if rows is None else ():
                router.add()
        self.specs += specs

    def tables(self) -> dict[str, tuple[Tensor, Tensor]]:
        """A (E, R, D_in) and B (E, R, D_out) of all experts, per adapted layer; zero beyond an expert's rank."""
        return {path: (layer.bank.stacked_a, layer.bank.stacked_b) for path, layer in self.placed.items()}

    def fits(self, specs: Sequence[ExpertSpec], tables: dict[str, tuple[Tensor, Tensor]]) -> bool:
        """Whether `adopt` can take such tables: the layers and shapes of this base."""
        rank = max((spec.rank for spec in specs), default=0)
        expected = {
            path: (
                (len(specs), rank, layer.linear.in_features),
                (len(specs), rank, layer.linear.out_features),
            )
            for path, layer in self.placed.items()
        }
        return expected == {name: (tuple(a.shape), tuple(b.shape)) for name, (a, b) in tables.items()}

    def adopt(
        self, specs: Sequence[ExpertSpec], tables: dict[str, tuple[Tensor, Tensor]], rows: Sequence[Tensor]
    ) -> None:
        """Take all experts at once, in the form of `tables`. They are not copied, and may be memory-mapped."""
        ranks, scales = [spec.rank for spec in specs], [spec.scale for spec in specs]
        for path, layer in self.placed.items():
            layer.bank.adopt(*tables[path], ranks, scales)
        for router, own in zip(self.routers, rows, strict=True):
            router.extend(own)
        self.specs = list(specs)

    def remove(self, name: str) -> None:
        """Drop an expert and its router rows."""
        index = self.index(name)
        for layer in self.placed.values():
            layer.remove(index)
        for router in self.routers:
            router.remove(index)
        del self.specs[index]

    def withdraw(self, name: str) -> None:
        """Keep an expert that does not act: its gates are closed."""
        index = self.index(name)
        for router in self.routers:
            router.withdraw(index)

    def has_withdrawn(self, name: str) -> bool:
        """Whether an expert's gates were closed by `withdraw`."""
        index = self.index(name)
        return all(bool(router.withdrawn[index]) for router in self.routers)

    @property
    def acting(self) -> Tensor:
        """(E,) bool on the device, which experts were not withdrawn; the one that everything is sent to, if any is."""
        closed = torch.stack([router.withdrawn for router in self.routers]).all(0)
        forced = self.routers[0].forced
        return ~closed if forced is None else torch.arange(len(closed), device=closed.device) == forced

    @property
    def is_silent(self) -> bool:
        """Whether no expert acts: there is none, or all were withdrawn, and the frozen base has all of the gates."""
        if not self.specs:
            return True
        if not self.rest or any(router.forced is not None for router in self.routers):
            return False
        return all(bool(router.withdrawn.all()) for router in self.routers)

    def is_untrained(self, name: str) -> bool:
        """Whether an expert changes nothing: its second factors are zero, as they are drawn."""
        index = self.index(name)
        return not any(bool(layer.b[index].any()) for layer in self.placed.values())

    def weights(self, name: str) -> ExpertWeights:
        """A copy of an expert's LoRA weights, float32 on the CPU."""
        index = self.index(name)
        found = {}
        for path, layer in self.placed.items():
            found[f"{path}.lora_A"] = layer.a[index].detach().float().cpu().clone()
            found[f"{path}.lora_B"] = layer.b[index].detach().float().cpu().clone()
        return found

    def expert_parameters(self, name: str) -> list[nn.Parameter]:
        """The trainable weights of one expert, without its router rows. Experts in half precision become float32."""
        index = self.index(name)
        layers = self.placed.values()
        for layer in layers:
            layer.bank.widen()
        return [weight for layer in layers for weight in (layer.a[index], layer.b[index])]

    def router_rows(self, name: str) -> list[nn.Parameter]:
        """One router row per block of an expert."""
        index = self.index(name)
        return [router.rows[index] for router in self.routers]

    def attach(self) -> None:
        """Put the experts into the base's blocks."""
        if self._handles:
            return
        for block, layers, router in zip(self.base.blocks, self.layers, self.routers, strict=True):
            for target in self.lora.targets:
                _replace(block, target, layers[target])
            # A hook on the block and not a wrapper: the base keeps its own modules and names.
            reads = self._routing_module(block)
            self._handles.append(
                reads.register_forward_pre_hook(_RouteBefore(self, router, layers.values()), with_kwargs=True)
            )

    def detach(self) -> None:
        """Give the base its own layers back."""
        for handle in self._handles:
            handle.remove()
        attached, self._handles = bool(self._handles), []
        if attached:
            for block, layers in zip(self.base.blocks, self.layers, strict=True):
                for target in self.lora.targets:
                    _replace(block, target, layers[target].linear)

    def hidden_states(self, features: Tensor, frames: Tensor | None) -> list[Tensor]:
        """The base's hidden states with this mixture, from (B, F, C) features and (B,) frames. Fills `routings`."""
        self._mask = frame_mask(frames, features)
        self.routings = []
        try:
            return self.base.hidden_states(features, frames)
        finally:
            self._mask = None

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Let no expert act inside the `with` block: the base is as it was frozen. `routings` stay those of before."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    @contextmanager
    def forcing(self, name: str) -> Iterator[None]:
        """Send every utterance to one expert inside the `with` block."""
        index = self.index(name)
        for router in self.routers:
            router.forced = index
        try:
            yield
        finally:
            for router in self.routers:
                router.forced = None

    @contextmanager
    def without(self, name: str, heirs: Heirs = "others") -> Iterator[None]:
        """Switch one expert off inside the `with` block; `heirs` says who takes its gates."""
        index = self.index(name)
        for router in self.routers:
            router.off = index, heirs
        try:
            yield
        finally:
            for router in self.routers:
                router.off = None

    def orthogonality(self) -> Tensor:
        """Mean squared cosine between the A rows of different experts; scalar.

        Two experts whose A rows are orthogonal read different directions of the same input.

        Source: own form of the regularisation that MoLEx (arXiv 2509.09175) names.
        """
        overlap = []
        for layer in self.placed.values():
            unit = [nn.functional.normalize(weight, dim=1) for weight in layer.a]
            overlap += [(one @ other.T).square().mean() for at, one in enumerate(unit) for other in unit[:at]]
        return torch.stack(overlap).mean() if overlap else torch.zeros(())

    def _routing_module(self, block: nn.Module) -> nn.Module:
        # Experts in the attention act before the feed-forward input exists: then the block's own input decides.
        family = self.base.family
        inside = set(self.lora.targets) <= set(family.feed_forward)
        return block.get_submodule(family.feed_forward_at) if inside else block

    def _check_names(self, specs: Sequence[ExpertSpec]) -> None:
        taken = self.names
        for spec in specs:
            if spec.name in taken:
                raise ExpertError(
                    f"an expert named {spec.name!r} is already in this mixture; choose another name"
                )
            taken.append(spec.name)

    def _check_fit(self, spec: ExpertSpec, weights: ExpertWeights) -> None:
        expected = {}
        for path, layer in self.placed.items():
            expected[f"{path}.lora_A"] = (spec.rank, layer.linear.in_features)
            expected[f"{path}.lora_B"] = (layer.linear.out_features, spec.rank)
        found = {name: tuple(weight.shape) for name, weight in weights.items()}
        if expected != found:
            wrong = sorted(
                name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
            )
            first = wrong[0]
            raise ExpertError(
                f"expert {spec.name!r} does not fit this mixture: {len(wrong)} weight(s) differ, first {first}: "
                f"the mixture needs {expected.get(first)}, the expert has {found.get(first)}. "
                f"It must have rank {spec.rank} on {', '.join(self.lora.targets)} of {len(self.layers)} blocks"
            )


class _RouteBefore:
    """Runs just before a block's feed-forward: it decides, and gives the decision to the block's adapted layers."""

    def __init__(self, mixture: Mixture, router: Router, layers: Iterable[ExpertLinear]) -> None:
        self.mixture, self.router, self.layers = mixture, router, list(layers)

    def __call__(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.mixture._silent:
            for layer in self.layers:
                layer.routing = None
            return
        if not self.mixture.specs:
            return
        x = args[0] if args else kwargs["hidden_states"]
        mask = self.mixture._mask
        # The base may be called on its own, past `hidden_states`.
        alone = mask is None or mask.shape != x.shape[:2]
        whole = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if alone else mask
        routing: Routing = self.router(x, whole)
        if not alone:
            self.mixture.routings.append(routing)
        for layer in self.layers:
            layer.routing = routing


def _key(target: str) -> str:
    return target.replace(".", "/")


def _linear(block: nn.Module, target: str) -> nn.Linear:
    linear = dict(block.named_modules()).get(target)
    if isinstance(linear, ExpertLinear):
        raise ExpertError(
            "this base carries a mixture already; detach that one first, or load the base again"
        )
    if not isinstance(linear, nn.Linear):
        known = [name for name, module in block.named_modules() if isinstance(module, nn.Linear)]
        raise ExpertError(
            f"target {target!r} is not a linear layer of this base's blocks; "
            f"they have {', '.join(known) or 'none'} (recipe: lora.targets)"
        )
    return linear


def _replace(block: nn.Module, target: str, module: nn.Module) -> None:
    parent, _, name = target.rpartition(".")
    setattr(block.get_submodule(parent), name, module)
