"""Registries with one damaged file.

Each must end with status 1 or 2 and one message that names what is wrong and says what to do, without a traceback and
with the registry as it was, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

ADD = ("add-expert", "--domain", "hum")


def flip(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 0x41]) + content[-2:]


COPY = "restore the file from a copy"
WEIGHTS = "experts/buzz/adapter_model.safetensors"

INDEX = "from a copy; nothing else says"
DAMAGED: dict[str, tuple[str, Callable[[bytes], bytes] | None, list[str], str, str]] = {
    "registry rubbish": (
        "registry.yaml",
        lambda _: b"\x00\xff{",
        ["list"],
        "registry.yaml",
        INDEX,
    ),
    "registry list": (
        "registry.yaml",
        lambda _: b"[1, 2]",
        ["score", "HUM"],
        "registry.yaml",
        INDEX,
    ),
    "newer format": (
        "registry.yaml",
        lambda old: old.replace(b"format: 1", b"format: 9"),
        ["history"],
        "format 9",
        "reads format 1",
    ),
    "expert weights": (WEIGHTS, flip, ["score", "HUM"], "adapter_model", COPY),
    "expert cut off": (WEIGHTS, lambda old: old[:99], ["evaluate", "HUM"], "buzz/adapter_model", COPY),
    "expert gone": (WEIGHTS, None, ["analyze", "HUM"], "buzz/adapter_model", COPY),
    "expert record": (
        "experts/buzz/expert.yaml",
        lambda _: b"name: ../x",
        ["show", "buzz"],
        "buzz/expert.yaml",
        COPY,
    ),
    "expert record, in a history": (
        "experts/buzz/expert.yaml",
        lambda _: b"name: ../x",
        ["history", "--domains"],
        "buzz/expert.yaml",
        COPY,
    ),
    "listing": ("generations/2/experts.json", lambda _: b"[]", ["list"], "experts.json has sha256", COPY),
    "expert rank": (
        "experts/buzz/expert.yaml",
        lambda old: old.replace(b"rank: 2", b"rank: 7", 1),
        [*ADD, "HUM"],
        "says rank 7",
        "Restore both files",
    ),
    "exemplars": ("experts/buzz/exemplars.safetensors", flip, [*ADD, "HUM"], "exemplars", COPY),
    "exemplars gone": ("experts/buzz/exemplars.safetensors", None, ["retrain-router"], "exemplars", COPY),
    "head gone": ("generations/2/head.safetensors", None, ["score", "HUM"], "head.safetensors", COPY),
    "router": ("generations/2/router.safetensors", flip, ["score", "HUM"], "router.safetensors", COPY),
    "recipe": (
        "generations/2/recipe.yaml",
        lambda old: old + b"\n#",
        [*ADD, "HUM"],
        "recipe.yaml has sha256",
        COPY,
    ),
    "recipe, overridden": (
        "generations/2/recipe.yaml",
        lambda _: b"expert: [",
        [*ADD, "HUM", "--set", "expert.steps=3"],
        "recipe.yaml has sha256",
        COPY,
    ),
    "generation gone": ("generations/2/generation.yaml", None, ["show"], "generation.yaml", COPY),
    "generation to go back to": (
        "generations/1/head.safetensors",
        flip,
        ["rollback", "1"],
        "generation 1.*damaged",
        COPY,
    ),
    "base weights": ("base/model.safetensors", flip, ["score", "HUM"], "base .* is not the one", "Restore"),
    "base cut off": (
        "base/model.safetensors",
        lambda old: old[:-9],
        ["score", "HUM"],
        "registry/base. cannot be loaded",
        "restore .*registry/base from a copy",
    ),
    "base config": (
        "base/config.json",
        lambda _: b"{}",
        ["analyze", "HUM"],
        "registry/base. cannot be loaded",
        "restore .*registry/base from a copy",
    ),
    "verify": (WEIGHTS, flip, ["verify"], "1 problem", COPY),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_registry_is_explained_and_left_alone(world, refuses, name):
    file, change, arguments, named, remedy = DAMAGED[name]
    world.damaged(file, change)
    refuses(arguments, 1, named, remedy)
