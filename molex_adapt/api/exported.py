"""Scores by what `molex-adapt export` wrote; no torch, and no registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molex_adapt.api.registry import Registry
from molex_adapt.decision import EVEN_PRIOR, MOST_ERROR, DecisionRule
from molex_adapt.errors import RecipeError
from molex_adapt.exported.description import is_exported
from molex_adapt.run import Run

if TYPE_CHECKING:
    from molex_adapt.data import Table
    from molex_adapt.reports import ScoreReport


class Exported:
    """A folder with an exported detector.

    Attributes:
        folder: where it lies.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def score(
        self,
        inputs: Sequence[Path | str] | Path | str | Table,
        *,
        prior: float = EVEN_PRIOR,
        error: float | None = MOST_ERROR,
        journal: Path | None = None,
        run: Run = Run(),
    ) -> ScoreReport:
        """As `Registry.score`, with the same windows and remarks.

        Raises:
            DataError: as there.
            RegistryError: the folder holds no exported detector, or a damaged one.
            RecipeError: ONNX Runtime is missing, or cannot compute where or as the run asks.
        """
        from molex_adapt.api.inputs import recordings
        from molex_adapt.api.scoring import exported_source, score

        if run.precision == "bf16":
            raise RecipeError("an exported detector computes in float32; leave out --precision bf16")
        source = exported_source(self.folder, run)
        rule = DecisionRule(source.threshold, prior, error)
        return score(source, recordings(inputs), rule, journal, run)


def open_to_score(path: Path | str) -> Registry | Exported:
    """What scores in a folder: an exported detector, or else a registry.

    Raises:
        RegistryError: there is neither.
    """
    return Exported(path) if is_exported(path) else Registry.open(path)
