"""What differs between families of speech models; `Base` is the same for all of them.

A new family is one subclass in a file of its own, and a word in `families.py`; docs/code.md says what to write. The
defaults are what most families have: a model that AutoModel loads, with `feature_projection` and `encoder`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from molex_adapt.recipe import FEED_FORWARD


class Family(ABC):
    """One loaded model as `Base` needs it. Its transformer blocks lie under `encoder.layers`.

    Attributes:
        kinds: the `model_type` of the configurations that it is for.
        called: the names of its models, for messages.
        feed_forward: the linear layers of a block's feed-forward, by their path inside the block: the default targets.
        feed_forward_at: the module inside the block whose input is that of its (first) feed-forward.
        rounded: modules with products that `Base.compute_in` rounds; the prefix is in none of them.
        model: the transformers model.
    """

    kinds: ClassVar[tuple[str, ...]]
    called: ClassVar[tuple[str, ...]]
    feed_forward: ClassVar[tuple[str, ...]] = FEED_FORWARD
    feed_forward_at: ClassVar[str] = "feed_forward"
    rounded: ClassVar[tuple[str, ...]] = ("feature_projection", "encoder")

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    @classmethod
    def read(
        cls, name: str, config: PreTrainedConfig, **options: Any
    ) -> tuple[PreTrainedModel, dict[str, Any]]:
        """The model of a folder or Hub id, and transformers' loading report; options as for `from_pretrained`."""
        model, report = AutoModel.from_pretrained(name, config=config, output_loading_info=True, **options)
        return model, report

    @classmethod
    def draw(cls, config: PreTrainedConfig) -> PreTrainedModel:
        """A model of random weights, of the names and shapes that `read` asks for."""
        return cast(PreTrainedModel, AutoModel.from_config(config))

    @classmethod
    @abstractmethod
    def normalises(cls, config: PreTrainedConfig) -> bool:
        """Whether models of this configuration learnt from waveforms of zero mean and unit variance."""

    @property
    @abstractmethod
    def prefix_width(self) -> int:
        """C, the width of the prefix features."""

    @property
    @abstractmethod
    def shortest_samples(self) -> int:
        """Samples that make one frame; every further `FRAME_SAMPLES` make one more."""

    @property
    def longest_samples(self) -> int | None:
        """Samples that the model can hear at once; None for any number."""
        return None

    @property
    def exact_padding(self) -> bool:
        """Whether `convolve` gives a row of a padded batch what it gives the row alone."""
        return True

    @abstractmethod
    def frames(self, lengths: Tensor) -> Tensor:
        """(B,) valid samples to (B,) valid frames."""

    @abstractmethod
    def convolve(self, wave: Tensor, lengths: Tensor | None) -> Tensor:
        """The prefix: (B, T) prepared waveforms and (B,) valid samples on the CPU to (B, F, C).

        Padded frames may hold anything. Where padding is not exact, all lengths are equal. None: no row is padded.
        """

    def run(self, features: Tensor, mask: Tensor | None) -> None:
        """Send (B, F, C) features through every block; (B, F) bool says which frames are valid, None: all of them."""
        hidden = self.part("feature_projection")(features)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        # The residual sum over the blocks stays float32 whatever the products are: its rounding would add up.
        self.part("encoder")(hidden.float(), attention_mask=mask)

    def closing(self) -> nn.LayerNorm | None:
        """The layer norm that the model's own output passes behind the last block; None where there is none."""
        return None

    def part(self, name: str) -> nn.Module:
        """A module of the model."""
        return self.model.get_submodule(name)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device
