"""What each half of the shipped detector knows: EER of the mixture of experts, of the readout, and of both.

    python -m tools.wideband.views data/domains/dev.csv --registry registry

On the first window of every recording, all conditions together. Choose on dev voices. Shapes: N utterances.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molex_adapt.api import Registry, Run
from molex_adapt.data import read
from molex_adapt.errors import DataError
from molex_adapt.features import Features, extract, parts_of
from molex_adapt.metrics import eer

Scores = dict[str, NDArray[np.float64]]


def scores_of(registry: Registry, features: Features) -> Scores:
    """(N,) scores by half.

    Raises:
        DataError: the registry has no readout.
    """
    detector = registry.detector()
    readout = detector.head.readout
    if readout is None:
        raise DataError("this registry has no readout; train one with --set head.readout=true")
    mixture, evidence = (part.double().numpy() for part in parts_of(detector, features))
    told = float(readout.share) * evidence
    return {"mixture": mixture, "readout": told, "both": mixture + told}


def rows(scores: Scores, features: Features) -> Iterator[tuple[str, list[float]]]:
    """Attack, and its EER in per cent by half; then the mean over attacks."""
    real = features.bona_fide.numpy()
    attacks = np.array([name or "" for name in features.attacks])
    found = []
    for attack in sorted(set(attacks[~real])):
        rates = [100 * float(eer(own[real], own[~real & (attacks == attack)])) for own in scores.values()]
        found.append(rates)
        yield attack, rates
    yield "mean", [float(np.mean(column)) for column in zip(*found, strict=True)]


def main() -> None:
    """Read the command line, score, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--registry", type=Path, default=Path("registry"))
    parser.add_argument("--split", default="dev", choices=["dev", "test"])
    options = parser.parse_args()
    registry = Registry.open(options.registry)
    table = read(options.manifest).select(split=options.split)
    features, _ = extract(registry.detector(), table, Run())
    scores = scores_of(registry, features)
    print(f"{'':16}" + "".join(f"{name:>10}" for name in scores))
    for attack, rates in rows(scores, features):
        print(f"{attack:16}" + "".join(f"{rate:10.1f}" for rate in rates))


if __name__ == "__main__":
    main()
