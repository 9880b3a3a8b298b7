"""Where training leaves its state in a registry, so that a run that was killed can go on.

    .checkpoints/<run>/run.json                    what the run is: command, data, recipe, parent generation
    .checkpoints/<run>/<stage>.json                how far a stage is, and the name of its tensors
    .checkpoints/<run>/<stage>-<hash>.safetensors  weights, optimiser, random numbers

Readers of a registry never look here, and `verify --repair` deletes what no living process holds. A stage's tensors are
written under a name of their own; the rename of its JSON file is what makes them its state.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from filelock import BaseFileLock, Timeout
from pydantic import StrictInt, ValidationError

from molex_adapt import atomic
from molex_adapt.digest import sha256
from molex_adapt.errors import RegistryError
from molex_adapt.registry import files, layout
from molex_adapt.registry.lock import LOCK_NAME, file_lock
from molex_adapt.registry.records import Record, Sha256
from molex_adapt.text import short

FORMAT = 1
RUN = "run.json"
RESTART = "Run the command without --resume to start from the beginning."

_MOST_JSON_BYTES = 2**22
_ATTEMPTS = 20
_MOST_SHOWN = 8


class RunRecord(Record):
    """run.json."""

    format: StrictInt
    origin: dict[str, str]
    """Everything that decides the run's result, by what it is called in messages."""


class StageRecord(Record):
    """<stage>.json."""

    format: StrictInt
    tensors: Sha256
    state: dict[str, Any]


R = TypeVar("R", RunRecord, StageRecord)


class RunFolder:
    """One run's folder, held by this process until `release` or `finish`."""

    def __init__(self, root: Path, folder: Path, lock: BaseFileLock) -> None:
        self.root = root
        self.folder = folder
        self._lock = lock
        self.forgone: list[str] = []
        """Stages of a former run that were there and deleted, since nobody asked to go on from them."""

    @classmethod
    def claim(cls, root: Path, origin: Mapping[str, str], *, resume: bool) -> RunFolder:
        """Take the folder of the run that `origin` describes; what a former one left stays only with `resume`.

        Raises:
            RegistryError: the registry cannot be written; another process is at this very run; or, with `resume`, the
                only checkpoints there are those of other runs.
        """
        folder = _home(root) / _name(origin)
        if resume and not folder.is_dir():
            _refuse_other(root, origin)
        try:
            run = cls(root, folder, _locked(root, folder))
            try:
                run._begin(origin, resume)
            except BaseException:
                run.release()
                raise
        except OSError as error:
            raise RegistryError(
                f"registry {root} cannot keep checkpoints: {error.strerror or error}. Training needs a registry that "
                "can be written: check space and permissions there, or work on a copy."
            ) from None
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def write(self, stage: str, tensors: files.Arrays, state: Mapping[str, Any]) -> None:
        """Replace a stage's state; on an OSError the former state is as it was."""
        content = files.dump_tensors(tensors)
        digest = sha256(content)
        atomic.replace_file(self._tensors(stage, digest), content)
        record = StageRecord(format=FORMAT, tensors=digest, state=dict(state))
        atomic.replace_file(self.folder / f"{stage}.json", record.model_dump_json(indent=1).encode())
        for old in self.folder.glob(f"{stage}-*.safetensors"):
            if old != self._tensors(stage, digest):
                old.unlink()

    def read(self, stage: str) -> tuple[files.Arrays, dict[str, Any]] | None:
        """A stage's state; None where it has none. RegistryError where it is damaged."""
        path = self.folder / f"{stage}.json"
        if not path.exists() and not path.is_symlink():
            return None
        record = _read(StageRecord, path, self.root)
        place = self._tensors(stage, record.tensors)
        return files.parse_hashed(files.read_bytes(place, self.root), record.tensors, place), record.state

    @property
    def stages(self) -> list[str]:
        """Names of the stages that have a state."""
        return sorted(path.stem for path in self.folder.glob("*.json") if path.name != RUN)

    def finish(self) -> None:
        """The run's result is in the registry: delete its state."""
        try:
            atomic.discard(self.folder)
            self.folder.parent.rmdir()
        except OSError:
            pass  # other runs are there, or it stays for verify --repair
        self.release()

    def release(self) -> None:
        """Let go of the folder; what it holds stays."""
        self._lock.release()

    def _begin(self, origin: Mapping[str, str], resume: bool) -> None:
        self.forgone = [] if resume else self.stages
        kept = {RUN, LOCK_NAME} if not resume else {path.name for path in self.folder.iterdir()}
        for path in (*self.folder.iterdir(), *atomic.leftovers(self.folder)):
            if path.name not in kept or path.name.startswith(atomic.PREFIX):
                atomic.discard(path)
        if not (self.folder / RUN).exists():
            record = RunRecord(format=FORMAT, origin=dict(origin))
            atomic.replace_file(self.folder / RUN, record.model_dump_json(indent=1).encode())

    def _tensors(self, stage: str, digest: str) -> Path:
        return self.folder / f"{stage}-{digest[:16]}.safetensors"


