"""The record `simulate.yaml` in an output folder: what made it, and whether a run may go on there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from molex_adapt.atomic import replace_file
from molex_adapt.data.manifest import MANIFEST
from molex_adapt.errors import DataError
from molex_adapt.outputs import Kind, check_file, check_folder
from molex_adapt.plain import dump_yaml, for_yaml, load_yaml
from molex_adapt.simulate.attack import Attack
from molex_adapt.simulate.condition import Condition
from molex_adapt.text import shown
from molex_adapt.version import __version__

RECORD = "simulate.yaml"
LIST = "manifest.csv"
"""What was made; written last."""
SIMULATED = Kind("a folder that simulate made", lambda path: (path / RECORD).is_file())
_FORMAT = 2
_REMARK = (
    "# Made by `molex-adapt simulate`; the same attack, conditions and seed give the same files again.\n"
)


def claim(
    out: Path,
    *,
    attack: Attack,
    conditions: Sequence[Condition],
    seed: int,
    bona_fide: bool,
    made_of: Mapping[str, str | int],
    inputs: Iterable[Path] = (),
) -> None:
    """Make `out` and its record, or find that a former run with the same parameters made it.

    Args:
        out: the folder.
        attack, conditions, seed, bona_fide: decide whether a run may go on there.
        made_of: what else to note; may change from run to run, but for the folder (`speech`) of other `data`.
        inputs: what is read; `out` must lie apart from it.

    Raises:
        DataError: `out` holds something else, cannot be written, overlaps with an input, or was made with other
            parameters (each difference is named) or of other speech, whose files may have the same names.

    Source: own.
    """
    wanted = for_yaml(
        {
            "format": _FORMAT,
            "attack": attack.name,
            "parameters": attack.model_dump(mode="json"),
            "conditions": [condition.record() for condition in conditions],
            "seed": seed,
            "bona_fide": bona_fide,
        }
    )
    check_folder(out, SIMULATED, inputs)
    record = out / RECORD
    if record.exists():
        found = _load(record)
        _compare(found, wanted, record)
        _require_same_speech(found, made_of, record)
        check_file(out / LIST, MANIFEST)
    out.mkdir(parents=True, exist_ok=True)
    written = for_yaml({**wanted, **made_of, "made_with": f"molex-adapt {__version__}"})
    replace_file(record, (_REMARK + dump_yaml(written)).encode())


def _load(record: Path) -> dict[str, Any]:
    try:
        found = load_yaml(record.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(
            f"{record} cannot be read ({error}). Expected YAML as simulate writes it; choose another folder."
        ) from error
    if not isinstance(found, dict):
        raise DataError(
            f"{record} holds no mapping. Expected YAML as simulate writes it; choose another folder."
        )
    return found


def _compare(found: dict[str, Any], wanted: dict[str, Any], record: Path) -> None:
    differences = [
        f"{key}: there {shown(found.get(key))}, now {shown(value)}"
        for key, value in wanted.items()
        if found.get(key) != value
    ]
    if differences:
        raise DataError(
            f"{record.parent} was made with other parameters ({'; '.join(differences)}). Expected the same ones to go "
            "on, or a new folder; choose another."
        )


def _require_same_speech(found: Mapping[str, Any], made_of: Mapping[str, str | int], record: Path) -> None:
    """Refuse recordings of another place that are not the same ones; those of one place may become more."""
    there, here = (str(each.get("speech")) for each in (found, made_of))
    if found.get("data") != made_of.get("data") and Path(there).resolve() != Path(here).resolve():
        raise DataError(
            f"{record.parent} was made of the speech in {shown(there)}, not of {shown(here)}: files of the same name "
            "would pass for copies of other recordings. Choose another folder."
        )
