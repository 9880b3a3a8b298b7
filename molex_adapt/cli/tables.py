"""Results as rich tables that fit 80 columns; the only place where a rate becomes a percentage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.columns import Columns
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from molex_adapt.conventions import NULL_DOMAIN
from molex_adapt.text import command_line, visible

if TYPE_CHECKING:  # the start-up of every command passes here: no numpy
    from molex_adapt.api import Course, Figure, Forgetting, GenerationStep
    from molex_adapt.data import Failed
    from molex_adapt.metrics import Rates, RefusalsChange
    from molex_adapt.reports import Change, Comparison, StageReport

MOST_LISTED = 10
COLUMNS = 80
GAP = 2
"""Characters between two columns."""
_MOST_LAID_OUT = 500
_MOST_STEPS = 12
_TITLE_WIDTH = 78
_STARRED = (
    "* measured on other recordings than now: a new domain is measured on its whole test split, later on the exemplars "
    "kept of it, or on what --check named. The last column is from changes on the same recordings."
)


def stage_table(report: StageReport, registry: Path) -> list[RenderableType]:
    """Before and after, domain by domain, and what came of it."""
    figures = comparison_table(report, report.refused, report.not_measured)
    return [*figures, *failures(report.failed), *_outcome(report, registry)]


def comparison_table(
    report: Comparison, refused: Sequence[str] = (), not_measured: Sequence[str] = ()
) -> list[RenderableType]:
    """Before and after, domain by domain."""
    title = "EER in % by domain, with 95 % intervals"
    table = empty_table(title, "domain", "before", "after", "change", whole=True)
    for column in table.columns[1:3]:
        column.no_wrap = False  # an interval goes below its figure before a name is broken
    table.add_column("verdict", no_wrap=True)
    for domain in [*report.before, *(name for name in report.after if name not in report.before)]:
        change = report.change.get(domain)
        table.add_row(
            domain,
            eer_cell(report.before.get(domain)),
            eer_cell(report.after.get(domain)),
            points_cell(change, report.after.get(domain)),
            _verdict(domain, change, report, refused),
        )
    for domain in not_measured:
        table.add_row(domain, "-", "-", "-", Text("no data", style="yellow"))
    return [table, *drift_table(report.change), *_real_speech(report)]


def _real_speech(report: Comparison) -> list[RenderableType]:
    """What happened to bona fide speech of all domains together, and to the voice that fared worst."""
    found = report.real_speech
    if found is None:
        return []
    lines = [_refused("Bona fide speech refused", found)]
    if report.voices:
        worst = max(report.voices, key=lambda voice: report.voices[voice].rise)
        which = (
            f"worst of {len(report.voices)} voices, {worst}" if len(report.voices) > 1 else f"voice {worst}"
        )
        lines.append(_refused(which, report.voices[worst]))
    return [*lines, Text()]


def _refused(what: str, found: RefusalsChange) -> Text:
    low, high = found.interval
    shares = f"{100 * found.before:.1f} → {100 * found.after:.1f} %"
    rise = f"{100 * found.rise:+.1f} points ({100 * low:+.1f} {100 * high:+.1f})"
    style = "red" if low > 0 else ""
    return Text(f"{what}: {shares} of {found.bona_fide} recordings, ").append(Text(rise, style=style))


def in_width(widths: Mapping[str, int], beside: int) -> list[list[str]]:
    """Columns of these widths in runs, each of which fits into a table with `beside` characters of other columns."""
    runs: list[list[str]] = []
    free = 0
    for name, width in widths.items():
        if not runs or width + GAP > free:
            runs.append([])
            free = COLUMNS - beside
        runs[-1].append(name)
        free -= width + GAP
    return runs


def forgetting_tables(report: Forgetting) -> list[RenderableType]:
    """EER by domain and generation, what each generation was, and present against best; generations are columns."""
    steps = range(len(report.steps))[-_MOST_STEPS:]
    numbers = [str(report.steps[at].generation) for at in steps]
    matrix = empty_table("EER in % by domain and generation", "domain", *numbers, whole=True)
    matrix.padding = (0, 0)  # a dozen columns
    for course in report.courses:
        matrix.add_row(course.domain, *(_percentage(course.figures[at]) for at in steps))
    told = [f"{number} {_told(report.steps[at])}" for number, at in zip(numbers, steps, strict=True)]
    if len(steps) < len(report.steps):
        told.append(f"(the first {len(report.steps) - len(steps)}: see --json)")
    return [matrix, Padding(Columns(told, padding=(0, 2)), (0, 1)), Text(), *_forgotten(report)]


def failures(failed: Sequence[Failed]) -> list[RenderableType]:
    """What was left out, and why; the first few by name."""
    if not failed:
        return []
    table = empty_table(f"Left out: {len(failed)}", "recording")
    table.add_column("reason", overflow="fold")
    for item in failed[:MOST_LISTED]:
        # Errors name their file; here it stands beside them.
        table.add_row(one_line(item.path), item.reason.removeprefix(item.path).lstrip(": "))
    if len(failed) > MOST_LISTED:
        table.add_row(f"... and {len(failed) - MOST_LISTED} more", "--json lists all")
    return [table]


def plain_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> RenderableType:
    """A table of texts; a long one has no folding and no rules, and is there at once."""
    content = list(rows)
    if len(content) > _MOST_LAID_OUT:
        return _aligned(title, columns, [[visible(cell) for cell in row] for row in content])
    table = empty_table(title)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in content:
        table.add_row(*row)
    return table


def _aligned(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    lines = ["  ".join(map(set_cell_size, row, widths)).rstrip() for row in (columns, *rows)]
    text = Text(f"{title}\n{lines[0]}\n", style="bold", no_wrap=True, overflow="ignore")
    return text.append("\n".join(lines[1:]), style="not bold")


def pairs(title: str, values: Mapping[str, RenderableType]) -> Table:
    """Names and values, one pair a line."""
    table = empty_table(title)
    table.show_header = False
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(name, value)
    return table


def one_line(name: str) -> str:
    """A file's name that cannot look like a further row."""
    return name.replace("\n", r"\n").replace("\t", r"\t")