def clear(root: Path) -> None:
    """Delete the checkpoints of every run that no living process is at."""
    home = root / layout.CHECKPOINTS
    if home.is_symlink() or (home.exists() and not home.is_dir()):
        home.unlink()
    for folder in sorted(home.iterdir()) if home.is_dir() else []:
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink()
            continue
        lock = file_lock(folder / LOCK_NAME)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            atomic.discard(folder)
        finally:
            lock.release()
    if home.is_dir() and not any(home.iterdir()):
        home.rmdir()


def _home(root: Path) -> Path:
    home = root / layout.CHECKPOINTS
    _require_folder(home)
    return home


def _require_folder(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISDIR(mode):
        raise RegistryError(
            f"{path} is a link or a file; a registry keeps checkpoints only inside itself. "
            "Run molex-adapt verify --repair."
        )


def _name(origin: Mapping[str, str]) -> str:
    return sha256(json.dumps(dict(origin), sort_keys=True))[:16]


def _locked(root: Path, folder: Path) -> BaseFileLock:
    for _ in range(_ATTEMPTS):
        _require_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = file_lock(folder / LOCK_NAME)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RegistryError(
                f"another process is training exactly this on registry {root}, with checkpoints in {folder}. "
                "Wait for it, or give the expert another name or the run another seed."
            ) from None
        except FileNotFoundError:  # verify --repair was faster
            continue
        if (folder / LOCK_NAME).exists():
            return lock
        lock.release()
    raise RegistryError(
        f"{folder} is deleted again and again by another process. Find out which, and try again."
    )


def _refuse_other(root: Path, origin: Mapping[str, str]) -> None:
    others = [
        found
        for path in sorted((root / layout.CHECKPOINTS).glob(f"*/{RUN}"))
        if (found := _origin(path, root))
    ]
    if not others:
        return
    differing = [
        [key for key in {**origin, **other} if origin.get(key) != other.get(key)] for other in others
    ]
    nearest, other = min(zip(differing, others, strict=True), key=lambda pair: len(pair[0]))
    faults = "\n".join(
        f"  {key}: {short(other.get(key, 'nothing'), 60)} there, {short(origin.get(key, 'nothing'), 60)} now"
        for key in nearest[:_MOST_SHOWN]
    )
    raise RegistryError(
        f"registry {root} holds no checkpoint of this run; the nearest one is that of another:\n{faults}\n"
        f"Repeat the command that was interrupted, on the same data and registry. {RESTART}"
    )


def _origin(path: Path, root: Path) -> dict[str, str] | None:
    try:
        return _read(RunRecord, path, root).origin
    except RegistryError:
        return None


def _read(kind: type[R], path: Path, root: Path) -> R:
    content = files.read_bytes(path, root, _MOST_JSON_BYTES)
    try:
        record = kind.model_validate_json(content)
    except ValidationError as error:
        raise RegistryError(f"{path} is no checkpoint: {error.errors()[0]['msg']}. {RESTART}") from None
    if record.format != FORMAT:
        raise RegistryError(f"{path} is a checkpoint of another version of molex-adapt. {RESTART}")
    return record
