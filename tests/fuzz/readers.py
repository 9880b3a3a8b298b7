"""Every reader of what others wrote: how its input is made hostile, and what is done with what it gives back."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from hypothesis import strategies as st

from molex_adapt import recipe as recipes
from molex_adapt.data import Table, assign_splits, describe_split, read
from molex_adapt.data.audio import decode, heading
from molex_adapt.data.manifest import write_manifest
from molex_adapt.errors import DataError
from molex_adapt.recipe import Recipe
from molex_adapt.registry import (
    BaseRecord,
    DataRecord,
    ExpertRecord,
    GenerationDraft,
    NewExpert,
    Store,
    checks,
    files,
)
from molex_adapt.registry.cards import expert_card
from molex_adapt.registry.checkpoints import Run
from molex_adapt.registry.checks import peft_key
from molex_adapt.registry.draft import adapter_config, expert_files, generation_files
from molex_adapt.registry.records import ExpertSummary, GenerationRecord, RegistryRecord
from molex_adapt.registry.reproduction import reproduce
from molex_adapt.scorefile import join, read_key, read_scores
from tests.fuzz.strategies import LENGTHS, TOKENS, as_json, as_yaml, changed, damaged, values, written


@dataclass(frozen=True)
class Reader:
    """Inputs, how one is put where it is read, and reading it."""

    inputs: st.SearchStrategy[Any]
    place: Callable[[Any], object]
    read: Callable[[Any], object]


def _file(
    folder: Path, name: str, inputs: st.SearchStrategy[bytes], read_it: Callable[[Path], object]
) -> Reader:
    path = folder / name
    return Reader(inputs, path.write_bytes, lambda _: read_it(path))


# Manifests, protocols, folders


ROWS = [
    {
        "path": "a.wav",
        "label": "bonafide",
        "attack": None,
        "speaker": "s1",
        "split": "train",
        "codec": "none",
    },
    {"path": "b/c.wav", "label": "spoof", "attack": "A07", "speaker": "s2", "split": None, "codec": "g722"},
    {
        "path": "spoof/A07/a.wav",
        "label": "fake",
        "attack": "A08",
        "speaker": None,
        "seconds": 1.5,
        "text": "é",
    },
]


def _audio_there(folder: Path) -> None:
    for name in ("a.wav", "b/c.wav", "spoof/A07/a.wav", "flac/LA_T_1.flac", "flac_T/T_1.flac"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"RIFF")


def _use_table(table: Table, out: Path) -> None:
    """What training does with a table before any audio is opened."""
    table.digest(), table.attacks, table.counts_by_attack()
    again = out / "again.jsonl"
    try:
        divided = assign_splits(table, seed=0)
        describe_split(divided)
    except DataError:
        divided = table
    try:
        write_manifest(divided, again)
    except DataError:
        return
    found = read(again)
    assert [item.path for item in found] == [Path(os.path.normpath(item.path)) for item in divided]
    assert [item.label for item in found] == [item.label for item in divided]


def _delimited(mark: str) -> bytes:
    names = ["path", "label", "attack", "speaker", "split", "codec", "seconds", "text"]
    lines = [mark.join(names)] + [mark.join(str(row.get(name) or "") for name in names) for row in ROWS]
    return "\n".join(lines).encode()


def _manifest(suffix: str, inputs: st.SearchStrategy[bytes]) -> Callable[[Path], Reader]:
    def make(folder: Path) -> Reader:
        _audio_there(folder)
        return _file(folder, f"m{suffix}", inputs, lambda path: _use_table(read(path), folder / "out"))

    return make


def _json_lines() -> st.SearchStrategy[bytes]:
    row = st.sampled_from(ROWS).flatmap(changed).map(as_json)
    whole = st.lists(row, max_size=5).map(b"\n".join)
    return st.one_of(whole, damaged([b"\n".join(map(as_json, ROWS))]))


def _parquet(folder: Path) -> Reader:
    import pyarrow
    import pyarrow.parquet as parquet

    columns = {name: [row.get(name) for row in ROWS] for name in ("path", "label", "attack", "seconds")}
    seeds = []
    for compression in ("none", "snappy"):
        sink = io.BytesIO()
        table = pyarrow.table({**columns, "day": pyarrow.array([1, 2, 3], pyarrow.timestamp("s"))})
        parquet.write_table(table, sink, compression=compression)
        seeds.append(sink.getvalue())
    return _manifest(".parquet", damaged(seeds))(folder)


def _protocols() -> st.SearchStrategy[bytes]:
    la = b"LA_0079 LA_T_1 - - bonafide\nLA_0080 LA_T_2 - A01 spoof\n"
    five = b"T_4850 T_1 F - - - AC3 A05 spoof -\nT_4851 T_2 M C01 3 T_1 - - bonafide -\n"
    field = st.one_of(st.sampled_from([*TOKENS, "-", "LA_T_1", "A01", "T_1"]), st.text(max_size=8))
    lines = st.lists(st.lists(field, min_size=4, max_size=11).map(" ".join), max_size=5)
    return st.one_of(
        damaged([la, five]), lines.map(lambda found: "\n".join(found).encode("utf-8", "surrogatepass"))
    )


def _protocol(name: str) -> Callable[[Path], Reader]:
    def make(folder: Path) -> Reader:
        _audio_there(folder)
        (folder / "ASVspoof2019_LA_train").mkdir(exist_ok=True)
        (folder / "ASVspoof2019_LA_train" / "flac").symlink_to(folder / "flac")
        return _file(folder, name, _protocols(), lambda path: _use_table(read(path), folder / "out"))

    return make


_PART = st.one_of(
    st.sampled_from(
        ["bonafide", "spoof", "real", "fake", "bonafid", "A07", ".hidden", "a.wav", "b.FLAC", "manifest.csv"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=12),
)


def _folder(folder: Path) -> Reader:
    """Trees of odd names: files, folders, links to each other, to themselves and out."""
    root = folder / "tree"
    item = st.tuples(
        st.lists(_PART, min_size=1, max_size=4),
        st.sampled_from(["file", "folder", "link up", "link out", "loop", "broken", "fifo"]),
    )

    def place(items: list[tuple[list[str], str]]) -> None:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        for parts, kind in items:
            try:
                path = root.joinpath(*(part for part in parts if part not in (".", "..")))
                path.parent.mkdir(parents=True, exist_ok=True)
                _put(path, kind, root)
            except (OSError, ValueError):
                continue

    return Reader(st.lists(item, max_size=8), place, lambda _: _use_table(read(root), folder / "out"))


def _put(path: Path, kind: str, root: Path) -> None:
    if kind == "file":
        path.touch(exist_ok=False)
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        target = {"link up": root, "link out": Path("/proc/self/fd"), "loop": path}.get(kind, root / "none")
        path.symlink_to(target)


# Score files and keys


def _scores(folder: Path) -> Reader:
    scores, key = folder / "scores.tsv", folder / "key.tsv"
    valid = b"filename\tcm-score\na\t1.5\nb\t-2\nc\t0.25\n"
    truth = b"filename\tcm-label\tattack\tcodec\na\tbonafide\t-\tnone\nb\tspoof\tA01\tg722\nc\tfake\tA02\t-\n"

    def place(pair: tuple[bytes, bytes]) -> None:
        scores.write_bytes(pair[0])
        key.write_bytes(pair[1])

    def use(_: object) -> None:
        from molex_adapt.evaluation import evaluate_scores

        joined = join(read_scores(scores), read_key(key))
        evaluate_scores(joined, bootstrap=2)

    clean = st.just(valid), st.just(truth)
    inputs = st.one_of(
        st.tuples(damaged([valid]), clean[1]),
        st.tuples(clean[0], damaged([truth])),
        st.tuples(damaged([valid]), damaged([truth])),
    )
    return Reader(inputs, place, use)


# Recipes


def _recipe(folder: Path) -> Reader:
    content = Recipe().model_dump(mode="json")
    return _file(folder, "r.yaml", written(content), lambda path: recipes.dump(recipes.load(Recipe, path)))


def _overrides(folder: Path) -> Reader:
    known = [
        "lora.rank",
        "expert.steps",
        "expert",
        "lora.targets",
        "data.fractions",
        "gate.tolerance",
        "precision",
    ]
    key = st.one_of(
        st.sampled_from(known), st.sampled_from(known), st.sampled_from(TOKENS), st.text(max_size=10)
    )
    value = st.one_of(
        st.sampled_from(["4", "0.5", "300", "[a.b, c]", "[0.5, 0.25, 0.25]", "{steps: 3}", "fp32"]),
        st.sampled_from(TOKENS),
        st.text(max_size=20),
        values().map(as_yaml).map(lambda text: text.decode("utf-8", "surrogatepass")),
    )
    text = st.builds(
        lambda left, right, sign: f"{left}{sign}{right}", key, value, st.sampled_from(["=", "=", "=", ""])
    )
    return Reader(
        st.lists(text, max_size=2),
        lambda _: None,
        lambda found: recipes.dump(recipes.load(Recipe, None, found)),
    )


# The registry's records


BASE = BaseRecord(id="someone/speech", revision="c1423ed0", sha256="ab" * 32, embedded=False)
TARGET = "feed_forward.output_dense"
WEIGHTS = {
    peft_key(0, TARGET, "lora_A"): np.full((2, 8), 0.25, np.float16),
    peft_key(0, TARGET, "lora_B"): np.full((4, 2), 0.5, np.float16),
}
EXEMPLARS = {
    **{
        f"{part}.{name}": array
        for part in ("replay", "check")
        for name, array in {
            "frames": np.ones((7, 4), np.float16),
            "lengths": np.array([3, 4], np.int32),
            "bona_fide": np.array([1, 0], np.uint8),
            "sources": np.ones((2, 8), np.uint8),
            "attacks": np.array([-1, 0], np.int32),
        }.items()
    },
    "reads.mean": np.ones((2, 1, 8), np.float16),
    "reads.rest": np.ones((2, 1, 8), np.float16),
    "reads.directions": np.ones((2, 1, 3, 8), np.float16),
}
ROUTER = {
    "blocks.0.rows": np.ones((1, 9), np.float32),
    "blocks.0.centre": np.zeros(8, np.float32),
    "blocks.0.spread": np.ones(8, np.float32),
}
HEAD = {"classify.weight": np.ones((1, 4), np.float32)}
RATES = {
    "eer": 0.1,
    "eer_ci": [0.0, 0.2],
    "min_dcf": 0.1,
    "act_dcf": 0.2,
    "cllr": 0.3,
    "bona_fide": 3,
    "spoof": 5,
}


def expert() -> NewExpert:
    """A valid expert."""
    record = ExpertRecord(
        name="world",
        domain="world",
        rank=2,
        alpha=4.0,
        targets=[TARGET],
        blocks=1,
        base=BASE,
        data=DataRecord(digest="cd" * 32, counts={"train": {"bonafide": 3, "spoof": 5}}, attacks=["A07"]),
        recipe=recipes.dump(Recipe()),
        seed=3,
        metrics={"world": RATES},
        licence="cc-by-4.0",
        machine={"device": "cpu", "threads": "1"},
    )
    return NewExpert(record, WEIGHTS, EXEMPLARS)


def draft() -> GenerationDraft:
    """A valid generation with that expert."""
    return GenerationDraft(
        parent=None,
        experts=["world"],
        new_experts=[expert()],
        router=ROUTER,
        head=HEAD,
        recipe=recipes.dump(Recipe()),
        command="molex-adapt add-expert data/ --domain world",
        metrics={"world": RATES},
        seed=3,
    )


def _use_expert(path: Path) -> None:
    record = files.read_record(ExpertRecord, path, path.parent)
    expert_card(record), adapter_config(record), ExpertSummary.of(record), files.dump_record(record)
    json.dumps(record.model_dump(mode="json"))
    checks.check_expert(record, WEIGHTS, "weights")


def _record(kind: str) -> Callable[[Path], Reader]:
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

        return _file(folder, f"{kind}.yaml", written(json.loads(valid.model_dump_json())), use)

    return make


def _registry(folder: Path) -> Reader:
    """A whole registry of which one file is replaced, with every hash that leads to it put right or left wrong."""
    Store.create(folder / "valid", BASE).add_generation(draft(), activate=True)
    root = folder / "registry"
    names = sorted(
        str(path.relative_to(folder / "valid")) for path in (folder / "valid").rglob("*.*") if path.is_file()
    )
    names = [name for name in names if ".lock" not in name]
    pairs = [
        st.tuples(st.just(name), _content(name, (folder / "valid" / name).read_bytes()), st.booleans())
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
            _put(path, content, root)

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


def _content(name: str, valid: bytes) -> st.SearchStrategy[bytes]:
    if name.endswith(".yaml"):
        import yaml

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
    old = files.sha256((root.parent / "valid" / name).read_bytes()).encode()
    for path in root.rglob("*.yaml"):
        if path.is_file() and path != root / name:
            path.write_bytes(path.read_bytes().replace(old, files.sha256(content).encode()))


# Tensors


KINDS = [
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I32",
    "I16",
    "I8",
    "U8",
    "BOOL",
    "F8_E4M3",
    "C64",
    "X9",
    "",
    "f32",
]


def _header() -> st.SearchStrategy[bytes]:
    number = st.one_of(st.sampled_from([*LENGTHS, -1, 2**100, 1.5, "1", None, True]), st.integers(0, 64))
    view = st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.one_of(st.sampled_from(KINDS), values()),
            "shape": st.one_of(st.lists(number, max_size=5), values()),
            "data_offsets": st.one_of(st.lists(number, min_size=2, max_size=3), values()),
            "more": values(),
        },
    )
    sane = st.builds(
        lambda kind, shape: {"dtype": kind, "shape": shape, "data_offsets": [0, int(np.prod(shape)) * 4]},
        st.sampled_from(["F32", "I32", "F16"]),
        st.lists(st.integers(0, 4), max_size=3),
    )
    name = st.one_of(
        st.sampled_from(["w", "blocks.0.rows", "__metadata__", "", *TOKENS]), st.text(max_size=6)
    )
    entries = st.lists(st.tuples(name, st.one_of(view, sane, values())), max_size=4)
    length = st.one_of(st.none(), st.sampled_from(LENGTHS), st.integers(0, 300))
    return st.builds(_tensor_file, entries, st.binary(max_size=64), length)


def _tensor_file(entries: list[tuple[str, Any]], data: bytes, length: int | None) -> bytes:
    # Names may come twice, which a dictionary could not say.
    body = b"{" + b",".join(as_json(name) + b":" + as_json(view) for name, view in entries) + b"}"
    return struct.pack("<Q", len(body) if length is None else length) + body + data


def _tensors(folder: Path) -> Reader:
    valid = [files.dump_tensors(item) for item in (WEIGHTS, EXEMPLARS, ROUTER)]
    inputs = st.one_of(damaged(valid), _header())
    return _file(folder, "w.safetensors", inputs, lambda path: files.read_tensors(path, path.parent))


def _arrays() -> st.SearchStrategy[dict[str, Any]]:
    kind = st.sampled_from(["f8", "f4", "f2", "i8", "i4", "u1", "?"])
    extreme = st.sampled_from([0, 1, -1, 2, 2**31 - 1, -(2**63), 2**63 - 1, np.nan, np.inf, 65504.0])
    shape = st.lists(st.integers(0, 5), max_size=4).map(tuple)
    array = st.builds(_filled, kind, shape, st.lists(extreme, min_size=1, max_size=4))
    name = st.sampled_from([*EXEMPLARS, *ROUTER, *WEIGHTS, "blocks.1.rows", "reads", "replay", "", "x.y"])
    change = st.tuples(name, st.one_of(st.none(), array))
    whole = st.sampled_from([EXEMPLARS, ROUTER, WEIGHTS])
    return st.builds(_with, whole, st.lists(change, max_size=4))


def _filled(kind: str, shape: tuple[int, ...], numbers: list[Any]) -> Any:
    with np.errstate(all="ignore"):
        if kind[0] in "iu?":
            numbers = [0 if isinstance(item, float) else item for item in numbers]
            repeated = np.resize(np.array(numbers, dtype=object), shape)
            return (
                np.array(
                    [int(item) & 0xFF if kind == "u1" else int(item) for item in repeated.flat], dtype=object
                )
                .astype("i8")
                .astype(kind)
                .reshape(shape)
            )
        return np.resize(np.array(numbers, dtype=np.float64), shape).astype(kind)


def _with(whole: dict[str, Any], changes: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(whole)
    for name, array in changes:
        if array is None:
            made.pop(name, None)
        else:
            made[name] = array
    return made


def _contents(folder: Path) -> Reader:
    from molex_adapt.registry.exemplars import arrays_to_features
    from molex_adapt.train.reads import arrays_to_reads

    record = expert().record

    def use(arrays: dict[str, Any]) -> None:
        checked = 0
        for check in (
            lambda: checks.check_exemplars(arrays, "exemplars"),
            lambda: checks.check_router(arrays, 1, "router"),
            lambda: checks.check_expert(record, arrays, "weights"),
            lambda: checks.check_head(arrays, "head"),
        ):
            try:
                check()
                checked += 1
            except (checks.ExpertError, checks.RegistryError):
                continue
        checks.check_exemplars(arrays, "exemplars")
        for part in ("replay", "check"):
            found = arrays_to_features(arrays, part, ["A07"])
            if found is not None:
                assert len(found.clips) == len(found.bona_fide) == len(found.sources) == len(found.attacks)
        arrays_to_reads(arrays)

    return Reader(_arrays(), lambda _: None, use)


def _checkpoint(folder: Path) -> Reader:
    """A run's folder as another user of the machine may have left it."""
    origin = {"command": "add-expert", "seed": "0"}
    (folder / "registry").mkdir()
    with Run.claim(folder / "registry", origin, resume=False) as run:
        run.write("expert", {"trained.0": np.ones(3, np.float32)}, {"standing": {"step": 1}, "rates": [0.1]})
        valid = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.name != ".lock"}
    inputs = st.one_of(
        *(st.tuples(st.just(name), _content(name, content)) for name, content in sorted(valid.items())),
    )

    def place(given: tuple[str, bytes]) -> None:
        for name, content in valid.items():
            (run.folder / name).write_bytes(content)
        (run.folder / given[0]).write_bytes(given[1])

    def use(_: object) -> None:
        with Run.claim(folder / "registry", origin, resume=True) as again:
            again.read("expert")
        with suppress(checks.RegistryError):
            Run.claim(folder / "registry", origin | {"seed": "1"}, resume=True).finish()

    return Reader(inputs, place, use)


