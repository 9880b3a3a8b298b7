"""What stands beside an exported detector in detector.json, and reading it without trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from molex_adapt.conventions import EXPORT
from molex_adapt.errors import RegistryError
from molex_adapt.outputs import held_names
from molex_adapt.plain import load_json

DESCRIPTION = EXPORT
ONNX = "detector.onnx"
ONNX_WEIGHTS = "detector.onnx.data"
"""Beside it where weights and graph together are more than its format can hold in one file."""
PROGRAM = "detector.pt2"
CARD = "README.md"
MADE = frozenset((DESCRIPTION, ONNX, ONNX_WEIGHTS, PROGRAM, CARD))

_MOST_BYTES = 2**20
_Text = Annotated[str, Field(max_length=1000)]
_Samples = Annotated[int, Field(ge=1, le=2**40, strict=True)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_AGAIN = "Export it again: molex-adapt export"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Windows(_Part):
    """How long recordings are heard: equal windows, whose scores and shares are averaged by their length."""

    shortest_samples: _Samples
    longest_samples: _Samples
    rule: _Text = (
        "ceil(samples / longest_samples) windows of equal length, those in front one sample longer where it does not "
        "divide; the mean of their scores, weighted by samples"
    )


class ExportedExpert(_Part):
    """An expert, in the order of the output `shares`."""

    name: _Text
    sha256: _Text
    """Of its adapter_model.safetensors."""
    licence: _Text


class Description(_Part):
    """detector.json."""

    kind: Literal["molex-adapt exported detector"] = "molex-adapt exported detector"
    format: Literal[1] = 1
    sample_rate: Literal[16000] = 16000
    input: _Text
    outputs: list[_Text]
    windows: Windows
    threshold: _Number | None
    """Nats; at least this score reads as bona fide."""
    calibration: dict[Literal["scale", "offset"], _Number]
    """score = scale * logit + offset; the output `score` has it already."""
    generation: Annotated[int, Field(ge=0, strict=True)]
    digest: _Text
    """Of the generation's files: sha256 of their own sha256, sorted by name."""
    base: _Text
    experts: list[ExportedExpert]
    merged: bool
    """Whether its single expert was added to the base's weights; else the routers are in the graph."""
    licence: _Text | None
    """Of the experts, where all have the same; that of the base is not known here."""
    opset: int | None
    """Of detector.onnx."""
    program_shortest_samples: int | None = None
    """What detector.pt2 needs at least: torch proves its shapes from so many samples on."""
    files: dict[_Text, _Text]
    """sha256 by name."""
    versions: dict[_Text, _Text]
    unheard: dict[_Text, Any] | None = None
    """How often the threshold refuses real speech of unheard voices, as `score` says it."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """That of a folder.

        Raises:
            RegistryError: it is none, or of another version.
        """
        path = folder / DESCRIPTION
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError(f"more than {_MOST_BYTES} bytes")
            return cls.model_validate(load_json(path.read_bytes()))
        except OSError as error:
            raise RegistryError(f"{path} cannot be read ({error.strerror}). {_AGAIN}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "all of it"
            raise RegistryError(
                f"{path} describes no detector that this version reads: {where}: {first['msg']}. {_AGAIN}"
            ) from None
        except ValueError as error:
            raise RegistryError(f"{path} describes no detector: {error}. {_AGAIN}") from None


def is_exported(folder: Path | str) -> bool:
    """Whether a folder was made by `molex-adapt export`; what it holds beyond the description is not looked at."""
    return (Path(folder) / DESCRIPTION).is_file()


def only_exported(folder: Path) -> bool:
    """Whether a folder holds an exported detector and nothing else, so that another may take its place."""
    if not {DESCRIPTION} <= held_names(folder) <= MADE:
        return False
    try:
        Description.read(folder)
    except RegistryError:
        return False
    return True
