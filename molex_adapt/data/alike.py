"""Whether all of several processes have the same recordings before they divide them."""

from __future__ import annotations

from molex_adapt.data.table import Table
from molex_adapt.digest import Digest
from molex_adapt.errors import DataError
from molex_adapt.processes import are_several, gathered


def require_alike(table: Table) -> None:
    """Refuse to divide a table that another process has otherwise: what each finds is put together by place.

    Every process has to call it.

    Raises:
        DataError: the tables differ, in all processes alike.
    """
    if not are_several():
        return
    digest = Digest()
    for item in table:
        digest.add(f"{item.path}\n{item.label}\n{item.attack}\n{item.source}\n{item.split}\n{item.draw}\n")
    seen = gathered((len(table), str(digest)))
    if len(set(seen)) == 1:
        return
    counts = ", ".join(f"{count} in process {rank}" for rank, (count, _) in enumerate(seen))
    raise DataError(
        f"the processes see different data: {counts} recordings. All of them need the same files under the same paths, "
        "with the same labels. Wait until files have arrived everywhere, or name them in a manifest"
    )
