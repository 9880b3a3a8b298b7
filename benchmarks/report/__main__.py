"""RESULTS.md out of results/*.json.

python -m benchmarks.report
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.report import costs, detection

PAGE = Path(__file__).parents[1] / "RESULTS.md"


def main() -> None:
    """Write the page."""
    parts = [
        "# Measured\n",
        (
            "Made by `python -m benchmarks.report` from `benchmarks/results/*.json`; the command above each "
            "table made its JSON. EER in per cent on test recordings that no training heard; of several seeds, the "
            "median, and all seeds in brackets.\n"
        ),
        *detection.base(),
        *detection.pretraining(),
        *detection.adaptation(),
        *detection.held_out(),
        *detection.sequences(),
        *detection.probes(),
        *costs.speed(),
        *costs.startup(),
        *costs.cost(),
        *costs.crossover(),
        *costs.compiled(),
        *costs.training(),
    ]
    PAGE.write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
