"""All speech as recordings with one manifest, and what it is: licence, voices, minutes, languages and band by package.

    python -m tools.wideband.catalogue data/speech data/games --out data/real

Reads what `speech.py` wrote. A recording's `band` is up to where its spectrum holds, in Hz; 8000 where no end is found.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import soundfile

from molex_adapt.data.heard import listen
from tools.wideband.corpus import Stretch
from tools.wideband.domains import read_all
from tools.wideband.games import DRASCULA, HEDGEWARS, SKY
from tools.wideband.spectra import RATE

LICENCES = {
    "asterisk-core-sounds-en-g722": "CC-BY-SA 3.0",
    "asterisk-core-sounds-es-g722": "CC-BY-SA 3.0",
    "asterisk-core-sounds-fr-g722": "CC-BY-SA 3.0",
    "asterisk-core-sounds-it-g722": "CC-BY 3.0",
    "asterisk-core-sounds-ru-g722": "CC-BY 3.0",
    "festvox-ru": "BSD-like",
    "fillets-ng-data-cs": "GPL-2",
    "tuxpaint-stamps-default": "GPL-2",
    "klettres-data": "GPL-2 or later",
    "codec2-examples": "LGPL-2.1",
    "pocketsphinx-testdata": "BSD",
    SKY: "the game's own",
    DRASCULA: "the game's own",
    HEDGEWARS: "GFDL-1.3",
}
"""As the packages' copyright files say; weights/README.md has what the last three restrict."""
COLUMNS = ("path", "label", "attack", "speaker", "source", "split", "language", "band", "package")


@dataclass(frozen=True)
class Recording:
    """One utterance on disk, how long it is (seconds), and up to where its spectrum holds (Hz)."""

    row: Stretch
    path: Path
    seconds: float
    band: float


def write(stems: list[Path], out: Path) -> list[Recording]:
    """Every utterance of files of speech as `out`/PACKAGE/NUMBER.wav, and `out`/real.csv.

    Raises:
        DataError: a file is missing or does not fit its rows.
        AudioError: an utterance is silent.
    """
    wave, rows = read_all(stems)
    found, lines = [], []
    for number, row in enumerate(rows):
        path = out / row.package / f"{number:05d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave[row.offset : row.offset + row.length].numpy(), RATE, subtype="PCM_16")
        band = listen(path)[1].band_hz
        found.append(Recording(row, path, row.length / RATE, band))
        known = row.voice, row.source, row.part, row.language, round(band), row.package
        lines.append((path.relative_to(out), "bonafide", "", *known))
    with (out / "real.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(lines)
    return found


def table(items: list[Recording]) -> Iterator[str]:
    """Lines, a package each, and all together."""
    packages: dict[str, list[Recording]] = defaultdict(list)
    for item in items:
        packages[item.row.package].append(item)
    yield f"{'package':30} {'licence':15}{'clips':>6} {'minutes':>7} {'voices':>6} {'languages':>9} {'band':>5}"
    for name, group in [*packages.items(), ("all", items)]:
        minutes = sum(item.seconds for item in group) / 60
        voices = len({item.row.voice for item in group})
        languages = len({item.row.language for item in group})
        band = median(item.band for item in group)
        counts = f"{len(group):6d} {minutes:7.1f} {voices:6d} {languages:9d} {band:5.0f}"
        yield f"{name:30} {LICENCES.get(name, ''):15}{counts}"
    for part in ("train", "dev", "test"):
        group = [item for item in items if item.row.part == part]
        hours = sum(item.seconds for item in group) / 3600
        voices, languages = (
            len({getattr(item.row, name) for item in group}) for name in ("voice", "language")
        )
        yield f"{part}: {len(group)} utterances, {voices} voices, {languages} languages, {hours:.2f} h"


def main() -> None:
    """Read the command line, write, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("speech", type=Path, nargs="+", help="speech.npy and speech.json without suffix")
    parser.add_argument("--out", type=Path, required=True, help="folder for recordings and real.csv")
    options = parser.parse_args()
    print("\n".join(table(write(options.speech, options.out))))


if __name__ == "__main__":
    main()
