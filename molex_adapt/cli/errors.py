"""The one error table: what a user reads, and the exit status, for everything that may go wrong."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.text import Text

from molex_adapt.cli.terminal import terminal
from molex_adapt.errors import MolexError

FAILED = 1
INTERRUPTED = 130

_DISK = {
    errno.ENOSPC: "the disk is full; make room and run the same command again",
    errno.EDQUOT: "your disk quota is used up; make room and run the same command again",
    errno.EFBIG: "the file would be larger than it may be; raise the limit (ulimit -f), or choose another place",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EMFILE: "too many open files; run again with --workers 1",
}


@contextmanager
def reported() -> Iterator[None]:
    """Turn known errors into a message on stderr and an exit status; MOLEX_DEBUG=1 lets them through whole.

    Raises:
        SystemExit: with status 1, or 130 after Ctrl-C.
    """
    try:
        try:
            yield
        finally:
            _flush()
    except BrokenPipeError:  # the reader left, such as `| head`
        raise SystemExit(FAILED) from None
    except (KeyboardInterrupt, SystemExit) as leaving:
        # Typer turns Ctrl-C inside a command into this status without a word.
        if isinstance(leaving, SystemExit) and leaving.code != INTERRUPTED:
            raise
        _say(
            "interrupted; a registry has whole generations only, and molex-adapt list says which is active. Where the "
            "command has --resume, it goes on with that"
        )
        raise SystemExit(INTERRUPTED) from None
    except (MolexError, OSError, MemoryError, RuntimeError, ValueError) as error:
        message = explain(error)
        if message is None or os.environ.get("MOLEX_DEBUG") == "1":
            raise
        _say(message)
        raise SystemExit(FAILED) from None


def _flush() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # Nothing more can be written there: at its end the interpreter would try again, and complain in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def explain(error: BaseException) -> str | None:
    """What to tell the user; None for a fault of ours, whose traceback is worth more."""
    if isinstance(error, MolexError):
        return str(error)
    if isinstance(error, OSError):
        return _explain_os(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return (
            f"out of memory ({str(error).splitlines()[0] if str(error) else 'no more to be had'}). Use less: "
            "a smaller --micro-batch in training, fewer --workers, or another --device"
        )
    return _explain_values(error)


def _explain_values(error: BaseException) -> str | None:
    from pydantic import ValidationError

    from molex_adapt.text import shown

    if not isinstance(error, ValidationError):
        return None
    faults = [
        f"  {'.'.join(str(part) for part in fault['loc']) or 'together'} = {shown(fault['input'])}: {fault['msg']}"
        for fault in error.errors()
    ]
    return "\n".join(
        [f"{len(faults)} wrong value(s) for {error.title}; correct them and run again:", *faults]
    )


def _explain_os(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename is not None else ""
    if isinstance(error, PermissionError):
        return f"{where}no permission; expected a place you may read and write. Choose another, or change its rights"
    if error.errno in _DISK:
        return f"{where}{_DISK[error.errno]}"
    return f"{where}{error.strerror or error}. Check the path and run again"


def _say(message: str) -> None:
    terminal(stderr=True).print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
