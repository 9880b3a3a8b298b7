"""Readers of what describes data, judges it or says how to train: manifests, protocols, folders, scores, recipes."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from molex_adapt import recipe as recipes
from molex_adapt.data import Table, assign_splits, describe_split, read
from molex_adapt.data.check import check
from molex_adapt.data.manifest import write_manifest
from molex_adapt.errors import DataError
from molex_adapt.recipe import Recipe
from molex_adapt.scorefile import join, read_key, read_scores
from molex_adapt.scoretable import read_table
from molex_adapt.trialfile import read_trials
from molex_adapt.truth import read_truth
from tests.fuzz.reader import Reader, of_file
from tests.fuzz.strategies import TOKENS, as_json, as_yaml, changed, damaged, values, written

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
    table.digest(), table.attacks
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


def delimited(mark: str) -> bytes:
    """The rows as delimited text."""
    names = ["path", "label", "attack", "speaker", "split", "codec", "seconds", "text"]
    lines = [mark.join(names)] + [mark.join(str(row.get(name) or "") for name in names) for row in ROWS]
    return "\n".join(lines).encode()


def manifest(suffix: str, inputs: st.SearchStrategy[bytes]) -> Callable[[Path], Reader]:
    """Manifests of that suffix."""

    def make(folder: Path) -> Reader:
        _audio_there(folder)
        return of_file(folder, f"m{suffix}", inputs, lambda path: _use_table(read(path), folder / "out"))

    return make


def json_lines() -> st.SearchStrategy[bytes]:
    """JSON Lines."""
    row = st.sampled_from(ROWS).flatmap(changed).map(as_json)
    whole = st.lists(row, max_size=5).map(b"\n".join)
    return st.one_of(whole, damaged([b"\n".join(map(as_json, ROWS))]))


def parquet(folder: Path) -> Reader:
    """Parquet."""
    import pyarrow
    import pyarrow.parquet as parquet

    columns = {name: [row.get(name) for row in ROWS] for name in ("path", "label", "attack", "seconds")}
    seeds = []
    for compression in ("none", "snappy"):
        sink = io.BytesIO()
        table = pyarrow.table({**columns, "day": pyarrow.array([1, 2, 3], pyarrow.timestamp("s"))})
        parquet.write_table(table, sink, compression=compression)
        seeds.append(sink.getvalue())
    return manifest(".parquet", damaged(seeds))(folder)


def _protocols() -> st.SearchStrategy[bytes]:
    la = b"LA_0079 LA_T_1 - - bonafide\nLA_0080 LA_T_2 - A01 spoof\n"
    five = b"T_4850 T_1 F - - - AC3 A05 spoof -\nT_4851 T_2 M C01 3 T_1 - - bonafide -\n"
    keys = b"LA_0009 LA_T_1 alaw ita_tx A07 spoof notrim eval\nLA_1 LA_T_2 none loc_tx bonafide bonafide trim hidden\n"
    deep = b"LA_0023 LA_T_1 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n"
    field = st.one_of(st.sampled_from([*TOKENS, "-", "LA_T_1", "A01", "T_1"]), st.text(max_size=8))
    lines = st.lists(st.lists(field, min_size=4, max_size=14).map(" ".join), max_size=5)
    return st.one_of(
        damaged([la, five, keys, deep]),
        lines.map(lambda found: "\n".join(found).encode("utf-8", "surrogatepass")),
    )


def protocol(name: str) -> Callable[[Path], Reader]:
    """Protocols of that name."""

    def make(folder: Path) -> Reader:
        _audio_there(folder)
        (folder / "ASVspoof2019_LA_train").mkdir(exist_ok=True)
        (folder / "ASVspoof2019_LA_train" / "flac").symlink_to(folder / "flac")
        return of_file(folder, name, _protocols(), lambda path: _use_table(read(path), folder / "out"))

    return make


LISTS = {
    "meta.csv": (b"file,speaker,label\n0.wav,A B,spoof\n1.wav,C,bona-fide\n", ("0.wav", "1.wav")),
    "metadata/train.csv": (
        b"file,speaker,attack\na00/id1/x.flac,id1,a00\na01/id1/x.flac,id1,a01\n",
        ("flac/train/a00/id1/x.flac", "flac/train/a01/id1/x.flac"),
    ),
    "fake/en/tts/meta.csv": (
        b'path|original_file|language|transcript\n./fake/en/tts/a.wav|en/by_book/f/r/b/wavs/a.wav|en|"So\n',
        ("fake/en/tts/a.wav", "M-AILABS/en/by_book/f/r/b/wavs/a.wav"),
    ),
}
"""Lists of corpora with a heading, and the audio that they name."""


def corpus(place: str) -> Callable[[Path], Reader]:
    """A corpus whose list lies there."""
    seed, audio = LISTS[place]

    def make(folder: Path) -> Reader:
        root = folder / "corpus"
        for name in (*audio, place):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"RIFF")
        return of_file(root, place, damaged([seed]), lambda _: _use_corpus(root, folder / "out"))

    return make


def _use_corpus(root: Path, out: Path) -> None:
    found = check(root)
    table = read(root)
    assert not found.faults and len(found.table) == len(table)
    _use_table(table, out)


_PART = st.one_of(
    st.sampled_from(
        ["bonafide", "spoof", "real", "fake", "bonafid", "A07", ".hidden", "a.wav", "b.FLAC", "manifest.csv"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=12),
)


def folder(folder: Path) -> Reader:
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
                put(path, kind, root)
            except (OSError, ValueError):
                continue

    sane = st.sampled_from([[], [(["bonafide", "a.wav"], "file"), (["spoof", "A07", "a.wav"], "file")]])
    inputs = st.builds(lambda some, others: [*some, *others], sane, st.lists(item, max_size=8))
    return Reader(inputs, place, lambda _: _use_table(read(root), folder / "out"))


def put(path: Path, kind: str, root: Path) -> None:
    """Make a thing of that kind."""
    if kind == "file":
        path.touch(exist_ok=False)
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        target = {"link up": root, "link out": Path("/proc/self/fd"), "loop": path}.get(kind, root / "none")
        path.symlink_to(target)


def scores(folder: Path) -> Reader:
    """A score file and its key."""
    scores, key = folder / "scores.tsv", folder / "key.tsv"
    valid = b"filename\tcm-score\na\t1.5\nb\t-2\nc\t0.25\n"
    lines = b"a 1.5\nb -2\nc 0.25\n"
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
        st.tuples(damaged([valid, lines]), clean[1]),
        st.tuples(clean[0], damaged([truth])),
        st.tuples(damaged([valid]), damaged([truth])),
    )
    return Reader(inputs, place, use)


def trials(folder: Path) -> Reader:
    """Trials of speaker verification, with a key where they need one."""
    scores, key = folder / "asv.txt", folder / "asv_key.txt"
    truth = b"S1 a none - - target eval\nS2 a none - - nontarget eval\nS1 b g722 - A01 spoof eval\n"
    table = b"spk\tfilename\tasv-label\nS1\ta\ttarget\nS2\ta\tnontarget\nS1\tb\tspoof\n"
    labelled = [
        b"bonafide target 1.5\nbonafide nontarget -2\nA01 spoof 0\n",
        b"S1 a 1.5 target\nS2 a 1 nontarget\nS1 b 0 spoof\n",
    ]
    others = [
        b"S1 a 1.5\nS2 a -1\nS1 b 0.5\n",
        b"spk\tfilename\tcm-score\tasv-score\tsasv-score\nS1\ta\t-\t1.5\t2\nS2\ta\t-\t-1\t-2\nS1\tb\t-\t0\t1\n",
    ]

    def place(pair: tuple[bytes, bytes | None]) -> None:
        scores.write_bytes(pair[0])
        key.unlink(missing_ok=True)
        if pair[1] is not None:
            key.write_bytes(pair[1])

    def use(_: object) -> None:
        from molex_adapt.metrics import a_dcf, asv_rates
        from molex_adapt.trialfile import KINDS

        found = read_trials(scores, key if key.exists() else None)
        for given, figure in ((found.asv, asv_rates), (found.sasv, a_dcf)):
            if given is not None:
                figure(*(given[found.kinds == kind] for kind in KINDS))

    inputs = st.one_of(
        st.tuples(damaged(labelled), st.none()),
        st.tuples(damaged(others), st.sampled_from([truth, table])),
        st.tuples(st.sampled_from(others), damaged([truth, table])),
    )
    return Reader(inputs, place, use)


def recipe(folder: Path) -> Reader:
    """Recipes."""
    content = Recipe().model_dump(mode="json")
    return of_file(folder, "r.yaml", written(content), lambda path: recipes.dump(recipes.load(Recipe, path)))


def overrides(folder: Path) -> Reader:
    """Values of `--set`."""
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


def key(name: str) -> Callable[[Path], Reader]:
    """The truth beside a score file, in a form that the name tells."""
    forms = [
        b"filename\tcm-label\tattack\na\tbonafide\t-\nb\tspoof\tA01\n",
        b"LA_1 a - - bonafide\nLA_1 b - A07 spoof\n",
        b"E_1 a F C05 4 E_2 AC2 A17 spoof -\n",
        b"path\tlabel\na.wav\treal\nb.wav\tfake\n",
    ]
    forms += [form.decode().encode("utf-16") for form in forms]
    return lambda folder: of_file(folder, name, damaged(forms), read_truth)


def score_table(folder: Path) -> Reader:
    """What `score --out` writes as CSV."""
    rows = b"path,score,decision,reason\na.wav,1.5,spoof,\nb.wav,,,silent\n"
    return of_file(folder, "s.csv", damaged([rows]), read_table)
