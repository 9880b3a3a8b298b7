from __future__ import annotations

from pathlib import Path

import pytest

from molex_adapt.reports import ExportReport


@pytest.fixture
def exports(api, monkeypatch):
    from molex_adapt import Registry

    report = ExportReport(
        folder="exported/of/somebody/who/likes/long/names/and/deep/folders/everywhere",
        generation=5,
        experts=["world", "codec_x"],
        withdrawn=["world"],
        merged=False,
        files={"detector.onnx": 36_640_000, "detector.pt2": 48_000_000},
        source_bytes=29_000_000,
        checked=[0.039375, 0.5, 10.0],
        difference={"detector.onnx": 1.48e-5, "detector.pt2": 0.0},
        audio=4.0,
        runs=5,
        seconds={"source": 0.716, "detector.onnx": 0.527, "detector.pt2": 0.8},
        remarks=[],
    )
    asked = []

    def answer(registry, out, **keywords):
        asked.append((out, keywords["generation"], keywords["formats"]))
        return report

    monkeypatch.setattr(Registry, "export", answer)
    return asked, report


def test_export_shows_sizes_seconds_and_differences_in_80_columns(run, exports):
    asked, _ = exports
    ran = run("export", "out", "--format", "both", "--generation", "5")
    assert ran.status == 0
    assert asked == [(Path("out"), 5, ("onnx", "torch"))]
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["source", "29.0", "MB", "0.716"] in lines
    assert ["detector.onnx", "36.6", "MB", "0.527", "1.5e-05"] in lines
    assert "2 experts, with routers in the graph; 1 of them withdrawn." in " ".join(ran.out.split())


def test_export_tells_machines_the_same(run, exports):
    asked, report = exports
    ran = run("export", "out", "--json", "--quiet")
    assert ran.json == report.as_dict()
    assert asked == [(Path("out"), None, ("onnx",))]
