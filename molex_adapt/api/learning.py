"""What gives a registry its next generation: training, another threshold, an expert from the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from molex_adapt.api.open_registry import OpenRegistry
from molex_adapt.errors import RecipeError, RegistryError
from molex_adapt.run import Run

if TYPE_CHECKING:
    from molex_adapt.api.inputs import Data
    from molex_adapt.recipe import Recipe
    from molex_adapt.reports import PullReport, StageReport, ThresholdReport


class Learning(OpenRegistry):
    """Writes generations."""

    def train(
        self,
        data: Data,
        *,
        domain: str | None = None,
        experts: int | Sequence[str] = 1,
        recipe: Recipe | None = None,
        licence: str = "other",
        readout_only: bool = False,
        run: Run = Run(),
    ) -> StageReport:
        """Train the first mixture of an empty registry: experts, routers and head together.

        On a published detector its head stays as it is.

        Args:
            data: a folder, manifest, protocol or table.
            domain: what the experts are for; they are named after it. None with `PER_ATTACK` alone.
            experts: how many share the data among themselves, or their names; or `PER_ATTACK` for one per attack in
                the data, whose name and domain are the attack's and which that attack is sent to in training.
            recipe: decides the result, with the data and the run's seed, device and precision.
            licence: of the experts, for their cards.
            readout_only: train no expert: the readout alone learns, in closed form. One with closed gates stands for
                each.
            run: all of it counts. What is resumed ends as a run that never stopped.

        Raises:
            RegistryError: there is a mixture already; or the only checkpoints there are those of another run.
            DataError: the data cannot be used.
            RecipeError: domain and number of experts do not go together; or several of one domain, and none is trained.
        """
        from molex_adapt.api.inputs import expert_names, with_readout
        from molex_adapt.api.outcome import write_generation
        from molex_adapt.api.training import Training, by_domain, require_domains
        from molex_adapt.train.adapt import train_first

        self.store.require_writable()
        self._require_empty()
        names = expert_names(domain, experts)
        if readout_only:
            if len(names) > 1:
                raise RecipeError(
                    f"{len(names)} experts cannot share {domain} where none is trained: the readout alone takes one of "
                    "the domain, or one for each attack"
                )
            recipe = with_readout(recipe)
        training = Training.begin(self.store, self.store.active, recipe, licence, run)
        training.require_free(names)
        whole = training.prepare(data) if names else training.prepare(data, require_domains)
        domains = {str(domain): whole} if names else by_domain(whole)
        owners = {name: (name, item) for name, item in domains.items()}
        if names:
            owners = dict.fromkeys(names, (str(domain), whole))
        training.require_free(owners)
        training.asked["readout only"] = str(readout_only)
        with training.checkpoints("train", owners) as kept:
            result = train_first(
                training.detector, domains, training.recipe, run, names, kept, readout_only=readout_only
            )
            return write_generation(training, result, owners)

    def add_expert(
        self,
        data: Data,
        *,
        domain: str,
        name: str | None = None,
        recipe: Recipe | None = None,
        licence: str = "other",
        check: Sequence[Data] = (),
        accept: bool = False,
        if_needed: bool = False,
        readout_only: bool = False,
        run: Run = Run(),
    ) -> StageReport:
        """Add one expert for a new domain; every old one stays bit-identical. Empty registries get a head as well.

        Args:
            data: a folder, manifest, protocol or table of the new domain.
            domain: what the expert is for.
            name: of the expert; the domain's by default.
            recipe: training options; the structure is that of the active generation.
            check: labelled recordings of old domains, which are measured on these before and after; nothing learns
                from them.
            accept: activate the new generation whatever was found.
            if_needed: train no expert where the readout alone solves the domain; one with closed gates stands for it.
            readout_only: train none at all: the readout alone learns the domain, in closed form, in seconds.
            licence, run: as for `train`.

        Returns:
            Figures before and after on the new and on every old domain. With `activated` false the new generation was
            written but the old one is still in force, and `refused` says why.

        Raises:
            RegistryError: the name is taken, or another writer was first.
            DataError: the data cannot be used.
        """
        from molex_adapt.api.inputs import check_name, table_of
        from molex_adapt.api.outcome import write_generation
        from molex_adapt.api.training import Training
        from molex_adapt.train.adapt import add_expert
        from molex_adapt.train.withdrawal import require_readout

        self.store.require_writable()
        name = check_name(name or check_name(domain, "domain"), "expert")
        active = self.store.active
        tables = [table_of(item) for item in check]  # before the features of all others
        if active is None:
            report = self.train(
                data,
                domain=domain,
                experts=[name],
                recipe=recipe,
                licence=licence,
                readout_only=readout_only,
                run=run,
            )
            given = {"--check": tables, "--accept": accept, "--if-needed": if_needed}
            idle = " and ".join(option for option, value in given.items() if value)
            told = [f"the registry was empty, and there was nothing for {idle} to decide"] if idle else []
            return replace(report, remarks=[*report.remarks, *told])
        training = Training.begin(self.store, active, recipe, licence, run, domain)
        training.require_free([name])
        if readout_only:
            require_readout(training.detector)
        prepared = training.prepare(data)
        for table in tables:
            training.check_on(table, domain)
        owners = {name: (domain, prepared)}
        training.asked |= {
            "accept": str(accept),
            "if needed": str(if_needed),
            "readout only": str(readout_only),
        }
        if active.is_published:
            training.remarks.append(
                "nothing is kept of what the published detector learnt: what the expert does to it there is not "
                "measured. molex-adapt evaluate says it, on data of yours"
            )
        with training.checkpoints("add-expert", owners) as kept:
            result = add_expert(
                training.detector,
                name,
                domain,
                prepared,
                training.old,
                active.threshold,
                training.recipe,
                run,
                kept,
                accept=accept,
                if_needed=if_needed,
                readout_only=readout_only,
            )
            return write_generation(training, result, owners, accept)

    def retrain_router(
        self,
        data: Sequence[Data] | Data = (),
        *,
        recipe: Recipe | None = None,
        accept: bool = False,
        run: Run = Run(),
    ) -> StageReport:
        """Router stage alone, on the experts' exemplars and further data.

        Args:
            data: folders, manifests or tables; an attack named like an expert's domain is led to that expert.
            recipe, accept, run: as for `add_expert`.
        """
        from molex_adapt.api.inputs import several
        from molex_adapt.api.outcome import write_generation
        from molex_adapt.api.training import Training, by_domain_of_all, require_domains
        from molex_adapt.train.adapt import retrain_routers

        self.store.require_writable()
        active = self.store.generation()
        training = Training.begin(self.store, active, recipe, "other", run)
        domains = by_domain_of_all([training.prepare(item, require_domains) for item in several(data)])
        training.asked["accept"] = str(accept)
        with training.checkpoints("retrain-router", {}) as kept:
            result = retrain_routers(
                training.detector, domains, training.old, active.threshold, training.recipe, run, kept
            )
            return write_generation(training, result, {}, accept)

    def set_threshold(
        self, data: Data, *, refused: float = 0.03, new_voices: bool = False, run: Run = Run()
    ) -> ThresholdReport:
        """Choose the threshold on real speech of the place of use; a new generation has it, and all else as before.

        Args:
            data: a data set, or any folder, which then counts as real speech throughout.
            refused: the largest share of the real recordings that the threshold may refuse, at least 0, below 0.5.
            new_voices: hold that share for voices that are not among them too: with 95 % confidence, from how its
                voices differ. Takes eight named ones.
            run: as for `score`.

        Raises:
            DataError: too few recordings can be scored to tell such a share, or too few voices are named.
        """
        from molex_adapt.api.thresholding import change_threshold
        from molex_adapt.data import Table
        from molex_adapt.simulate import speech_of

        self.store.require_writable()
        table = data if isinstance(data, Table) else speech_of(Path(data))
        detector = self.detector(run=run)
        return change_threshold(detector, self.store, table, refused, new_voices, run)

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
        from molex_adapt.api.arriving import Arrival
        from molex_adapt.api.inputs import check_name
        from molex_adapt.hub import find_expert

        if name is not None:
            check_name(name, "expert")
        self.store.require_writable()  # before anything is downloaded
        found = find_expert(reference, token=token, skip_pickled=skip_pickled, progress=run.progress)
        return Arrival(self.store, found, name, assume_base, run).pull()

    def _require_empty(self) -> None:
        active = self.store.active
        if active is None or active.is_published:
            return
        if self.store.base.published is not None and not active.names:
            raise RegistryError(
                f"generation {active.number} of registry {self.store.path} is the published detector with another "
                "threshold, and training begins from the detector itself: molex-adapt rollback 0, then train, then "
                "choose the threshold again (set-threshold)"
            )
        raise RegistryError(
            f"registry {self.store.path} has a mixture already (generation {active.number}); add to it "
            "with molex-adapt add-expert, or start another with molex-adapt init BASE --registry OTHER"
        )
