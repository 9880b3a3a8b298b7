"""A registry folder and what can be done with it.

Every method, here and in the classes that it is made of, imports what it needs: torch comes with the first one that
needs a model, and to open a registry, to read it and to tend it costs no more than `molex-adapt list` may.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from molex_adapt.api.answering import Answering
from molex_adapt.api.learning import Learning
from molex_adapt.registry import BaseRecord, Store
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
        cls, path: Path | str, base: str, revision: str | None = None, *, experts: bool = True
    ) -> Registry:
        """A new registry.

        Args:
            path: a new or empty folder.
            base: a Hub model id, a local folder (copied into the registry), or "embedded".
            revision: of a Hub model; the resolved commit is recorded.
            experts: start with the shipped experts, which only the embedded base has.

        Raises:
            RegistryError: the base cannot be loaded, or the folder is in use.
        """
        if base == EMBEDDED and experts:
            return cls(Store.copy(registry_path(), path))
        from molex_adapt.base import load_base
        from molex_adapt.registry.assemble import embeddable
        from molex_adapt.registry.create import require_free

        require_free(Path(path))  # before a base is downloaded
        folder = registry_path() / "base" if base == EMBEDDED else Path(base)
        loaded = load_base(folder if folder.is_dir() else base, revision)
        local = folder.is_dir()
        name = EMBEDDED if base == EMBEDDED else loaded.identity.id
        record = BaseRecord(
            id=name, revision=loaded.identity.revision, sha256=loaded.identity.sha256, embedded=local
        )
        if not local:
            return cls(Store.create(path, record))
        with embeddable(folder, loaded) as source:
            return cls(Store.create(path, record, source))

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