def empty_table(title: str, *columns: str, whole: bool = False) -> Table:
    """A table without rows yet, as all of ours look: a column of names, and columns of figures, unbroken if `whole`."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        min_width=min(len(title), _TITLE_WIDTH),  # else a short table breaks its title
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in columns[:1]:
        table.add_column(name, overflow="fold")
    for name in columns[1:]:
        table.add_column(name, justify="right", no_wrap=whole)
    return table


def eer_cell(rates: Rates | None) -> str:
    """In per cent, with its interval where there are recordings enough for one."""
    if rates is None:
        return "-"
    if not rates.has_interval:
        return f"{100 * rates.eer:.1f}"
    low, high = rates.eer_ci
    return f"{100 * rates.eer:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def reach(interval: tuple[float, float], unit: float = 1.0, places: int = 3) -> str:
    """An interval, in so many of a unit."""
    low, high = interval
    return f"{unit * low:.{places}f}–{unit * high:.{places}f}"


def points_cell(change: Change | None, rates: Rates | None) -> Text:
    """Change of an EER in points, with its interval where recordings are enough; coloured where that is certain."""
    if change is None:
        return Text("-")
    if rates is None or not rates.has_interval:
        return Text(f"{100 * change.eer:+.1f}")
    low, high = change.interval
    style = "green" if high < 0 else "red" if low > 0 else ""
    return Text(f"{100 * change.eer:+.1f} ({100 * low:+.1f} {100 * high:+.1f})", style=style)


def _verdict(domain: str, change: Change | None, report: Comparison, refused: Sequence[str]) -> Text:
    if domain == NULL_DOMAIN:
        return Text("control")
    if any(reason.startswith(f"{domain}:") for reason in refused):
        return Text("unproven" if domain == report.novel else "regressed", style="bold red")
    if change is None:
        return Text("new" if domain not in report.before else "no data")
    low, high = change.interval
    if high < 0:
        return Text("learnt" if domain == report.novel else "better", style="green")
    if low > 0:
        return Text("worse", style="yellow")
    held = change.most_risen(report.after[domain]) <= report.tolerance
    return Text("held") if held else Text("unclear", style="yellow")


def drift_table(changes: Mapping[str, Change]) -> list[RenderableType]:
    """Errors of every domain at its generation's threshold, before and after; no table where nothing was measured."""
    if not changes:
        return []
    title = "At the threshold: errors before → after, and shift of the mean score"
    table = empty_table(title, "domain", "bona fide refused", "spoof accepted", "bona fide", "spoof")
    for domain, change in changes.items():
        errors = [f"{100 * a:.1f} → {100 * b:.1f} %" for a, b in (change.miss, change.false_alarm)]
        table.add_row(domain, *errors, f"{change.bona_fide_shift:+.2f}", f"{change.spoof_shift:+.2f}")
    return [table]