# Audio


def _sounds() -> dict[str, list[bytes]]:
    wave = np.sin(np.arange(4000) / 9).astype(np.float32) / 2
    stereo = np.stack([wave, -wave], axis=1)
    found: dict[str, list[bytes]] = {"wav": [], "compressed": [], "other": []}
    kinds = [
        ("wav", "WAV", "PCM_16"), ("wav", "WAV", "FLOAT"), ("wav", "WAV", "ULAW"), ("wav", "WAVEX", "PCM_24"),
        ("wav", "WAV", "IMA_ADPCM"), ("wav", "W64", "PCM_16"), ("wav", "RF64", "PCM_16"),
        ("compressed", "FLAC", "PCM_16"), ("compressed", "OGG", "VORBIS"), ("compressed", "OGG", "OPUS"),
        ("compressed", "MP3", "MPEG_LAYER_III"),
        ("other", "AIFF", "PCM_16"), ("other", "AU", "PCM_16"), ("other", "CAF", "PCM_16"), ("other", "VOC", "PCM_16"),
        ("other", "NIST", "PCM_16"),
    ]  # fmt: skip
    for group, container, subtype in kinds:
        sink = io.BytesIO()
        soundfile.write(
            sink, stereo if container == "WAVEX" else wave, 16_000, format=container, subtype=subtype
        )
        found[group].append(sink.getvalue())
    return found


