"""Where a pulled expert should act in a mixture that it was not trained in, and what it brings to measure it on."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from molex_adapt.api.known import read_exemplars
from molex_adapt.detector import Detector
from molex_adapt.errors import HubError
from molex_adapt.head import is_relative
from molex_adapt.hub.router_rows import Rows, brought_rows, made_rows, mean_rows
from molex_adapt.hub.unpack import PulledExpert
from molex_adapt.registry import NewExpert
from molex_adapt.registry.exemplars import arrays_to_remembered
from molex_adapt.registry.files import Arrays
from molex_adapt.rehearsal import Remembered
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.reads import reads_of
from molex_adapt.train.remembering import standardisation


def exemplars_of(new: NewExpert, detector: Detector, source: str) -> Exemplars | None:
    """What came along of its domain, as features of this base.

    Raises:
        HubError: features of another width, or one class alone.
    """
    _require_routing(new.routing, detector, source)
    arrays = new.exemplars
    if arrays is None:
        return None
    for part in ("replay", "check"):
        frames = arrays.get(f"{part}.frames")
        if frames is None or not len(frames):
            continue
        labels = arrays[f"{part}.bona_fide"].astype(bool)
        statistics = arrays.get(f"{part}.statistics")
        if statistics is not None and detector.heard not in (0, statistics.shape[1]):
            raise HubError(
                f"{source} was refused: the statistics of its {part} exemplars are {statistics.shape[1]} wide, and "
                f"the readout here reads {detector.heard}: another version made one of them. Ask its owner to train "
                "it by this version, or pull it into a registry that begins with it"
            )
        if frames.shape[1] != detector.base.prefix_width or labels.all() or not labels.any():
            raise HubError(
                f"{source} was refused: its {part} exemplars are {frames.shape[1]} wide with {int(labels.sum())} "
                f"bona fide of {len(labels)}; features {detector.base.prefix_width} wide and both classes are "
                "expected. Ask its owner"
            )
    return read_exemplars(arrays, new.record.data.attacks)


def _require_routing(arrays: Arrays | None, detector: Detector, source: str) -> None:
    here = (len(detector.base.blocks), detector.base.width)
    if arrays is not None and arrays["centre"].shape != here:
        raise HubError(
            f"{source} was refused: its routing statistics are of {arrays['centre'].shape} blocks and channels, and "
            f"this base has {here}. Ask its owner"
        )


def choose_rows(
    pulled: PulledExpert, exemplars: Exemplars | None, detector: Detector, own: Arrays, here: list[str]
) -> Rows:
    """The best that is known of where the expert should act; see `Rows.source`."""
    brought, rest = None, detector.mixture.rest
    if pulled.router is not None and pulled.mixture is not None:
        alike = rest and is_relative(pulled.head or {})
        brought = brought_rows(own, here, pulled.router, pulled.mixture.experts, rest=alike)
        if brought.source in ("carried", "aligned"):
            return brought
    remembered = None if pulled.new.routing is None else arrays_to_remembered(pulled.new.routing)
    # no router reads for nobody
    heard = (_heard(exemplars, detector) or _read(remembered, detector)) if detector.mixture.names else None
    made = made_rows(own, *heard, rest=rest) if heard is not None else None
    return made or brought or mean_rows(own)


def _heard(exemplars: Exemplars | None, detector: Detector) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Mean and variance (L, D) of what the routers here read of its spoofed exemplars."""
    rows = exemplars.replay.of_class(False) if exemplars is not None and len(exemplars.replay) else []
    if exemplars is None or len(rows) < 2:
        return None
    reads = reads_of(detector, exemplars.replay.pick(rows)).double()
    return reads.mean(0).numpy(), reads.var(0).numpy()


def _read(remembered: Remembered | None, detector: Detector) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """The same of what the routers of its own mixture read, as those here standardise it."""
    spoof = None if remembered is None else remembered.read_by(*standardisation(detector)).spoof
    if spoof is None:
        return None
    return spoof.mean.double().numpy(), spoof.variance.double().numpy()
