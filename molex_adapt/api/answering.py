"""What a registry tells of recordings; it stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from molex_adapt.api.open_registry import OpenRegistry
from molex_adapt.decision import EVEN_PRIOR, MOST_ERROR, DecisionRule
from molex_adapt.errors import DataError, ExpertError
from molex_adapt.run import Run

if TYPE_CHECKING:
    from molex_adapt.api.inputs import Data
    from molex_adapt.conventions import Split
    from molex_adapt.data import Table
    from molex_adapt.findings import Handovers, Novelty, Timeline
    from molex_adapt.metrics import Ties
    from molex_adapt.recipe import Recipe
    from molex_adapt.reports import Analysis, EvaluationReport, ExportReport, ScoreReport
    from molex_adapt.trialfile import Trials


class Answering(OpenRegistry):
    """Scores, measures and explains."""

    def score(
        self,
        inputs: Sequence[Path | str] | Path | str | Table,
        *,
        prior: float = EVEN_PRIOR,
        error: float | None = MOST_ERROR,
        journal: Path | None = None,
        run: Run = Run(),
    ) -> ScoreReport:
        """Score files, and folders of files, of up to two hours each and any format.

        Args:
            inputs: paths, or a table; folders are searched.
            prior: probability of bona fide speech before listening; the reported probabilities rest on it.
            error: nothing is decided where a decision would be wrong with more than this probability, nor outside
                what the detector learnt from; None decides in every case. See `decision`.
            journal: a file that keeps every score as soon as it is there, for `run.resume`; the caller deletes it.
            run: device, precision, decoding threads, cache, listener, resuming.

        Returns:
            Log-likelihood ratios in nats, higher is more bona fide, with what was heard in each recording and remarks
            where it lies outside what the detector learnt from. What cannot be scored is in `failed`: also silence, and
            recordings with a dead channel or channels in anti-phase.

        Raises:
            DataError: nothing to score; a prior or an error that is none; or a journal of something else.
        """
        from molex_adapt.api.inputs import recordings
        from molex_adapt.api.scoring import active_source, score

        source = active_source(self.store, self.detector, run)
        rule = DecisionRule(source.threshold, prior, error)
        return score(source, recordings(inputs), rule, journal, run)

    def export(
        self,
        out: Path | str,
        *,
        generation: int | None = None,
        formats: Sequence[Literal["onnx", "torch"]] = ("onnx",),
        run: Run = Run(),
    ) -> ExportReport:
        """Write a generation's detector as files that need no registry: waveform in, score out.

        They are compared with the generation on drawn signals first; `Exported` scores with them, without torch.

        Args:
            out: a new or empty folder, or one that holds an earlier export.
            generation: None for the active one.
            formats: "onnx" is detector.onnx, "torch" is detector.pt2 by torch.export.
            run: its listener; all is computed on the CPU in float32.

        Raises:
            DataError: the folder holds something else, or cannot be written.
            RecipeError: ONNX is not installed.
            MolexError: a score differs by more than 1e-4; nothing is written.
        """
        from molex_adapt.api.exporting import export

        return export(self.store, Path(out), generation, formats, run)

    def evaluate(
        self,
        data: Data,
        *,
        split: Split | None = None,
        recipe: Recipe | None = None,
        ties: Ties = "asvspoof5",
        trials: Trials | None = None,
        curves: bool = False,
        run: Run = Run(),
    ) -> EvaluationReport:
        """Score labelled data and measure: overall, per attack, per condition, and per attack in each condition.

        Args:
            data: a folder, manifest, protocol or table with both classes.
            split: only this split of it, divided as training divides where the data does not say.
            recipe: decides how the data is divided; the active generation's by default.
            ties: what becomes of equal scores, see `metrics.Ties`; the default gives the ASVspoof 5 package's figures.
            trials: of speaker verification, from `trialfile.read_trials`, for a-DCF, t-DCF and t-EER.
            curves: also keep what `plots.write_plots` draws.
            run: as for `score`.

        Raises:
            DataError: a class is missing, nothing can be scored, or the trials are of other recordings.
        """
        from molex_adapt.api.inputs import table_of
        from molex_adapt.api.measuring import evaluate
        from molex_adapt.data import assign_splits

        record = self.store.generation()
        table = table_of(data)
        if split is not None:
            options = self.recipe(recipe).data
            table = assign_splits(table, fractions=options.fractions, by=options.split_by).select(split=split)
        table.require_both_classes("evaluation")
        detector = self.detector(record.number, run=run)
        report = evaluate(detector, table, self.store, record, ties, run, trials=trials, curves=curves)
        return replace(report, generation=record.number)

    def analyze(self, data: Data | None = None, *, ablate: bool = False, run: Run = Run()) -> Analysis:
        """Which experts act for which attack, of labelled recordings or else of the experts' own check exemplars.

        Those were analysed when the generation was made, and are not computed anew; but for a generation that was
        written before its record kept them by block.

        Args:
            data: a folder, manifest, protocol or table.
            ablate: switch every expert off as well, on a sample of the data; verdicts on attacks need it.
            run: as for `score`.

        Raises:
            DataError: nothing to look at.
        """
        record = self.store.generation()
        if data is None:
            from molex_adapt.api.profile import stored_analysis

            kept = stored_analysis(record)
            if kept is not None:
                return kept
        from molex_adapt.api.inputs import table_of
        from molex_adapt.api.measuring import analyse_data, analyse_exemplars

        detector = self.detector(record.number, run=run)
        if data is None:
            found = analyse_exemplars(detector, self.store, record.number)
        else:
            found = analyse_data(detector, table_of(data), ablate, run)
        return replace(found, generation=record.number, threshold=record.threshold)

    def novelty(
        self,
        inputs: Sequence[Path | str] | Path | str | Table,
        *,
        known: Data | None = None,
        run: Run = Run(),
    ) -> Novelty:
        """How much of recordings without labels is unlike anything known; a label that is there is not read.

        Args:
            inputs: paths, or a table; folders are searched.
            known: labelled recordings of known domains; without them, the experts' exemplars.
            run: as for `score`.

        Raises:
            DataError: nothing can be used, or too little is known.
            ExpertError: the mixture has no experts.
        """
        from molex_adapt.api.measuring import measure_novelty

        return measure_novelty(self.store, self.detector, inputs, known, run)

    def compare(self, other: int, data: Data | None = None, *, run: Run = Run()) -> Handovers:
        """The active generation beside another: what the newer one's experts took over from those of the older one.

        Args:
            other: number of a generation.
            data: labelled recordings that both score; without it, the profiles that their records keep.
            run: as for `score`.

        Raises:
            RegistryError: there is no such generation.
            DataError: it is the active one itself, or there is nothing to compare.
            ExpertError: one of them has no experts.
        """
        from molex_adapt.api.comparing import compare_on, compare_records

        records = sorted(
            (self.store.generation(), self.store.generation(other)), key=lambda item: item.number
        )
        if records[0].number == records[1].number:
            raise DataError(
                f"generation {other} is the active one; name another to compare it with (molex-adapt history)"
            )
        for record in records:
            if not record.names:
                raise ExpertError(
                    f"generation {record.number} has no experts to compare; molex-adapt history shows which have"
                )
        if data is None:
            return compare_records(*records)
        from molex_adapt.api.inputs import table_of

        return compare_on(self.store, records[0], records[1], table_of(data), run)

    def timeline(self, recording: Path | str, *, run: Run = Run()) -> Timeline:
        """Score one recording window by window, and find the stretch that speaks most against it.

        Args:
            recording: an audio file of up to two hours and any format.
            run: device, precision.

        Raises:
            AudioError: it cannot be read, is too short, or is what `score` does not score.
            ExpertError: the mixture has no experts.
        """
        from molex_adapt.analysis.timeline import timeline

        record = self.store.generation()
        found = timeline(self.detector(record.number, run=run), Path(recording))
        return replace(found, threshold=record.threshold, generation=record.number)

    def write_report(self, report: Analysis, out: Path | str) -> None:
        """Write an analysis as a page, figures and tables; beside it stands what the last expert changed.

        Args:
            report: of this registry.
            out: a new folder, or one that an earlier analysis was written to.

        Raises:
            DataError: the folder holds something else, or cannot be written.
            RecipeError: Altair or vl-convert is not installed.
        """
        from molex_adapt.analysis.files import write_report
        from molex_adapt.analysis.last import last_expert

        write_report(report, Path(out), last_expert(self.store.history(), report.generation))