def _coded() -> list[bytes]:
    """Containers that only FFmpeg reads."""
    import av

    wave = (np.sin(np.arange(8000) / 9) * 9000).astype(np.int16)[None]
    found = []
    for container, codec in (
        ("mp4", "aac"),
        ("matroska", "pcm_s16le"),
        ("mov", "alac"),
        ("asf", "wmav2"),
        ("adts", "aac"),
    ):
        sink = io.BytesIO()
        with av.open(sink, "w", format=container) as output:
            stream = output.add_stream(codec, rate=16_000)
            stream.layout, stream.bit_rate = "mono", 32_000
            frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            frame.sample_rate = 16_000
            frame.time_base, frame.pts = Fraction(1, 16_000), 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                output.mux(packet)
        found.append(sink.getvalue())
    return found


def _use_audio(path: Path) -> None:
    heading(path)
    wave = decode(path, duration=60)
    assert wave.dtype == np.float32 and wave.ndim == 1 and len(wave)
    assert np.isfinite(wave).all() and np.abs(wave).max() <= 1


def _audio(group: str) -> Callable[[Path], Reader]:
    def make(folder: Path) -> Reader:
        seeds = _coded() if group == "ffmpeg" else _sounds()[group]
        return _file(folder, "a.wav", damaged(seeds), _use_audio)

    return make


