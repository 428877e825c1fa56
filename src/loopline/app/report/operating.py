"""The report of what is in operation: monitors, budget, and incidents with their diagnosis and a picture. One HTML file."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from loopline.app.report.bars import Bar, bars
from loopline.app.report.chart import Plot, marker, svg, text
from loopline.app.report.document import both, document, headed, section
from loopline.app.report.figure import MISSING, count, fixed, moment, percent, times
from loopline.app.report.markup import Markup, element, join
from loopline.app.report.scale import Scale, span, ticks, time_ticks
from loopline.app.report.table import column, table
from loopline.incidents import incident
from loopline.incidents.incident import OPEN, Incident
from loopline.loop.budget import budgets
from loopline.loop.resources import Resources
from loopline.loop.status import projects
from loopline.loop.watched import Watched, blocks_of, watched
from loopline.monitoring.alarm_kinds import HARM
from loopline.monitoring.allotment import ProjectBudget
from loopline.monitoring.performance import Performance
from loopline.values import micros

_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 60.0, 24.0, 26.0, 30.0, 190.0
_NEWEST = 50
_SHOWN = 8


class Series(msgspec.Struct, frozen=True):
    """The blocks that a model's monitor of harm saw, and what it allows."""

    project: str
    model: str
    allowed: float
    blocks: list[Performance]


class Standing(msgspec.Struct, frozen=True):
    """How everything stands at a moment: what the report tells. Incidents are the newest first, at most 50 of each project."""

    at: datetime
    monitors: list[Watched]
    budgets: list[ProjectBudget]
    incidents: list[Incident]
    series: list[Series]


def standing(resources: Resources, project: str | None = None) -> Standing:
    """Of every project, or of one."""
    monitors = watched(resources, project)
    held = [one for one in monitors if one.kind == HARM and one.allowed is not None and one.monitor == HARM]
    with resources.database.reading() as tx:
        names = [project] if project else projects(tx)
        found = [one for name in names for one in incident.find(tx, name)[::-1][:_NEWEST]]
        series = [
            Series(one.project, one.model, one.allowed or 0.0, blocks_of(tx, one.project, one.model)) for one in held
        ]
    return Standing(resources.clock.now(), monitors, budgets(resources, project), found, series)


def standing_html(found: Standing) -> str:
    """The page: no script, nothing fetched, times in UTC."""
    opened = [one for one in found.incidents if one.state in OPEN]
    near = max((one.evidence for one in found.monitors if one.evidence is not None), default=0.0)
    said = f"{times(len(opened), 'incident')} open. The monitor closest to an alarm has {percent(near)} of the evidence for one."
    return document(
        "What is watched",
        headed("Report", "What is watched", f"At {moment(found.at)} UTC.", [said]),
        section("Monitors", _monitors(found.monitors)),
        section("Budget of false pages", *(_budget(one) for one in found.budgets)),
        section("Harm, block by block", *_charts(found)),
        section("Incidents", *_incidents(found)),
    )


def _monitors(found: Sequence[Watched]) -> Markup:
    columns = ("Monitor", "Alarms of", "Seen up to", "Evidence", "Last excess", "Allowed", "Alarms", "Open incidents")
    rows = [
        (
            f"{one.project} {one.model}: {one.monitor}",
            one.kind,
            moment(one.watermark) if one.watermark else MISSING,
            percent(one.evidence),
            fixed(one.excess, 4, sign=True),
            fixed(one.allowed, 4, sign=True),
            count(one.alarms),
            ", ".join(one.incidents) or MISSING,
        )
        for one in found
    ]
    return _grid("Every monitor; 100 % of the evidence is an alarm.", columns, rows)


def _budget(found: ProjectBudget) -> Markup:
    columns = ("Monitor", "False pages a year", "Blocks seen", "False alarms expected so far", "Alarms")
    rows = [
        (
            f"{one.model}: {one.monitor}",
            fixed(one.false_pages_per_year, 2),
            count(one.blocks),
            fixed(one.expected, 2),
            count(one.alarms),
        )
        for one in found.monitors
    ]
    total = f"{found.project}: at most {found.false_pages_per_year:.3g} false pages a year for all together."
    return _grid(total, columns, rows)


