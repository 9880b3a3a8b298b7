"""A registry folder and what can be done with it.

Every method, here and in the classes that it is made of, imports what it needs: torch comes with the first one that
needs a model, and to open a registry, to read it and to tend it costs no more than `molex-adapt list` may.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molex_adapt.api.answering import Answering
from molex_adapt.api.learning import Learning
from molex_adapt.errors import RegistryError
from molex_adapt.registry import Store
from molex_adapt.run import Run
from molex_adapt.shipped import registry_path

if TYPE_CHECKING:
    from molex_adapt.hub import Hub
    from molex_adapt.registry.reproduction import Reproduction

EMBEDDED = "embedded"
"""What `init` calls the small base that comes with the package."""


class Registry(Answering, Learning):
    """A registry folder and what can be done with it.

    Attributes:
        store: its files: list, show, history, forgetting, verify, rollback, remove.
        hub: the Hugging Face Hub: push, outdated.
    """

    @property
    def hub(self) -> Hub:
        """The part that speaks to the Hub."""
        from molex_adapt.hub import Hub

        return Hub(self.store)

    @classmethod
    def create(
        cls,
        path: Path | str,
        base: str,
        revision: str | None = None,
        *,
        experts: bool = True,
        encoder_only: bool = False,
        bona_fide: str | None = None,
        trained_on: Sequence[str] = (),
        licence: str | None = None,
    ) -> Registry:
        """A new registry; a published detector becomes its generation 0.

        Args:
            path: a new or empty folder.
            base: a Hub model id, a local folder (copied into the registry), or "embedded".
            revision: of a Hub model; the resolved commit is recorded.
            experts: start with the shipped experts, which only the embedded base has.
            encoder_only: of a published detector, take the encoder alone and leave its head.
            bona_fide: the published detector's label of bona fide speech, where its labels do not say it.
            trained_on: names of corpora that it was trained on, beside those that its card names.
            licence: of the published detector, where its card does not say it.

        Raises:
            RegistryError: the base cannot be loaded, or the folder is in use; or what was stated or asked for does
                not fit it.
        """
        says_anything = bona_fide is not None or bool(trained_on) or licence is not None
        if says_anything and (encoder_only or base == EMBEDDED):
            raise RegistryError(
                "a label, a licence and corpora are stated of a published detector, and an encoder alone was asked "
                "for. Leave these options out"
            )
        if base == EMBEDDED and (encoder_only or revision is not None):
            raise RegistryError(
                "a revision is stated of a Hub model, and an encoder alone is taken of a published detector; the "
                f"{EMBEDDED} base is neither. Leave these options out"
            )
        if base == EMBEDDED and experts:
            return cls(Store.copy(registry_path(), path))
        from molex_adapt.api.starting import Stated, start_on_encoder, start_registry
        from molex_adapt.registry.create import require_free

        path = Path(path)
        require_free(path)  # before a base is downloaded
        if base == EMBEDDED:
            return cls(start_on_encoder(path, str(registry_path() / "base"), None, EMBEDDED))
        if encoder_only:
            return cls(start_on_encoder(path, base, revision))
        stated = Stated(bona_fide, tuple(trained_on), licence) if says_anything else None
        return cls(start_registry(path, base, revision, stated))

    @classmethod
    def open(cls, path: Path | str = "registry") -> Registry:
        """An existing registry.

        Raises:
            RegistryError: none there, damaged, or of another format.
        """
        return cls(Store.open(path))

    @classmethod
    def pull_mixture(
        cls,
        reference: str,
        path: Path | str,
        *,
        token: str | None = None,
        skip_pickled: bool = False,
        run: Run = Run(),
    ) -> Registry:
        """A new registry with a whole generation from the Hub.

        Args:
            reference: ORG/REPO or ORG/REPO@REV.
            path: a new or empty folder.
            token, skip_pickled, run: as for `pull`; it is put together once, to see that it works.

        Raises:
            HubError: it cannot be had, or is not to be trusted.
            RegistryError: the folder is in use.
        """
        from molex_adapt.api.restoring import restore
        from molex_adapt.hub import fetch_mixture
        from molex_adapt.registry.create import require_free

        require_free(Path(path))  # before anything is downloaded
        fetched = fetch_mixture(reference, token=token, skip_pickled=skip_pickled, progress=run.progress)
        restore(fetched, Path(path), run)
        return cls(Store.open(path))

    def reproduce(self, name: str, recipe: Path | None = None) -> Reproduction:
        """What to run so that an expert of the active generation is made again, bit for bit.

        `recipe` is a file that holds the expert's recipe; without it, that of the generation it came with.

        Raises:
            ExpertError: there is no such expert.
            RegistryError: the generation it came with is damaged.
        """
        from molex_adapt.registry.reproduction import reproduce

        return reproduce(self.store, name, recipe)