def _raw(folder: Path) -> Reader:
    data = bytes(range(256)) * 6
    suffix = st.sampled_from([".g722", ".gsm", ".ulaw", ".alaw", ".amr", ".raw", ".mp3", ".m3u8", ".wav"])
    inputs = st.tuples(
        suffix, damaged([data, b"#!AMR\n" + data, b"#EXTM3U\n/etc/passwd\n", b"ffconcat version 1.0\n"])
    )
    path = folder / "a"

    def place(given: tuple[str, bytes]) -> None:
        path.with_suffix(given[0]).write_bytes(given[1])

    return Reader(inputs, place, lambda given: _use_audio(path.with_suffix(given[0])))


READERS: dict[str, Callable[[Path], Reader]] = {
    "manifest-csv": _manifest(".csv", damaged([_delimited(","), _delimited(";")])),
    "manifest-tsv": _manifest(".tsv", damaged([_delimited("\t")])),
    "manifest-jsonl": _manifest(".jsonl", _json_lines()),
    "manifest-parquet": _parquet,
    "protocol-2019": _protocol("ASVspoof2019.LA.cm.train.trn.txt"),
    "protocol-5": _protocol("ASVspoof5.train.tsv"),
    "protocol-unnamed": _protocol("trial.txt"),
    "folder": _folder,
    "scores": _scores,
    "recipe": _recipe,
    "overrides": _overrides,
    "expert.yaml": _record("expert"),
    "generation.yaml": _record("generation"),
    "registry.yaml": _record("registry"),
    "registry": _registry,
    "safetensors": _tensors,
    "tensors": _contents,
    "checkpoint": _checkpoint,
    "audio-wav": _audio("wav"),
    "audio-compressed": _audio("compressed"),
    "audio-other": _audio("other"),
    "audio-ffmpeg": _audio("ffmpeg"),
    "audio-raw": _raw,
}
"""By name: a function of an empty folder."""

SHARE = {"registry": 0.1, "folder": 0.4, "checkpoint": 0.4, "audio-ffmpeg": 0.5, "scores": 0.5}
"""Of the inputs that each reader gets; those whose one input takes longest get fewer."""