def _charts(found: Standing) -> list[Markup]:
    drawn = [
        both(lambda width, name, one=one: _chart(one, found.incidents, width, name), f"harm-{place}")  # type: ignore[misc]
        for place, one in enumerate(found.series)
    ]
    pictures = [element("figure", one) for one in drawn if one is not None]
    return pictures or [element("p", "No block was watched yet.", class_="quiet")]


def _chart(one: Series, incidents: Sequence[Incident], width: float, name: str) -> Markup | None:
    """The excess of each block, what is allowed, and the incidents for harm."""
    known = [(micros(row.block_end), row.excess) for row in one.blocks if row.excess is not None]
    if len(known) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    first, last = one.blocks[0].block_start, one.blocks[-1].block_end
    limits = span([*(value for _, value in known), one.allowed])
    plot = Plot(Scale(micros(first), micros(last), _LEFT, width - _RIGHT), Scale(*limits, _HEIGHT, _TOP))
    title = f"{one.project} {one.model}: excess of the loss over its baseline"
    mine = [each for each in incidents if (each.project, each.model, each.kind) == (one.project, one.model, HARM)]
    inside = [each for each in mine if first <= each.opened_at <= last]
    told = f"{title}, allowed up to {fixed(one.allowed, 4)}; {times(len(inside), 'incident')} for harm."
    return svg(
        name,
        title,
        told,
        width,
        _HEIGHT + _BOTTOM,
        text(0, 14, f"{one.project} {one.model}: excess", "start", class_="panel"),
        plot.axes(time_ticks(first, last, int(width / 70)), ticks(*limits, 5)),
        plot.lines(known, "s0"),
        plot.level(one.allowed, f"allowed {fixed(one.allowed, 4)}", "threshold"),
        *(marker("alarm", plot.x.at_time(each.opened_at), _TOP, each.id) for each in inside),
        class_="loss",
    )


def _incidents(found: Standing) -> list[Markup]:
    if not found.incidents:
        return [element("p", "There were none.", class_="quiet")]
    return [_incident(one) for one in found.incidents]


def _incident(one: Incident) -> Markup:
    until = f" to {moment(one.closed_at)}" if one.closed_at else ""
    head = element("h3", f"{one.kind} of {one.project} {one.model}, {one.state}")
    lead = element("p", f"{one.id}, {moment(one.opened_at)}{until} UTC. {one.sentence}")
    if not one.diagnosis:
        return join([head, lead, element("p", "No cause was found.", class_="quiet")])
    columns = ("Rank", "Cause", "What is seen")
    rows = [
        (str(place), str(cause.get("kind", "drift")), str(cause.get("sentence", "")))
        for place, cause in enumerate(one.diagnosis, 1)
    ]
    return join([head, lead, _picture(one), _grid("Likely causes, the likeliest first.", columns, rows)])


def _picture(one: Incident) -> Markup:
    """How much each cause weighs, where that is told: by its score, or how far it lies from the usual."""
    weighed = [(cause, _weight(cause)) for cause in one.diagnosis[:_SHOWN]]
    drawn = [Bar(_subject(cause), weight) for cause, weight in weighed if weight is not None]
    if not drawn:
        return Markup()
    return element("figure", bars(drawn, title="How much each likely cause weighs"))


def _subject(cause: dict[str, Any]) -> str:
    return str(cause.get("column") or cause.get("subject") or cause.get("source") or cause.get("kind", ""))


def _weight(cause: dict[str, Any]) -> float | None:
    if "score" in cause:
        return float(cause["score"])
    value, expected = cause.get("value"), cause.get("expected")
    return float(value) - float(expected) if value is not None and expected is not None else None


def _grid(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    head = element("tr", *map(column, columns))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    return table(caption, head, element("tbody", *body))
