"""Where a figure comes from: the machine that made it, and the code that decided it."""

from __future__ import annotations

import ast
import os
import platform
from collections.abc import Iterable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.plan import ROOT, digest


def code_of(parts: Iterable[str], root: Path = ROOT) -> dict[str, str]:
    """A digest of each part's source; of a part that is not there, the empty text.

    Comments, docstrings and layout do not count, so that wording may change without hours of measuring.

    Args:
        parts: modules or packages by their path, e.g. "molex_adapt/train" or "benchmarks/cost".
        root: folder that the paths begin at.
    """
    return {part: _digest_of(root / part, root) for part in parts}


def changed(codes: Iterable[dict[str, str]], root: Path = ROOT) -> list[str]:
    """Parts whose source is no longer what it was in every one of these."""
    then = [item for code in codes for item in code.items()]
    now = code_of(dict(then), root)
    return sorted({part for part, source in then if source != now[part]})


def machine() -> dict[str, Any]:
    """What figures are measured on."""
    import torch

    from molex_adapt.base.precision import compute_dtype

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "bfloat16": compute_dtype("auto", torch.device("cpu")) == torch.bfloat16,
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }


def today() -> str:
    """As results write it."""
    return date.today().isoformat()


def _digest_of(part: Path, root: Path) -> str:
    module = part.with_suffix(".py")
    files = [module] if module.is_file() else sorted(part.rglob("*.py"))
    if not files:
        return ""
    return digest([[file.relative_to(root).as_posix(), _meaning_of(file.read_text())] for file in files])


@cache
def _meaning_of(source: str) -> Any:
    return _meaning(ast.parse(source))


def _meaning(node: Any) -> Any:
    """A syntax tree as lists, without places, docstrings and what is empty: the same under every version of Python."""
    if isinstance(node, list):
        return [_meaning(item) for item in node if not _is_text(item)]
    if isinstance(node, ast.AST):
        fields = ((name, _meaning(value)) for name, value in ast.iter_fields(node) if value not in (None, []))
        return [type(node).__name__, *fields]
    return repr(node)


def _is_text(node: Any) -> bool:
    """A docstring, of whatever it stands below."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