def _outcome(report: StageReport, registry: Path) -> list[RenderableType]:
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.seconds.items() if seconds)
    if report.activated:
        line = Text(f"Generation {report.generation} is active", style="bold green")
    else:
        line = Text(f"Refused: generation {report.generation} was kept but is not active", style="bold red")
    line.append(f" ({took})" if took else "", style="not bold default")
    reasons = [Text(f"  {reason}") for reason in report.refused]
    gain = report.gain if report.gain is not None and report.gain.is_certain else None
    if gain is not None:
        without, with_it = (f"{100 * eer:.1f}" for eer in gain.eer)
        reasons.append(
            Text(
                f"  Beside the readout the expert brought {gain} on the development split, whose EER went "
                f"from {without} to {with_it} %"
            )
        )
    if report.withdrawn:
        harm = "would do harm elsewhere" if gain is not None else "would not help"
        why = f"The expert {harm} and is withdrawn" if report.training else "No expert was trained"
        reasons.append(Text(f"  {why}; the readout has learnt the domain"))
    if report.not_measured:
        reasons.append(Text(f"  Not measured, no recordings kept: {', '.join(report.not_measured)}"))
    if not report.activated:
        words = ["molex-adapt", "rollback", str(report.generation), "--registry", str(registry)]
        reasons.append(Text(f"  To activate it all the same: {command_line(words)}"))
        if _refuses_more(report):
            words = ["molex-adapt", "set-threshold", "REAL-SPEECH", "--registry", str(registry)]
            reasons.append(
                Text(f"  and for a threshold that refuses no more real speech: {command_line(words)}")
            )
    return [line, *reasons]


def _refuses_more(report: StageReport) -> bool:
    """Whether more real speech is certainly refused, of all voices together or of one."""
    of_all = [report.real_speech] if report.real_speech is not None else []
    return any(change.interval[0] > 0 for change in (*of_all, *report.voices.values()))


def _told(step: GenerationStep) -> str:
    """What a generation added and took away, else by which command it came."""
    added = [f"{len(step.added)} experts"] if len(step.added) > 1 else [f"+{name}" for name in step.added]
    return " ".join([*added, *(f"-{name}" for name in step.removed)]) or step.command or "?"


def _forgotten(report: Forgetting) -> list[RenderableType]:
    title = "Forgotten: EER now minus the best before (of generation), in points"
    table = empty_table(title, "domain", "first", "best", "now (95 %)", "forgotten", "paired", whole=True)
    starred = {course.domain for course in report.courses if _elsewhere(course.best, course.present)}
    for course in report.courses:
        table.add_row(
            course.domain,
            *(_with_generation(item, course.present) for item in (course.first, course.best)),
            _present(course),
            _difference(course.forgetting) + ("*" if course.domain in starred else ""),
            _difference(course.forgetting_paired),
        )
    table.add_section()
    worst, alike = report.worst(), report.worst(paired=True)
    means = [_difference(report.mean()) + ("*" if starred else ""), _difference(report.mean(paired=True))]
    table.add_row("mean", "", "", "", *means)
    star = "*" if worst and worst[0] in starred else ""
    figures = [_difference(worst and worst[1]) + star, _difference(alike and alike[1])]
    table.add_row("worst", "", "", "", *figures)
    return [table, *([Padding(_STARRED, (0, 1))] if starred else [])]


def _elsewhere(figure: Figure | None, present: Figure | None) -> bool:
    """Whether a figure stands on other recordings than the present one."""
    if figure is None or present is None or figure is present:
        return False
    return not figure.same_recordings(present)


def _with_generation(figure: Figure | None, present: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{_percentage(figure)}{'*' if _elsewhere(figure, present) else ''} ({figure.generation})"


def _present(course: Course) -> str:
    if not course.known[-1]:
        return "removed"
    if course.present is None or course.present.eer_ci is None:
        return _percentage(course.present)
    low, high = course.present.eer_ci
    return f"{_percentage(course.present)} ({100 * low:.1f}–{100 * high:.1f})"


def _percentage(figure: Figure | None) -> str:
    return "-" if figure is None else f"{100 * figure.eer:.1f}"


def _difference(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"
