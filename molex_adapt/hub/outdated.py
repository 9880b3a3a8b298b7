"""What was pulled, beside what its repositories hold now."""

from __future__ import annotations

import re

from molex_adapt.errors import HubError
from molex_adapt.hub.client import Client
from molex_adapt.hub.reference import Reference
from molex_adapt.registry.records import OriginRecord
from molex_adapt.registry.store import Store
from molex_adapt.reports import Upstream


def outdated(store: Store, *, token: str | None = None) -> list[Upstream]:
    """Every pulled expert of the active generation, and the mixture where it came whole.

    What was pulled at a commit is compared with the default branch. A repository that cannot be asked is listed with
    the reason; where none can be, that is an error.

    Raises:
        HubError: no repository could be asked.
    """
    client = Client(token)
    asked: dict[tuple[str, str | None], tuple[str, str | None] | HubError] = {}
    found = [_compare(client, what, origin, asked) for what, origin in _origins(store)]
    failures = [answer for answer in asked.values() if isinstance(answer, HubError)]
    if failures and len(failures) == len(asked):
        raise failures[0]
    return found


def _origins(store: Store) -> list[tuple[str, OriginRecord]]:
    active = store.active
    if active is None:
        return []
    found = [(record.name, record.origin) for record in store.experts() if record.origin is not None]
    # Whatever was added since, the mixture still began as the one that was pulled.
    whole = [generation.origin for generation in store.history() if generation.origin is not None]
    return [*(("mixture", origin) for origin in whole[-1:]), *found]


def _compare(
    client: Client,
    what: str,
    origin: OriginRecord,
    asked: dict[tuple[str, str | None], tuple[str, str | None] | HubError],
) -> Upstream:
    pinned = origin.revision is None or re.fullmatch(r"[0-9a-f]{7,40}", origin.revision)
    reference = Reference(origin.repository, None if pinned else origin.revision)
    key = (reference.repository, reference.revision)
    if key not in asked:
        try:
            listing = client.look(reference, "look at")
            asked[key] = listing.commit, listing.modified
        except HubError as error:
            asked[key] = error
    answer = asked[key]
    if isinstance(answer, HubError):
        return Upstream(what, *key, origin.commit, None, problem=str(answer))
    return Upstream(what, *key, origin.commit, *answer)
