#!/usr/bin/env bash
# Build the sdist, the wheel from nothing but the sdist, and install that in a new environment, with all that it needs and
# nothing else; then begin a registry far from any checkout, make an attack, learn it and analyse it.
#
#     tools/wheel_check.sh python3 .venv/bin/python   # an interpreter for the new environment; one that has hatchling
#
# Takes minutes, most of them for torch. dist/ keeps both packages. The speech is noise in the rhythm of syllables: what is
# checked is that the commands run, not what they find.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$1
builder=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset PYTHONPATH PYTHONHOME MOLEX_REGISTRY MOLEX_CACHE
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

cd "$checkout"
rm -rf dist
"$builder" -m hatchling build -t sdist -d dist
"$builder" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
wheel=$(echo "$checkout"/dist/*.whl)

cd "$folder"
"$python" -m venv new
new/bin/pip install --quiet --constraint "$checkout/constraints.txt" "$wheel"
export PATH=$folder/new/bin:$PATH MOLEX_REGISTRY=$folder/registry MOLEX_CACHE=$folder/cache
python - <<'PYTHON'
from pathlib import Path

import numpy as np
import soundfile

import molex_adapt

assert Path(molex_adapt.__file__).is_relative_to(Path.cwd()), molex_adapt.__file__
Path("speech").mkdir()
time = np.arange(24_000) / 16_000
for number in range(48):
    chance = np.random.default_rng(number)
    rhythm = 0.6 + 0.4 * np.sin(2 * np.pi * chance.uniform(3, 5) * time + chance.uniform(0, 6))
    noise = np.convolve(chance.standard_normal(len(time)), np.ones(6) / 6, "same")
    soundfile.write(f"speech/{number:02}.wav", 0.1 * rhythm * noise, 16_000)
PYTHON
molex-adapt init embedded
molex-adapt simulate lpc speech/ data/
molex-adapt add-expert --domain noise_lpc data/ --set expert.steps=10 --accept
molex-adapt analyze data/
molex-adapt verify
echo "$(basename "$wheel"): init, simulate, add-expert, analyze and verify done in a new environment"
