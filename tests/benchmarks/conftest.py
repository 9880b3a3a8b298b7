"""Recordings and manifests as tools.wideband.domains writes them, small."""

from __future__ import annotations

import csv
import shutil

import pytest


@pytest.fixture(scope="session")
def domains_of(recorded):
    """Write recordings and copies by some attacks, a manifest of each; those of some splits twice, alike."""

    def write(folder, attacks, sizes, voices=3, twice=("test",)):
        splits = [split for split, count in sizes.items() for _ in range(count)]
        recorded(folder, bona_fide=len(splits), **dict.fromkeys(attacks, len(splits)))
        for name in ("bonafide", *attacks):
            place = name if name == "bonafide" else f"spoof/{name}"
            with (folder / f"{name}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["path", "label", "attack", "speaker", "source", "split", "condition"])
                for at, split in enumerate(splits):
                    label, attack = ("bonafide", "") if name == "bonafide" else ("spoof", name)
                    path = f"{place}/{name}{at:03}.wav"
                    writer.writerow([path, label, attack, f"{split}{at % voices}", f"s{at}", split, "none"])
                    if split in twice:
                        again = shutil.copy(folder / path, folder / place / f"again{at:03}.wav")
                        writer.writerow(
                            [again, label, attack, f"{split}{at % voices}", f"s{at}", split, "drawn"]
                        )
        return folder

    return write
