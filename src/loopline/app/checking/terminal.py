"""The check for a terminal, of 80 columns or more."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loopline.app.checking.bias import MEANING, GroupTable
from loopline.app.checking.check_report import CheckReport
from loopline.tables.proposal.facts import ColumnFacts
from loopline.tables.proposal.finding import LEVELS, Finding

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim"}
_MOST_COLUMNS, _MOST_NOTES, _MOST_TELLS = 40, 30, 8
_BARS = "▁▂▃▄▅▆▇█"
_TOP = 3
_WIDTH = 12


def check_text(report: CheckReport) -> RenderableType:
    """The report, to print with rich. What files say is text, never console markup."""
    return Group(*_parts(report))


def _parts(report: CheckReport) -> Iterator[RenderableType]:
    yield Text(_headline(report), style="bold")
    if report.columns:
        yield Text()
        yield _columns(report)
    yield Text()
    yield from _findings(report.findings)
    if report.label is not None:
        yield from _label(report)
    yield from (_groups(table) for table in report.groups)
    if report.groups:
        yield Text(MEANING, style="dim")
    if report.compared_with is not None:
        yield from _changes(report)


def _headline(report: CheckReport) -> str:
    files = f"{len(report.files)} files" if len(report.files) > 1 else "1 file"
    sampled = f", {report.looked_at:,} looked at" if report.looked_at < report.rows else ""
    return f"{report.where}: {files}, {report.format}, {report.rows:,} rows{sampled}, {len(report.columns):,} columns"


def _columns(report: CheckReport) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    table.add_column("column", overflow="fold", max_width=22)
    table.add_column("type", max_width=14)
    table.add_column("nulls", justify="right")
    table.add_column("distinct", justify="right")
    table.add_column("values", overflow="fold", ratio=1)
    shown = _shown(report)
    for facts in shown:
        mark = "*" if facts.personal else ""
        cells = [f"{facts.name}{mark}", facts.kind, _share(facts.null_share), f"{facts.distinct:,}", _values(facts)]
        table.add_row(*map(Text, cells))
    left = len(report.columns) - len(shown)
    told = f"{left:,} more columns: --json or --report FILE shows all." if left else ""
    masked = "* may be about persons: its values are masked." if any(one.personal for one in shown) else ""
    return Group(table, *(Text(one, style="dim") for one in (masked, told) if one))


def _shown(report: CheckReport) -> list[ColumnFacts]:
    """All columns, or of very many those that something is told of first."""
    if len(report.columns) <= _MOST_COLUMNS:
        return report.columns
    told = {finding.column for finding in report.findings if finding.level != "note"}
    order = sorted(range(len(report.columns)), key=lambda place: (report.columns[place].name not in told, place))
    return [report.columns[place] for place in sorted(order[:_MOST_COLUMNS])]


def _values(facts: ColumnFacts) -> str:
    if facts.kind == "nothing":
        return ""
    if facts.low is not None and facts.high is not None:
        middle = facts.quantiles.get("0.5")
        typical = f", half below {middle:.4g}" if isinstance(middle, float) else ""
        return f"{_bars(facts.counts)} {facts.low} to {facts.high}{typical}"
    if facts.top:
        known = max(facts.rows - facts.nulls, 1)
        return ", ".join(f"{value!r} {rows / known:.0%}" for value, rows in facts.top[:_TOP])
    return ", ".join(map(repr, facts.examples))


def _bars(counts: list[int]) -> str:
    """A histogram in letters: neighbours together."""
    if len(counts) < _WIDTH:
        return ""
    size = len(counts) // _WIDTH
    sums = [sum(counts[place * size : (place + 1) * size]) for place in range(_WIDTH)]
    most = max(sums) or 1
    return "".join(_BARS[min(count * len(_BARS) // most, len(_BARS) - 1)] if count else " " for count in sums)


def _share(share: float) -> str:
    return "" if not share else "<1%" if share < 0.01 else f"{share:.0%}"  # noqa: PLR2004 - one per cent


def _findings(findings: list[Finding]) -> Iterator[RenderableType]:
    if not findings:
        yield Text("Nothing to complain of.", style="green")
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    told = ", ".join(f"{count:,} {level}{'s' if count != 1 else ''}" for level, count in counts.items() if count)
    if told:
        yield Text(told, style="bold")
    for level in LEVELS:
        mine = [finding for finding in findings if finding.level == level]
        yield from map(_finding, mine[:_MOST_NOTES])
        if len(mine) > _MOST_NOTES:
            yield Text(f"... and {len(mine) - _MOST_NOTES:,} more {level}s: --json has all.", style="dim")


def _finding(finding: Finding) -> RenderableType:
    text = Text(f"{finding.level} ", style=_COLOURS[finding.level])
    text.append(f"{finding.code} ", style="default")
    if finding.column is not None:
        text.append(f"{finding.column}: ", style="bold default")
    text.append(finding.message, style="default")
    if finding.remedy:
        text.append(f" {finding.remedy}", style="dim default")
    return Padding(text, (0, 0, 0, 0))


def _label(report: CheckReport) -> Iterator[RenderableType]:
    label = report.label
    if label is None or label.kind is None:
        return
    yield Text()
    said = {"binary": "two classes", "multiclass": "classes", "regression": "a number"}[label.kind]
    yield Text(f"Label {label.column}: {said}, known in {label.known:,} rows", style="bold")
    total = max(sum(rows for _, rows in label.classes), 1)
    for name, rows in label.classes[:10]:
        bar = "█" * round(30 * rows / total)
        yield Text(f"  {name[:20]:<20} {rows:>9,} {rows / total:>6.1%} {bar}")
    if report.tells:
        yield Text("What single columns tell of it", style="bold")
    for tell in report.tells[:_MOST_TELLS]:
        yield Text(f"  {'!' if tell.suspect else ' '} {tell.sentence}", style="red" if tell.suspect else "")


def _groups(made: GroupTable) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    table.add_column(made.column, overflow="fold", max_width=24)
    for name in ("rows", "share", "label", "95 % interval", "gap to others"):
        table.add_column(name, justify="right")
    for group in made.groups:
        mean = "" if group.mean is None else f"{group.mean:.3f}"
        bounds = "" if group.lower is None or group.upper is None else f"{group.lower:.3f} to {group.upper:.3f}"
        gap = "" if group.gap is None else f"{group.gap:+.3f}"
        table.add_row(*map(Text, (group.name, f"{group.rows:,}", f"{group.share:.1%}", mean, bounds, gap)))
    return Group(Text(), table)


def _changes(report: CheckReport) -> Iterator[RenderableType]:
    yield Text()
    yield Text(f"Compared with {report.compared_with}", style="bold")
    if not report.changes:
        yield Text("  No column's distribution differs beyond chance.")
    for change in report.changes[:_MOST_NOTES]:
        yield Text(f"  {change.distance:.3f} (chance {change.usual:.3f})  {change.sentence}")
