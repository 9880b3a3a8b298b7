"""A generation as exported files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molex_adapt.api.scoring import unheard_of
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError
from molex_adapt.exported.description import ExportedExpert
from molex_adapt.exported.writing import Format, Origin, check_export, write_export
from molex_adapt.registry import GenerationRecord, Store, layout
from molex_adapt.registry.assemble import build_detector
from molex_adapt.registry.records import package_versions
from molex_adapt.reports import ExportReport
from molex_adapt.run import Run


def export(
    store: Store, out: Path, generation: int | None, formats: Sequence[Format], run: Run
) -> ExportReport:
    """Write one generation; see `Registry.export`."""
    if not formats:
        raise DataError("no format to export in; name onnx, torch, or both")
    record = store.generation(generation)
    check_export(out, formats, [store.path])
    detector = build_detector(store, record.number, "cpu", precision="fp32")
    unheard = unheard_of(store, record)
    origin = Origin(
        generation=record.number,
        digest=sha256(*(digest for _, digest in sorted(record.files.items()))),
        base=str(store.base),
        experts=[
            ExportedExpert(name=entry.name, sha256=entry.sha256, licence=expert.licence)
            for entry, expert in zip(record.experts, store.experts(record.number), strict=True)
        ],
        threshold=record.threshold,
        unheard=None if unheard is None else unheard.as_dict(),
        versions=package_versions(),
        source_bytes=_bytes_of(store, record),
    )
    return write_export(detector, origin, out, formats, run.progress)


def _bytes_of(store: Store, record: GenerationRecord) -> int | None:
    """Of the weights that a generation is made from; None where its base is not in the registry."""
    if store.base_folder is None:
        return None
    folder = layout.generation_folder(store.path, record.number)
    own = [folder / layout.ROUTER, folder / layout.HEAD]
    experts = [layout.expert_folder(store.path, entry.name) / layout.ADAPTER for entry in record.experts]
    base = store.base_folder.glob("*.safetensors")
    return sum(path.stat().st_size for path in [*own, *experts, *base])
