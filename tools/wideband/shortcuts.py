"""Whether something other than the attack gives the answer away: length, level, band, silence, quality, the spectrum.

    python -m tools.wideband.shortcuts data/domains --part dev
    pip install --no-deps distillmos==0.9.1 xls-r-sqa==0.1.0
    python -m tools.wideband.shortcuts data/domains --part dev --quality --most 200

Every probe is one number of a recording, or for the average spectrum a linear classifier of 64 of them, trained on
four fifths of the recordings and tested on the last, five times; recordings of one source are on one side. The EER is
that of the better direction. Below `EVIDENCE` an attack's figures say little of a detector: the set, or its
conditions, should be mended.

Shapes: T samples, N recordings, K bands.
"""

from __future__ import annotations

import argparse
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.data import Table, Utterance
from molex_adapt.data.heard import listen
from molex_adapt.digest import sha256
from molex_adapt.errors import AudioError
from molex_adapt.low_level import POWER, Spectrum
from molex_adapt.metrics import eer
from molex_adapt.simulate.shaping import trimmed
from tools.wideband.domains import of_part

EVIDENCE = 0.2
"""Least EER of every probe; below it, the attack is no evidence."""
NUMBERS = ("duration", "speech", "level", "band", "ends")
BANDS = slice(2 * 257, 2 * 257 + 64)
"""Where the mean log power of 64 bands stands among the statistics of the low-level view."""
FOLDS = 5
PENALTY = 1e-2

Floats = NDArray[np.float64]
Judge = Callable[[Floats], float]


def distillmos() -> Judge:
    """From samples at 16 kHz to the quality that DistillMOS hears, 1 to 5 (Stahl and Gamper, arXiv 2502.05356).

    Raises:
        SystemExit: the package is missing.
    """
    # Its command line alone needs torchaudio, which breaks transformers where its version is not that of torch.
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    try:
        model = import_module("distillmos").ConvTransformerSQAModel().eval()
    except ImportError:
        raise SystemExit(
            "--quality needs: pip install --no-deps distillmos==0.9.1 xls-r-sqa==0.1.0"
        ) from None

    @torch.no_grad()
    def judge(wave: Floats) -> float:
        return float(model(torch.from_numpy(wave).float()[None]))

    return judge


def measured(item: Utterance, spectrum: Spectrum, judge: Judge | None = None) -> tuple[Floats, Floats]:
    """The numbers of a recording in the order of `NUMBERS`, its quality by a judge, and its average spectrum (K,).

    Raises:
        AudioError: it cannot be read, or is silent.
    """
    wave, heard = listen(item.path)
    ends = (wave.size - trimmed(wave).size) / SAMPLE_RATE
    numbers = [wave.size / SAMPLE_RATE, heard.speech_seconds, heard.level_dbfs, heard.band_hz, ends]
    numbers += [] if judge is None else [judge(wave)]
    found = spectrum(torch.from_numpy(wave)[None], torch.tensor([wave.size]))[0, BANDS]
    return np.array(numbers), found.double().numpy()


def either_way(real: Floats, forged: Floats) -> float:
    """The EER of the better direction; a fraction of at most one half."""
    rate = float(eer(real, forged, ties="step"))
    return min(rate, float(eer(-real, -forged, ties="step")), 0.5)


def by_spectrum(spectra: Floats, real: NDArray[np.bool_], sources: list[str]) -> float:
    """The EER of a linear classifier of (N, K) average spectra on recordings that it did not learn from."""
    fold = np.array([int(sha256(source)[:8], 16) % FOLDS for source in sources])
    scores = np.zeros(len(real))
    for left_out in range(FOLDS):
        train = fold != left_out
        centre, spread = spectra[train].mean(0), spectra[train].std(0) + 1e-6
        rows = np.concatenate([(spectra - centre) / spread, np.ones((len(real), 1))], axis=1)
        weights = np.where(real, 0.5 / real[train].sum(), 0.5 / (~real[train]).sum())[train]
        weighted = rows[train] * weights[:, None]
        gram = rows[train].T @ weighted + PENALTY * np.eye(rows.shape[1])
        solved = np.linalg.solve(gram, weighted.T @ np.where(real[train], 1.0, -1.0))
        scores[~train] = rows[~train] @ solved
    return float(eer(scores[real], scores[~real]))


def at_most(items: Iterator[Utterance], most: int | None) -> Iterator[Utterance]:
    """The first recordings of real speech and of every attack, in an order that says nothing."""
    taken: Counter[str | None] = Counter()
    for item in sorted(items, key=lambda item: sha256(item.path.name)):
        taken[item.attack] += 1
        if most is None or taken[item.attack] <= most:
            yield item


def probes(table: Table, judge: Judge | None = None) -> Iterator[tuple[str, dict[str, float]]]:
    """Attack, and the EER of every probe; recordings that cannot be read are named and left out."""
    spectrum, kept, numbers, spectra = Spectrum(POWER), [], [], []
    for item in table:
        try:
            found = measured(item, spectrum, judge)
        except AudioError as error:
            print(f"left out: {error}", flush=True)
            continue
        kept.append(item)
        numbers.append(found[0])
        spectra.append(found[1])
    values, averages = np.stack(numbers), np.stack(spectra)
    real = np.array([item.attack is None for item in kept])
    attacks = np.array([item.attack or "" for item in kept])
    for attack in sorted(set(attacks[~real])):
        forged = attacks == attack
        names = (*NUMBERS, "quality")[: values.shape[1]]
        rates = {name: either_way(values[real, at], values[forged, at]) for at, name in enumerate(names)}
        both = real | forged
        sources = [item.source for item, own in zip(kept, both, strict=True) if own]
        rates["spectrum"] = by_spectrum(averages[both], real[both], sources)
        yield attack, rates


def main() -> None:
    """Read the command line, listen, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "domains", type=Path, nargs="+", help="folders of manifests; of sets of one name, the last counts"
    )
    parser.add_argument("--part", default="dev", choices=["train", "dev", "test"])
    parser.add_argument(
        "--quality", action="store_true", help="judged by DistillMOS, a third of a second each"
    )
    parser.add_argument("--most", type=int, help="recordings of real speech, and of every attack")
    options = parser.parse_args()
    # What stands in two manifests counts once.
    items = {item.path: item for item in of_part(options.domains, options.part)}
    table = Table(tuple(at_most(iter(items.values()), options.most)), str(options.domains[0]))
    names: list[str] = []
    for attack, rates in probes(table, distillmos() if options.quality else None):
        if not names:
            names = list(rates)
            print(f"{'':16}" + "".join(f"{name:>10}" for name in names))
        weak = " <- no evidence" if min(rates.values()) < EVIDENCE else ""
        print(f"{attack:16}" + "".join(f"{100 * rates[name]:10.1f}" for name in names) + weak, flush=True)


if __name__ == "__main__":
    main()
