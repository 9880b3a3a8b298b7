"""What a registry exchanges with the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from molex_adapt.api.arriving import Arrival
from molex_adapt.api.restoring import restore
from molex_adapt.hub import outdated, push_expert, push_mixture
from molex_adapt.registry import Store
from molex_adapt.reports import PullReport, PushReport, Upstream
from molex_adapt.run import Run


class Exchange:
    """The part of `Registry` that speaks to the Hub.

    Attributes:
        store: the files.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def push(
        self,
        name: str,
        repository: str,
        *,
        private: bool = False,
        revision: str | None = None,
        token: str | None = None,
        exemplars: bool = True,
        dry_run: bool = False,
        run: Run = Run(),
    ) -> PushReport:
        """Upload one expert of the active generation as a Hub repository that stock PEFT loads.

        Args:
            name: the expert.
            repository: ORG/REPO; made where it is missing.
            private: make it private; refused where it is public already.
            revision: a branch; made where it is missing.
            token: None for HF_TOKEN, or what `hf auth login` left.
            exemplars: whether features of recordings travel along.
            dry_run: only say what would be uploaded; the Hub is not asked.
            run: who listens.

        Raises:
            ExpertError: there is no such expert.
            HubError: not allowed, cut off, or the repository holds something else.
        """
        return push_expert(
            self.store,
            name,
            repository,
            private=private,
            revision=revision,
            token=token,
            exemplars=exemplars,
            dry_run=dry_run,
            progress=run.progress,
        )

    def push_mixture(
        self,
        repository: str,
        *,
        private: bool = False,
        revision: str | None = None,
        token: str | None = None,
        exemplars: bool = True,
        dry_run: bool = False,
        run: Run = Run(),
    ) -> PushReport:
        """Upload the whole active generation, with its base where that is embedded; arguments as for `push`."""
        return push_mixture(
            self.store,
            repository,
            private=private,
            revision=revision,
            token=token,
            exemplars=exemplars,
            dry_run=dry_run,
            progress=run.progress,
        )

    def pull(
        self,
        reference: str,
        *,
        name: str | None = None,
        token: str | None = None,
        skip_pickled: bool = False,
        assume_base: bool = False,
        run: Run = Run(),
    ) -> PullReport:
        """Add one expert from the Hub, working at once: one of ours, or a stock PEFT LoRA that fits.

        Args:
            reference: ORG/REPO or ORG/REPO@REV; the resolved commit is kept.
            name: of the expert here; its own by default.
            token: None for HF_TOKEN, or what `hf auth login` left.
            skip_pickled: take what is safe of a repository that holds pickled files, instead of refusing it.
            assume_base: take a stock adapter for one of this base, whatever it calls its base.
            run: where, what was typed, and who listens.

        Returns:
            Figures before and after on every domain that can be measured. With `activated` false the new generation was
            written but the old one is still in force, and `refused` says why.

        Raises:
            HubError: it cannot be had, or is not to be trusted.
            ExpertError: it is of another base, or adapts other layers.
            RegistryError: its name is taken, or another writer was first.
        """
        return Arrival(self.store, token, skip_pickled, assume_base, run).pull(reference, name)

    @classmethod
    def pull_mixture(
        cls,
        reference: str,
        path: Path | str,
        *,
        token: str | None = None,
        skip_pickled: bool = False,
        run: Run = Run(),
    ) -> Self:
        """A new registry with a whole generation from the Hub.

        Args:
            reference: ORG/REPO or ORG/REPO@REV.
            path: a new or empty folder.
            token, skip_pickled, run: as for `pull`; it is put together once, to see that it works.

        Raises:
            HubError: it cannot be had, or is not to be trusted.
            RegistryError: the folder is in use.
        """
        restore(
            reference,
            Path(path),
            token=token,
            skip_pickled=skip_pickled,
            run=run,
        )
        return cls(Store.open(path))

    def outdated(self, *, token: str | None = None) -> list[Upstream]:
        """What was pulled into the active generation, beside what its repositories hold now.

        Raises:
            HubError: no repository could be asked.
        """
        return outdated(self.store, token=token)
