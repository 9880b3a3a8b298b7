"""One tensor for all experts. The slice of one expert becomes a parameter when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Stack(nn.Module):
    """A table (E, ...) with one slice per expert. Slices in training are parameters that share the table's memory.

    A table of 256 experts costs what one tensor costs, and it may lie in a memory-mapped file. `part` makes the view of
    an expert's own values from the table and its index.
    """

    table: Tensor

    def __init__(self, table: Tensor, part: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__()
        self.part = part
        self.register_buffer("table", table)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> nn.Parameter:
        """An expert's own values as a parameter, frozen until gradients are asked for."""
        at = range(len(self))[index]
        opened = self._parameters.get(str(at))
        if opened is None:
            opened = nn.Parameter(self.part(self.table, at), requires_grad=False)
            self.register_parameter(str(at), opened)
        return opened

    def __iter__(self) -> Iterator[nn.Parameter]:
        return (self[at] for at in range(len(self)))

    @property
    def trained(self) -> dict[int, nn.Parameter]:
        """The parts that gradients are asked for, in order."""
        found = {int(name): part for name, part in self._parameters.items() if part is not None}
        return {at: found[at] for at in sorted(found) if found[at].requires_grad}

    def replace(self, table: Tensor, kept: Mapping[int, int]) -> None:
        """Take another table. Experts that stay, `kept` by old and new index, stay in training."""
        wanted = [kept[at] for at in self.trained if at in kept]
        self._parameters.clear()
        self.table = table
        for at in wanted:
            self[at].requires_grad_(True)

    def differentiable(self) -> Tensor:
        """The table as a tensor that passes gradients to the parts in training."""
        trained = self.trained if torch.is_grad_enabled() else {}
        if not trained:
            return self.table
        return torch.stack([trained.get(at, self.table[at]) for at in range(len(self))])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Stack:
        """Move or convert; the parts follow."""
        self.replace(fn(self.table), {at: at for at in range(len(self))})
        return self

    # The parts are views of the table: in a state dict they would be stored twice, and loading asks for none of them.
    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self._parameters:
            del destination[prefix + name]

    def _load_from_state_dict(self, *args: Any) -> None:
        opened, self._parameters = self._parameters, {}
        super()._load_from_state_dict(*args)
        self._parameters = opened
