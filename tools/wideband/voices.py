"""What the shipped detector does on test voices: EER by attack and condition, and real recordings refused by voice.

    python -m tools.wideband.voices data/domains data/spoken data/converted --registry registry

Reads the manifests that `domains.py`, `spoken_prompts.py` and `conversion.py` wrote. Test voices are for reports:
choose on dev voices, by --part dev.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from molex_adapt.api import Registry
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.data import Table, Utterance
from molex_adapt.errors import DataError
from molex_adapt.metrics import measure
from tools.wideband.domains import of_part

Scored = tuple[Utterance, float]


def table(scored: list[Scored], threshold: float) -> Iterator[str]:
    """Lines of one condition; rates in per cent, at the threshold as in the bootstrap intervals.

    Raises:
        DataError: no bona fide recording.
    """
    real = [score for item, score in scored if item.label == BONA_FIDE]
    if not real:
        raise DataError(
            "no bona fide recording was scored. Expected bonafide.csv beside the attacks' manifests"
        )
    yield f"{len(real)} real recordings, refused {_share([score < threshold for score in real])}"
    voices: dict[str, list[bool]] = defaultdict(list)
    attacks: dict[str, list[float]] = defaultdict(list)
    for item, score in scored:
        if item.label == BONA_FIDE:
            voices[item.speaker or "unknown"].append(score < threshold)
        else:
            attacks[item.attack or "unknown"].append(score)
    yield ", ".join(
        f"{voice} {_share(refused)} of {len(refused)}" for voice, refused in sorted(voices.items())
    )
    for attack, scores in sorted(attacks.items()):
        rates = measure(real, scores, ties="step")
        low, high = (100 * edge for edge in rates.eer_ci)
        accepted = _share([score >= threshold for score in scores])
        yield f"{attack}: EER {100 * rates.eer:.1f} [{low:.1f}, {high:.1f}], accepted {accepted} of {len(scores)}"


def _share(hits: list[bool]) -> str:
    return f"{100 * sum(hits) / len(hits):.1f}"


def main() -> None:
    """Read the command line, score, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "domains", type=Path, nargs="+", help="folders of manifests; of sets of one name, the last counts"
    )
    parser.add_argument("--registry", type=Path, default=Path("registry"))
    parser.add_argument("--part", default="test", choices=["dev", "test"])
    options = parser.parse_args()
    chosen = of_part(options.domains, options.part)
    report = Registry.open(options.registry).score(Table(tuple(chosen), str(options.domains[0])))
    assert report.threshold is not None, "the shipped registry has a threshold"
    score_of = {item.path: item.score for item in report.scores}
    for condition in sorted({item.condition or "" for item in chosen}):
        of_it = [
            item for item in chosen if (item.condition or "") == condition and str(item.path) in score_of
        ]
        print(f"\n{condition}:")
        print("\n".join(table([(item, score_of[str(item.path)]) for item in of_it], report.threshold)))


if __name__ == "__main__":
    main()
