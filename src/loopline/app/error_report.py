"""The report on errors: what recurs, when, what healing cost, and what it hides; for a terminal's JSON and as one HTML file."""

from datetime import datetime, timedelta

import msgspec

from loopline.app.report.chart import text
from loopline.app.report.document import both, document, headed, section
from loopline.app.report.figure import moment, times
from loopline.app.report.markup import Markup, element
from loopline.app.report.table import column, table
from loopline.pipelines.healing import record
from loopline.pipelines.healing.deeper import Deeper, deeper
from loopline.pipelines.healing.patterns import Cost, Pattern, Patterns, Share, patterns
from loopline.storage.database import Transaction
from loopline.values import duration_text

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_LEFT, _TOP, _ROW = 44.0, 20.0, 24.0


class ErrorReport(msgspec.Struct, frozen=True):
    """Figures, and the findings behind them."""

    found: Patterns
    deeper: list[Deeper]

    @property
    def headlines(self) -> list[str]:
        """The answer first."""
        if not self.found.failures:
            return ["Nothing has failed."]
        healed = f"; {times(self.found.healed, 'step')} healed without a person" if self.found.healed else ""
        first = (
            f"{times(self.found.failures, 'attempt')} failed in {times(self.found.executions, 'execution')}{healed}."
        )
        return [first, *(one.sentence for one in self.deeper)]


def error_report(
    tx: Transaction,
    project: str | None,
    *,
    start: datetime,
    end: datetime,
    zone: str = "UTC",
    ran: list[datetime] | None = None,
) -> ErrorReport:
    """What failed in (start, end] of a project, or of all. `ran` are the times at which executions began, if they are known."""
    failures = record.failures(tx, project, start=start, end=end)
    remedies = record.remedies(tx, project, start=start, end=end)
    return ErrorReport(
        patterns(failures, remedies, start=start, end=end, zone=zone),
        deeper(failures, remedies, start=start, end=end, ran=ran),
    )


def error_html(report: ErrorReport, title: str) -> str:
    """One HTML file that needs nothing else. Equal reports give equal bytes."""
    found = report.found
    period = f"{moment(found.start)} to {moment(found.end)} UTC"
    sections = [section("What recurs", _patterns(found.patterns))]
    chart = both(lambda width, name: _hours(found, width, name), "hours")
    if chart is not None:
        told = element("p", f"First failures of steps by weekday and hour in {found.zone}.", class_="quiet")
        sections.append(section("When", chart, told))
    if found.costs:
        sections.append(section("What healing cost", _costs(found.costs)))
    return document(title, headed("Errors", title, period, report.headlines), *sections)


def shares(given: list[Share]) -> str:
    """The first three, with their counts."""
    more = f" and {len(given) - 3} more" if len(given) > 3 else ""  # noqa: PLR2004 - the three
    return ", ".join(f"{one.name} ({one.count})" for one in given[:3]) + more


def took(seconds: float) -> str:
    """How long, in whole seconds."""
    return duration_text(timedelta(seconds=round(seconds)))


def _patterns(found: list[Pattern]) -> Markup:
    labels = ("Error", "Class", "Attempts", "Executions", "Steps", "Sources", "Last (UTC)")
    head = element("tr", *(column(label, number=label in {"Attempts", "Executions"}) for label in labels))
    return table("The most frequent first.", head, element("tbody", *map(_pattern, found)))


def _pattern(one: Pattern) -> Markup:
    named = element("th", one.name, element("small", one.shape or one.told.splitlines()[0]), scope="row")
    counts = [element("td", f"{count:,}", class_="number") for count in (one.failures, one.executions)]
    rest = [element("td", told) for told in (shares(one.steps), shares(one.sources), moment(one.last))]
    return element("tr", named, element("td", one.class_), *counts, *rest)


def _costs(found: list[Cost]) -> Markup:
    labels = ("Remedy", "Tried", "Helped", "Failed", "Time", "Older results", "Rows set aside")
    head = element("tr", *(column(label, number=label != "Remedy") for label in labels))
    return table("What was tried.", head, element("tbody", *map(_cost, found)))


def _cost(one: Cost) -> Markup:
    older = f"{one.stale_results}, up to {took(one.stale_seconds_most)}" if one.stale_results else "0"
    figures = (
        f"{one.tried:,}",
        f"{one.helped:,}",
        f"{one.failed:,}",
        took(one.seconds),
        older,
        f"{one.rows_set_aside:,}",
    )
    cells = [element("td", figure, class_="number") for figure in figures]
    return element("tr", element("th", one.kind.replace("_", " "), scope="row"), *cells)


def _hours(found: Patterns, width: float, name: str) -> Markup | None:
    most = max(map(max, found.hours))
    if not most:
        return None
    cell = (width - _LEFT) / 24
    parts = [text(_LEFT + hour * cell, 12, f"{hour:02d}", "start", class_="tick") for hour in range(0, 24, 3)]
    for day, counts in enumerate(found.hours):
        top = _TOP + day * _ROW
        parts.append(text(0, top + 16, DAYS[day], "start", class_="tick"))
        for hour, count in enumerate(counts):
            told = f"{DAYS[day]} {hour:02d}:00: {count}"
            shade = (
                {"fill": "var(--alarm)", "fill_opacity": 0.15 + 0.85 * count / most} if count else {"class_": "shade"}
            )
            box = {"x": _LEFT + hour * cell + 1, "y": top + 1, "width": cell - 2, "height": _ROW - 2, "rx": 2}
            parts.append(element("rect", element("title", told), **box, **shade))
    view = f"0 0 {width:.0f} {_TOP + 7 * _ROW:.0f}"
    title = f"Failures by weekday and hour, at most {most}"
    return element("svg", element("title", title), *parts, viewBox=view, role="img", aria_label=title, id=name)
