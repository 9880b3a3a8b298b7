"""The one table of what may go wrong between here and the Hub: what failed, why, and the remedy."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from molex_adapt.errors import HubError, MolexError
from molex_adapt.hub.reference import Reference
from molex_adapt.text import short

_LOG_IN = "log in with `hf auth login`, set HF_TOKEN, or give --token-file FILE"
_NO_PLACE = frozenset(
    (
        *(errno.EACCES, errno.EROFS, errno.EPERM),
        *(errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
    )
)
"""What the system says where a folder cannot be made, or what is in its place is none."""
_AGAIN = "Run the same command again; what arrived whole is not sent again"


@contextmanager
def explained(reference: Reference, doing: str, endpoint: str) -> Iterator[None]:
    """Turn whatever the Hub's client raises into a HubError with a remedy.

    Args:
        reference, endpoint: the repository in question, and where.
        doing: what was tried, such as "pull of".

    Raises:
        HubError: in place of the client's own error.
    """
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's or httpx2's, as it is built

    try:
        yield
    except MolexError:
        raise
    except (HTTPError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        cause = _reason(error)
        raise HubError(
            f"{doing} {reference} failed: {_explain(cause, reference, endpoint)}. The registry is as it was."
        ) from None


def _reason(error: BaseException) -> BaseException:
    """The client wraps what happened into general errors; what happened says more."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    seen: BaseException | None = error
    for _ in range(5):
        if seen is None or isinstance(seen, HfHubHTTPError | OfflineModeIsEnabled):
            break
        seen = seen.__cause__
    if seen is not None:
        return seen
    return (isinstance(error, RuntimeError | ValueError | OSError) and error.__cause__) or error


def _explain(error: BaseException, reference: Reference, endpoint: str) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub is not asked. Unset it (and TRANSFORMERS_OFFLINE) and run again"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"its owner gives it only to those who accept its conditions. Accept them on its page at {endpoint}, then "
            f"{_LOG_IN}"
        )
    if isinstance(error, errors.DisabledRepoError):
        return f"{endpoint} has disabled this repository. Ask its owner"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{endpoint} shows no model repository of this name: it does not exist, or it is private and the token (if "
            f"any) may not see it. Check the name; for a private one, {_LOG_IN}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {reference.revision or 'main'!r}. Look up its branches and tags, or leave @REV out"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return "a file that it lists is missing there. Try again later, or pull another revision"
    if isinstance(error, errors.HfHubHTTPError):
        return _explain_status(error, endpoint)
    return _explain_transport(error, endpoint)


def _explain_status(error: BaseException, endpoint: str) -> str:
    response = getattr(error, "response", None)
    status = int(getattr(response, "status_code", 0) or 0)
    said = short(getattr(error, "server_message", None) or "no reason given", 300)
    if status == 401:
        return (
            f"{endpoint} does not accept the token ({said}). What is public needs none: unset HF_TOKEN, and `hf auth "
            f"logout`. For what is private or to be written, make a new one, then {_LOG_IN}"
        )
    if status == 403:
        return (
            f"the token does not allow it ({said}). Use one with write access to this namespace, or another ORG: "
            f"{_LOG_IN}"
        )
    if status in (409, 412):
        return (
            f"somebody else changed the repository meanwhile ({said}). Look at what it holds now; to push on top of "
            "that, run the same command again"
        )
    if status == 413:
        return f"{endpoint} finds it too large ({said}). Push fewer experts, or --no-exemplars"
    if status == 416:
        return f"{endpoint} could not go on where the transfer was cut. {_AGAIN}"
    if status == 429:
        return f"{endpoint} was asked too often ({said}). Wait some minutes and run the same command again"
    if status >= 500:
        return f"{endpoint} has trouble of its own (status {status}: {said}). {_AGAIN}, later"
    return f"{endpoint} refused (status {status}: {said}). Check the names and the token, then run again"


def _explain_transport(error: BaseException, endpoint: str) -> str:
    kind, said = type(error).__name__, short(error, 300) or type(error).__name__
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "the disk of the Hub's cache is full. Make room, or set HF_HOME to another place, and run again"
        )
    if isinstance(error, OSError) and error.errno in _NO_PLACE:
        return f"the Hub's cache cannot be written ({said}). Set HF_HOME to a folder that you may write to"
    if isinstance(error, UnicodeEncodeError):
        return "the token holds letters that no token has. Copy it anew: into HF_TOKEN, or the file of --token-file"
    if "Timeout" in kind:
        return f"{endpoint} did not answer in time. Try again, with more patience: HF_HUB_DOWNLOAD_TIMEOUT=60"
    if (
        kind in ("ReadError", "WriteError", "CloseError", "RemoteProtocolError")
        or "Consistency check" in said
    ):
        return f"the connection was cut before everything had arrived ({said}). {_AGAIN}"
    if kind in ("ConnectError", "NetworkError", "ProxyError", "UnsupportedProtocol", "LocalProtocolError"):
        return f"{endpoint} cannot be reached ({said}). Check the network, HF_ENDPOINT and any proxy, then run again"
    if kind == "LocalEntryNotFoundError":
        return f"{endpoint} did not give its files ({said}). {_AGAIN}"
    return (
        f"{endpoint} did not answer as a Hub does ({kind}: {said}). Check HF_ENDPOINT, and what stands between here "
        "and there"
    )
