"""What repositories hold now, beside what was pulled from them."""

from __future__ import annotations

import re
from typing import TypeAlias

from molex_adapt.errors import HubError
from molex_adapt.hub.client import Client, Listing
from molex_adapt.hub.reference import Reference
from molex_adapt.hub.unpack import expert_contents
from molex_adapt.registry import layout
from molex_adapt.registry.records import ExpertRecord, OriginRecord
from molex_adapt.registry.store import Store
from molex_adapt.reports import Upstream

_Answers: TypeAlias = dict[tuple[str, str | None], Listing | HubError]
"""What repositories hold at revisions, or why that is not known."""


def upstream(store: Store, client: Client) -> list[Upstream]:
    """See `Hub.outdated`."""
    asked: _Answers = {}
    found = [_compare(client, *item, asked) for item in _origins(store)]
    failures = [answer for answer in asked.values() if isinstance(answer, HubError)]
    if failures and len(failures) == len(asked):
        raise failures[0]
    return found


def recorded(client: Client, listing: Listing) -> ExpertRecord:
    """What a repository says of its expert; only its record is downloaded.

    Raises:
        HubError: it cannot be had, or is damaged.
    """
    path = client.fetch(listing, [layout.EXPERT])[layout.EXPERT]
    return expert_contents(path.read_bytes(), str(listing)).expert


def _origins(store: Store) -> list[tuple[str, OriginRecord, ExpertRecord | None]]:
    active = store.active
    if active is None:
        return []
    found = [(record.name, record.origin, record) for record in store.experts() if record.origin is not None]
    # Whatever was added since, the mixture still began as the one that was pulled.
    whole = [generation.origin for generation in store.history() if generation.origin is not None]
    return [*(("mixture", origin, None) for origin in whole[-1:]), *found]


def _compare(
    client: Client, what: str, origin: OriginRecord, here: ExpertRecord | None, asked: _Answers
) -> Upstream:
    pinned = origin.revision is None or re.fullmatch(r"[0-9a-f]{7,40}", origin.revision)
    reference = Reference(origin.repository, None if pinned else origin.revision)
    key = (reference.repository, reference.revision)
    if key not in asked:
        try:
            asked[key] = client.look(reference, "look at")
        except HubError as error:
            asked[key] = error
    answer = asked[key]
    if isinstance(answer, HubError):
        return Upstream(what, *key, origin.commit, None, problem=str(answer))
    another = None
    if here is not None and answer.commit != origin.commit:
        another = _holds_another(client, answer, here)
    return Upstream(what, *key, origin.commit, answer.commit, answer.modified, another_expert=another)


def _holds_another(client: Client, listing: Listing, here: ExpertRecord) -> bool | None:
    """Whether a repository's expert is no longer the one here; None where it does not say, as stock adapters do not."""
    if layout.EXPERT not in listing.files:
        return None
    try:
        return not here.is_the_same(recorded(client, listing))
    except HubError:
        return None
