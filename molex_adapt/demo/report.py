"""The demonstration's page: what changed, domain by domain, and which experts did the work; one file, no scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from molex_adapt.metrics import Rates
from molex_adapt.reports import Analysis, Comparison

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2330; }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100% } table + table { margin-top: 1.2rem }
td, th { padding: .35rem .6rem; text-align: right }
td:first-child, th:first-child { text-align: left } th { border-bottom: 2px solid #1c2330; font-weight: 600 }
tr:nth-child(even) td { background: #f5f7fa } tr.novel td { font-weight: 600 }
.bar { display: inline-block; height: .7rem; vertical-align: middle; border-radius: 2px }
.before { background: #c9503c } .after { background: #2f7d5b } small { color: #5a6475 } td.heat { text-align: center }
"""


def write_report(
    path: Path,
    novel: str,
    voices: Sequence[Comparison | None],
    analysis: Analysis,
    seconds: Mapping[str, float],
    held_out: str,
) -> None:
    """Write the page.

    Args:
        path: of the HTML file.
        novel: the new domain.
        voices: figures on known voices, and on the held-out voice where there is one.
        analysis: shares of the experts.
        seconds: wall-clock per step.
        held_out: name of the voice nobody heard.
    """
    titles = ("Test recordings, voices known from training", f"The held-out voice ({held_out})")
    parts = [f"<h1>molex-adapt meets {escape(novel)}</h1>"]
    parts.append(
        f"<p>The shipped mixture had never seen <b>{escape(novel)}</b>. One new expert was trained on it, and the "
        "shared head with it; the base and every old expert stayed frozen. EER in per cent, with 95 % bootstrap "
        "intervals; lower is better, and <b>null</b> (processing without an attack) must stay near 50.</p>"
    )
    for title, report in zip(titles, voices, strict=True):
        if report is not None:
            parts += [f"<h2>{escape(title)}</h2>", _changes(report, novel), _errors(report)]
    parts += ["<h2>Which experts did the work</h2>", _shares(analysis)]
    steps = " · ".join(f"{escape(name)} {value:.0f} s" for name, value in seconds.items())
    parts.append(f"<p><small>{steps}</small></p>")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>molex-adapt demo</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    path.write_text(page, encoding="utf-8")


def _changes(report: Comparison, novel: str) -> str:
    rows = []
    for domain, after in report.after.items():
        before = report.before.get(domain)
        change = report.change.get(domain)
        cells = [f"<td>{escape(domain)}</td>", _rate(before), _rate(after)]
        cells.append(f"<td>{100 * change.eer:+.1f}</td>" if change is not None else "<td>–</td>")
        cells.append(f"<td style='text-align:left'>{_bar(before, 'before')}<br>{_bar(after, 'after')}</td>")
        cells.append(f"<td>{after.bona_fide} + {after.spoof}</td>")
        rows.append(f"<tr{' class=novel' if domain == novel else ''}>{''.join(cells)}</tr>")
    header = "<tr><th>domain</th><th>before</th><th>after</th><th>change</th><th></th><th>n</th></tr>"
    return f"<table>{header}{''.join(rows)}</table>"


def _errors(report: Comparison) -> str:
    """What a deployed system feels: errors at the threshold that was frozen before."""
    if not report.change:
        return ""
    rows = []
    for domain, change in report.change.items():
        both = (f"{100 * old:.1f} → {100 * new:.1f} %" for old, new in (change.miss, change.false_alarm))
        rows.append(f"<tr><td>{escape(domain)}</td>{''.join(f'<td>{cell}</td>' for cell in both)}</tr>")
    header = "<tr><th>at the frozen threshold</th><th>bona fide refused</th><th>spoof accepted</th></tr>"
    return f"<table>{header}{''.join(rows)}</table>"


def _rate(rates: Rates | None) -> str:
    if rates is None:
        return "<td>–</td>"
    low, high = rates.eer_ci
    return f"<td>{100 * rates.eer:.1f} <small>[{100 * low:.1f}, {100 * high:.1f}]</small></td>"


def _bar(rates: Rates | None, kind: str) -> str:
    width = 0.0 if rates is None else max(0.15, 14 * rates.eer)
    return f"<span class='bar {kind}' style='width:{width:.2f}rem'></span>"


def _shares(analysis: Analysis) -> str:
    header = "".join(f"<th>{escape(expert)}</th>" for expert in analysis.experts)
    rows = []
    for name in analysis.attacks:
        cells = "".join(_heat(analysis.usage[name][expert]) for expert in analysis.experts)
        rows.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    return f"<table><tr><th>speech</th>{header}</tr>{''.join(rows)}</table>"


def _heat(share: float) -> str:
    colour = "#fff" if share > 0.55 else "#1c2330"
    style = f"background:rgba(32,90,160,{share:.2f});color:{colour}"
    return f"<td class='heat' style='{style}'>{100 * share:.0f} %</td>"
