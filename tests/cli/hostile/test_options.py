"""Hostile and broken options, names and files.

Each must end with status 1 or 2 and one message that names what is wrong and says what to do, without a traceback and
with the registry as it was, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

GOOD_SCORES = "filename\tcm-score\na\t1.5\nb\t-2\n"


CASES: dict[str, tuple[Callable[[Any], list[Any]], int, str, str]] = {
    # options
    "unknown recipe key": (
        lambda w: w.add(w.hum, "--recipe", str(w.text("r.yaml", "expert: {stebs: 3}"))),
        1,
        "r.yaml",
        "'steps'",
    ),
    "wrong recipe value": (
        lambda w: w.add(w.hum, "--recipe", str(w.text("r.yaml", "expert: {steps: many}"))),
        1,
        "r.yaml",
        "expert.steps = 'many': .* integer",
    ),
    "broken recipe": (
        lambda w: w.add(w.hum, "--recipe", str(w.text("r.yaml", "expert: [\n"))),
        1,
        "r.yaml is not valid YAML",
        "Mend it",
    ),
    "recipe is a list": (
        lambda w: w.add(w.hum, "--recipe", str(w.text("r.yaml", "[1]"))),
        1,
        "r.yaml: expected a mapping",
        "Mend it",
    ),
    "no recipe": (lambda w: w.add(w.hum, "--recipe", "r.yaml"), 1, "r.yaml does not exist", "give the path"),
    "unknown shipped recipe": (
        lambda w: w.add(w.hum, "--recipe", "dem"),
        1,
        "no shipped recipe 'dem'",
        "demo",
    ),
    "wrong set": (
        lambda w: w.add(w.hum, "--set", "expert.stebs=3"),
        1,
        "expert.stebs",
        "did you mean 'steps'",
    ),
    "set without value": (
        lambda w: w.add(w.hum, "--set", "expert.steps"),
        1,
        "expert.steps",
        "key.path=value",
    ),
    "other structure": (
        lambda w: w.add(w.hum, "--set", "head.width=64"),
        1,
        "head.width = 64",
        "Leave these",
    ),
    "device not here": (
        lambda w: w.add(w.hum, "--device", "cuda"),
        1,
        "'cuda' is not available",
        "--device auto",
    ),
    "no device": (lambda w: w.add(w.hum, "--device", "tpu"), 2, "tpu", "auto"),
    "seed": (lambda w: w.add(w.hum, "--seed", "-1"), 2, "--seed", "range|for help"),
    "no domain": (lambda w: ["add-expert", w.hum], 2, "--domain", "add-expert -h"),
    # names
    "name taken": (lambda w: w.add(w.hum, "--name", "buzz"), 1, "'buzz' is already", "--name"),
    "name as a path": (lambda w: w.add(w.hum, "--name", "../../x"), 1, r"'../../x' cannot be used", "a-z"),
    "domain as a path": (
        lambda w: ["add-expert", w.hum, "--domain", "/etc"],
        1,
        "domain name '/etc' cannot",
        "a-z",
    ),
    # the registry
    "train twice": (lambda w: ["train", w.hum, "--domain", "hum"], 1, "has a mixture already", "add-expert"),
    "init on a registry": (
        lambda w: ["init", w.base, "--registry", w.registry],
        1,
        "already holds a registry",
        "--registry",
    ),
    "init in a full folder": (
        lambda w: ["init", w.base, "--registry", w.text("x", "").parent],
        1,
        "place is not empty",
        "--registry",
    ),
    "init on a file": (
        lambda w: ["init", w.base, "--registry", w.text("x", "")],
        2,
        "x' is a file",
        "molex-adapt init -h",
    ),
    "init without base": (
        lambda w: ["init", "nobody/nothing", "--registry", "new"],
        1,
        "nobody/nothing",
        "Hub model id",
    ),
    "init on an empty folder": (
        lambda w: ["init", w.at, "--registry", "new"],
        1,
        "no config.json",
        "save_pretrained",
    ),
    "rollback beyond": (
        lambda w: ["rollback", 99],
        1,
        "no generation 99; it has 1, 2",
        "molex-adapt history",
    ),
    "remove nobody": (lambda w: ["remove", "nobody"], 1, "'nobody'", "molex-adapt list"),
    "purge nobody": (lambda w: ["remove", "nobody", "--purge"], 1, "'nobody'", "molex-adapt list"),
    "remove a path": (lambda w: ["remove", "../base", "--purge"], 1, "'../base'", "molex-adapt list"),
    "show nobody": (lambda w: ["show", "nobody"], 1, "'nobody'", "molex-adapt list"),
    "show beyond": (
        lambda w: ["show", "--generation", 7],
        1,
        "no generation 7; it has 1, 2",
        "molex-adapt history",
    ),
    "routers on one attack twice": (
        lambda w: ["retrain-router", w.hum, w.hum],
        1,
        "'hum' comes in two",
        "one manifest",
    ),
    # use
    "score nothing there": (lambda w: ["score", "missing.wav"], 1, "missing.wav", "[Cc]heck the path"),
    "score text": (lambda w: ["score", w.text("text.wav", "hello")], 1, "text.wav", "[Ee]xport|[Cc]onvert"),
    "score NaN": (
        lambda w: ["score", w.data(count=1, spoof=lambda at: np.full(12_000, np.nan)) / "spoof"],
        1,
        "fake0.wav",
        "Write the file again",
    ),
    "score an empty folder": (lambda w: ["score", w.at], 1, "no recordings to score", "name audio files"),
    "score into nowhere": (
        lambda w: ["score", w.hum / "bonafide", "--out", "no/such/scores.tsv"],
        1,
        "no/such/scores.tsv",
        "Choose",
    ),
    "evaluate one class": (lambda w: ["evaluate", w.data()], 1, "no spoof", "Add spoof recordings to .*data"),
    "analyze nothing": (lambda w: ["analyze", "nowhere"], 1, "nowhere does not exist", "Check the path"),
    "scores NaN": (
        lambda w: w.scores(GOOD_SCORES.replace("-2", "nan")),
        1,
        "scores.tsv, line 3",
        "score it again",
    ),
    "scores twice": (
        lambda w: w.scores(GOOD_SCORES + "a\t2\n"),
        1,
        "scores.tsv, line 4.*'a' again",
        "Remove one",
    ),
    "scores without key": (
        lambda w: w.scores(GOOD_SCORES + "c\t2\n"),
        1,
        "1 .'c'. scored but not in the key",
        "Check",
    ),
    "key typo": (
        lambda w: w.scores(GOOD_SCORES, "filename\tcm-label\na\tbonafid\nb\tspoof\n"),
        1,
        "key.tsv, line 2",
        "bonafide",
    ),
    "commas": (
        lambda w: w.scores(GOOD_SCORES.replace("\t", ",")),
        1,
        "scores.tsv is separated by ','",
        "Convert",
    ),
    "one class of scores": (
        lambda w: w.scores(GOOD_SCORES, "filename\tcm-label\na\tspoof\nb\tspoof\n"),
        1,
        "key.tsv: every file is spoofed",
        "add the other class",
    ),
    "scores alone": (
        lambda w: ["evaluate", "--scores", w.text("s.tsv", GOOD_SCORES)],
        2,
        "--key",
        "either DATA",
    ),
    # make
    "unknown attack": (lambda w: ["simulate", "griffin", w.hum, "out"], 1, "griffin", "griffin_lim"),
    "attack parameter": (
        lambda w: ["simulate", "mp3", w.hum, "out", "--set", "bit_rat=7"],
        1,
        "bit_rat",
        "bit_rate",
    ),
    "attack value": (
        lambda w: ["simulate", "lpc", w.hum, "out", "--set", "x=1"],
        1,
        "x = 1: unknown parameter",
        "Expected parameters: order",
    ),
    "value of a condition": (
        lambda w: ["simulate", "lpc", w.hum, "out", "--condition", "finish:codec=mp9"],
        1,
        "codec = 'mp9'",
        "g722",
    ),
    "condition": (
        lambda w: ["simulate", "lpc", w.hum, "out", "--condition", "ops"],
        1,
        "no condition 'ops'",
        "Did you mean 'opus'",
    ),
    "condition written wrongly": (
        lambda w: ["simulate", "lpc", w.hum, "out", "--condition", "opus=6000"],
        1,
        "no condition 'opus=6000'",
        "Choose one",
    ),
    "condition as an attack": (
        lambda w: ["simulate", "gsm", w.hum, "out", "--set", "passes=3"],
        1,
        "gsm is a condition, not an attack",
        "simulate null IN OUT --condition gsm:passes=3",
    ),
    "simulate into something": (
        lambda w: ["simulate", "lpc", w.hum, w.text("mine.txt", "").parent],
        1,
        "place",
        "[Cc]hoose|[Nn]ame|empty",
    ),
    "simulate nothing": (lambda w: ["simulate", "lpc", "nowhere", "out"], 1, "nowhere", "Check the path"),
    "demo without speech": (
        lambda w: ["demo", "--speech", "nowhere", "--out", "out"],
        1,
        "nowhere is not a folder",
        "check the path",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_explained_and_changes_nothing(world, refuses, name):
    build, status, named, remedy = CASES[name]
    refuses(build(world), status, named, remedy)
