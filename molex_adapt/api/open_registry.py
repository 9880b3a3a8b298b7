"""What the parts of class Registry stand on: its files, its recipe, its detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molex_adapt.registry import Store
from molex_adapt.run import Run

if TYPE_CHECKING:
    from molex_adapt.detector import Detector
    from molex_adapt.recipe import Recipe


class OpenRegistry:
    """A registry folder that is open.

    Attributes:
        store: its files: list, show, history, forgetting, verify, rollback, remove.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def recipe(self, given: Recipe | None = None) -> Recipe:
        """The given recipe on the active generation's structure; the generation's own where none is given.

        Raises:
            RecipeError: the given recipe asks for another structure.
        """
        from molex_adapt.api.inputs import recipe_on

        return recipe_on(self.store, self.store.active, given)

    def detector(self, generation: int | None = None, *, run: Run = Run()) -> Detector:
        """The detector of a generation, None for the active one, on the device and in the precision of the run.

        Raises:
            RegistryError: there is none yet, or a file of it is damaged.
        """
        from molex_adapt.registry.assemble import build_detector

        return build_detector(self.store, generation, run.find_device(), precision=run.precision)
