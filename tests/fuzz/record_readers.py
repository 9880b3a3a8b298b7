"""Readers of a registry's records, and of a registry as a whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from molex_adapt.digest import sha256
from molex_adapt.registry import Store, checks, files
from molex_adapt.registry.cards import expert_card
from molex_adapt.registry.draft import adapter_config, expert_files, generation_files
from molex_adapt.registry.records import ExpertRecord, ExpertSummary, GenerationRecord, RegistryRecord
from molex_adapt.registry.reproduction import reproduce
from tests.fuzz.reader import Reader, of_file
from tests.fuzz.samples import BASE, WEIGHTS, draft, expert
from tests.fuzz.strategies import as_json, damaged, written
from tests.fuzz.text_readers import put


def _use_expert(path: Path) -> None:
    record = files.read_record(ExpertRecord, path, path.parent)
    expert_card(record), adapter_config(record), ExpertSummary.of(record), files.dump_record(record)
    json.dumps(record.model_dump(mode="json"))
    checks.check_expert(record, WEIGHTS, "weights")


def record(kind: str) -> Callable[[Path], Reader]:
    """A record of that kind."""

    def make(folder: Path) -> Reader:
        record, content = expert_files(expert())
        generation, _ = generation_files(draft(), 1, [record])
        registry = RegistryRecord(format=1, base=BASE, active=1, generations=[1])
        valid = {"expert": record, "generation": generation, "registry": registry}[kind]
        kinds: dict[str, Any] = {"generation": GenerationRecord, "registry": RegistryRecord}
        del content

        def use(path: Path) -> None:
            if kind == "expert":
                _use_expert(path)
            else:
                files.dump_record(files.read_record(kinds[kind], path, path.parent))

        return of_file(folder, f"{kind}.yaml", written(json.loads(valid.model_dump_json())), use)

    return make


def registry(folder: Path) -> Reader:
    """A whole registry of which one file is replaced, with every hash that leads to it put right or left wrong."""
    Store.create(folder / "valid", BASE).add_generation(draft(), activate=True)
    root = folder / "registry"
    names = sorted(
        str(path.relative_to(folder / "valid")) for path in (folder / "valid").rglob("*.*") if path.is_file()
    )
    names = [name for name in names if ".lock" not in name]
    pairs = [
        st.tuples(st.just(name), content_of(name, (folder / "valid" / name).read_bytes()), st.booleans())
        for name in names
    ]
    fate = st.sampled_from(["link", "loop", "folder", "fifo", "gone"])
    odd = st.tuples(
        st.sampled_from([*names, "experts", "generations/1", "experts/world"]), fate, st.booleans()
    )

    def place(given: tuple[str, bytes | str, bool]) -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(folder / "valid", root)
        name, content, right = given
        path = root / name
        if isinstance(content, bytes):
            path.write_bytes(content)
            if right:
                _put_right(root, name, content)
            return
        aside = folder / "aside"
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink(missing_ok=True)
        path.rename(aside)
        if content == "link":
            path.symlink_to(aside)
        elif content in ("loop", "folder", "fifo"):
            put(path, content, root)

    def use(_: object) -> None:
        store = Store.open(root)
        store.verify()
        generation = store.generation()
        store.summaries(generation), store.recipe(), store.router_tensors(), store.head_tensors()
        for record in store.experts():
            store.expert_weights(record.name), store.exemplar_tensors(record.name)
            reproduce(store, record.name)
        store.verify(repair=True)

    return Reader(st.one_of(*pairs, odd), place, use)


def content_of(name: str, valid: bytes) -> st.SearchStrategy[bytes]:
    if name.endswith(".yaml"):
        return written(yaml.safe_load(valid))
    if name.endswith(".json"):
        content = json.loads(valid)
        changed_to = (
            written(content, as_json) if isinstance(content, dict) else written({"list": content}, as_json)
        )
        return st.one_of(changed_to, damaged([valid]))
    return damaged([valid])


def _put_right(root: Path, name: str, content: bytes) -> None:
    """Let every record that names the file's hash name the new one."""
    old = sha256((root.parent / "valid" / name).read_bytes()).encode()
    for path in root.rglob("*.yaml"):
        if path.is_file() and path != root / name:
            path.write_bytes(path.read_bytes().replace(old, sha256(content).encode()))
