"""The report of a replay, read back: what it says is what the comparison holds."""

import math
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from io import StringIO
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import pytest
from rich.console import Console

from loopline.app.report.document import POLICY
from loopline.app.report.measure import rows
from loopline.app.report.page import report_html
from loopline.app.report.terminal import report_text
from loopline.loop.compare import Comparison, Day, Event, Month, PolicyResult

START = datetime(2025, 1, 1, tzinfo=UTC)
SINCE = START + timedelta(days=31)
UNTIL = START + timedelta(days=365)
EVIL = "<script>alert('1')</script> & \"[red]\" ]]> -->"


def gap(mean, half, error=0.0018):
    return {"mean": mean, "lower": mean - half, "upper": mean + half, "error": error, "blocks": 300, "rows": 2000}


def months(level, *, missing=()):
    rng = np.random.default_rng(7)
    found = [
        Month(
            f"2025-{number:02d}",
            labelled=100 + number,
            mean_label=0.2 + number / 100,
            constant=0.5 + number / 200,
            loss=level + rng.normal(0, 0.02),
            other_loss=0.15,
            cost=0.3,
        )
        for number in range(1, 13)
    ]
    return [msgspec.structs.replace(each, loss=math.nan) if each.month in missing else each for each in found]


def days(level, *, peak):
    rng = np.random.default_rng(int(peak * 10))
    return [
        Day(
            START + timedelta(days=number),
            None if number % 50 == 0 else level + rng.normal(0, 0.02),
            peak * number / 365,
        )
        for number in range(40, 366)
    ]


def result(policy, log_loss, **changed):
    made = PolicyResult(
        policy=policy,
        project=f"flights.{policy}",
        predictions=2345,
        labelled=2300,
        unlabelled=45,
        evaluated=2000,
        loss=log_loss,
        other_loss=log_loss / 3,
        cost=log_loss / 1.5,
        abstained=0.041,
        pages=0,
        retrains=8,
        promotions=2,
        rollbacks=0,
        train_seconds=1234.56,
        score_seconds=9.0,
        against_loop=None,
        months=[] if math.isnan(log_loss) else months(log_loss),
        days=days(-0.05, peak=3.0),
        events=[Event(START + timedelta(days=days), "promotion", "version 2 replaces 1") for days in (31, 200)],
        ledger="sha256:" + "ab" * 32,
    )
    return msgspec.structs.replace(made, **changed)


def comparison(*policies, assumptions=("times of knowledge are assumed for: weather",)):
    return Comparison(
        loop="flights",
        model="late_arrival",
        start=START,
        until=UNTIL,
        since=SINCE,
        loss="log_loss",
        other_loss="brier",
        threshold=365.25,
        allowed_excess=-0.03,
        assumptions=list(assumptions),
        policies=list(policies),
    )


@pytest.fixture(scope="module")
def usual():
    alarm = Event(START + timedelta(days=300), "alarm", "The excess was 0.03 more than allowed.")
    return comparison(
        result("loop", 0.4621),
        result(
            "train_once",
            0.5031,
            against_loop={"loss": gap(0.041, 0.007), "cost": gap(0.0273, 0.004)},
            months=months(0.5031, missing={"2025-06"}),
            days=days(0.02, peak=7.0),
            pages=2,
            retrains=1,
            events=[alarm, Event(START + timedelta(days=301), "incident.opened", EVIL)],
        ),
        result("monthly", 0.4601, against_loop={"loss": gap(-0.002, 0.003), "cost": gap(-0.0013, 0.002)}, retrains=11),
        result(EVIL, math.nan, other_loss=math.nan, cost=math.nan, evaluated=0, months=[], days=[], events=[]),
    )


@pytest.fixture(scope="module")
def page(usual):
    return ET.fromstring(report_html(usual).removeprefix("<!DOCTYPE html>\n"))


def charts(page, name):
    """The wide and the narrow drawing."""
    return [page.find(f".//svg[@aria-labelledby='{each}-title {each}-desc']") for each in (name, f"{name}-narrow")]


def ticks(svg):
    """What is written on the y axes: (pixel, value), of all plots from the top."""
    found = [text for text in svg.iter("text") if text.get("class") == "tick" and text.get("text-anchor") == "end"]
    return [(float(text.get("y")) - 4, float(text.text.replace("\N{MINUS SIGN}", "-"))) for text in found]


def values_of(line, axis):
    """The points of a line as values, by the ticks of its axis alone."""
    slope, offset = np.polyfit([pixel for pixel, _ in axis], [value for _, value in axis], 1)
    return [slope * float(point.split(",")[1]) + offset for point in line.get("points").split()]


def split_axes(svg):
    """Ticks of the upper and of the lower plot."""
    every = ticks(svg)
    turn = next(index for index in range(1, len(every)) if every[index][0] > every[index - 1][0])
    return every[:turn], every[turn:]


def text_of(part):
    return " ".join("".join(part.itertext()).split())


class Outline(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_nothing_else(usual):
    html, outline = report_html(usual), Outline()
    outline.feed(html)
    assert outline.open == []
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(outline.tags)
    names = {name for name, _ in outline.attributes}
    assert not {"src", "href", "srcset", "action"} & names
    assert not [name for name in names if name.startswith("on")]
    assert not re.search(r"https?:|//|url\(|@import|@font-face|javascript:", html)
    assert ("content", POLICY) in outline.attributes
    assert "default-src 'none'" in POLICY


def test_names_and_sentences_are_text(page, usual):
    assert "<script" not in report_html(usual)
    headers = [text_of(cell) for cell in page.findall(".//table[1]/thead/tr/th")]
    assert EVIL in headers
    assert [text_of(cell) for cell in page.iter("td")].count(EVIL) == 1


def test_equal_comparisons_give_equal_pages(usual):
    again = msgspec.convert(msgspec.to_builtins(usual), Comparison)
    assert report_html(again) == report_html(usual)


def test_the_comparison_table_holds_the_figures(page, usual):
    table = page.find(".//table")
    body = {row.find("th").text.strip(): row.findall("td") for row in table.iter("tr") if row.find("td") is not None}
    plain = [
        [
            float(re.sub("[★, %]", "", text_of(cell).split(" +")[0].split(" \N{MINUS SIGN}")[0]))
            for cell in body[name][:3]
        ]
        for name in ("Log loss", "Cost per 1,000", "Abstained", "Pages", "Retrains", "Training", "Labelled")
    ]
    policies = usual.policies[:3]
    expected = [
        [round(each.loss, 4) for each in policies],
        pytest.approx([each.cost * 1000 for each in policies], abs=0.5),
        [4.1, 4.1, 4.1],
        [0, 2, 0],
        [8, 1, 11],
        [1234.6] * 3,
        [2300] * 3,
    ]
    assert plain == expected
    assert text_of(body["Log loss"][1]) == "0.5031 +0.0410 worse +0.0340 to +0.0480"
    assert text_of(body["Log loss"][2]).endswith(
        "\N{MINUS SIGN}0.0020 no clear difference \N{MINUS SIGN}0.0050 to +0.0010"
    )
    assert text_of(body["Log loss"][3]) == "\N{EN DASH}"


def test_every_table_is_headed(page):
    for table in page.iter("table"):
        columns = table.findall("thead/tr/th")
        assert table.find("caption").text
        assert all(cell.get("scope") == "col" for cell in columns)
        for row in table.findall("tbody/tr"):
            assert len(row) == len(columns)
            assert (row[0].tag, row[0].get("scope")) == ("th", "row")


def test_every_drawing_says_what_it_shows(page):
    drawings = list(page.iter("svg"))
    ids = [part.get("id") for part in page.iter() if part.get("id")]
    assert len(drawings) == 2 * (1 + 3)
    assert len(ids) == len(set(ids)) == 2 * len(drawings)
    for drawing in drawings:
        assert drawing.get("role") == "img"
        assert drawing.find("title").text
        assert drawing.find("desc").text
        assert drawing.get("aria-labelledby").split() == [
            drawing.find("title").get("id"),
            drawing.find("desc").get("id"),
        ]


def test_nothing_is_drawn_outside(page):
    for drawing in page.iter("svg"):
        _, _, width, height = map(float, drawing.get("viewBox").split())
        for part in drawing.iter():
            across = [float(part.get(name)) for name in ("x", "x1", "x2", "cx") if part.get(name)]
            down = [float(part.get(name)) for name in ("y", "y1", "y2", "cy") if part.get(name)]
            points = [tuple(map(float, point.split(","))) for point in part.get("points", "").split()]
            assert all(0 <= x <= width for x in [*across, *(x for x, _ in points)])
            assert all(0 <= y <= height for y in [*down, *(y for _, y in points)])


@pytest.mark.parametrize("form", [0, 1])
def test_loss_lines_map_back_to_the_months(page, usual, form):
    svg = charts(page, "loss")[form]
    lines = {name: svg.findall(f"polyline[@class='line {name}']") for name in ("s0", "s1", "s2", "s3", "entropy")}
    axis = ticks(svg)
    for number in (0, 2):
        expected = [month.loss for month in usual.policies[number].months]
        assert values_of(lines[f"s{number}"][0], axis) == pytest.approx(expected, abs=2e-4)
    before, after = lines["s1"]
    broken = [month.loss for month in usual.policies[1].months]
    assert values_of(before, axis) == pytest.approx(broken[:5], abs=2e-4)
    assert values_of(after, axis) == pytest.approx(broken[6:], abs=2e-4)
    constants = [month.constant for month in usual.policies[0].months]
    assert values_of(lines["entropy"][0], axis) == pytest.approx(constants, abs=2e-4)
    assert lines["s3"] == []


def test_loss_lines_are_named_and_promotions_stand_on_them(page, usual):
    svg = charts(page, "loss")[0]
    names = {text.text: text for text in svg.iter("text") if "name" in text.get("class").split()}
    assert set(names) == {"loop", "train_once", "monthly", "best constant"}
    marks = [mark for mark in svg.iter("path") if mark.get("class") == "mark promotion s0"]
    points = [
        tuple(map(float, point.split(","))) for point in svg.find("polyline[@class='line s0']").get("points").split()
    ]
    for mark in marks:
        x, y = map(float, re.match(r"M([\d.]+) ([\d.]+)", mark.get("d")).groups())
        assert y == pytest.approx(np.interp(x, *zip(*points, strict=True)), abs=0.05)
    assert len(marks) == 2
    assert marks[1].find("title").text == "loop, 2025-07-20 00:00 UTC: promotion. version 2 replaces 1"


@pytest.mark.parametrize("form", [0, 1])
def test_harm_lines_map_back_to_the_days(page, usual, form):
    svg, policy = charts(page, "harm-1")[form], usual.policies[1]
    upper, lower = split_axes(svg)
    mean, evidence = svg.findall("polyline")
    excess = [np.nan if day.excess is None else day.excess for day in policy.days]
    weekly = [np.nanmean(excess[max(0, end - 7) : end]) for end in range(1, len(excess) + 1)]
    assert values_of(mean, upper) == pytest.approx(weekly, abs=5e-4)
    assert values_of(evidence, lower) == pytest.approx([day.log_evidence for day in policy.days], abs=0.02)
    crossed = [day for day in policy.days if math.expm1(day.log_evidence) >= 365.25]
    assert len(svg.findall("circle[@class='crossed']")) == len(crossed) > 0
    assert len(svg.findall("path[@class='mark alarm']")) == 1


def test_levels_stand_where_they_are_labelled(page):
    svg = charts(page, "harm-0")[0]
    for name, axis, value in zip(("allowed", "threshold"), split_axes(svg), (-0.03, math.log(366.25)), strict=True):
        slope, offset = np.polyfit(*zip(*axis, strict=True), 1)
        level = svg.find(f"line[@class='level {name}']")
        assert slope * float(level.get("y1")) + offset == pytest.approx(value, abs=0.02)
        shown = svg.find(f"text[@class='halo {name}']").text.split()[1].replace("\N{MINUS SIGN}", "-")
        assert float(shown) == pytest.approx(value, abs=0.005)
    assert svg.findall("path[@class='mark alarm']") == []


def test_events_are_told_in_order(page):
    heads = [table for table in page.iter("table") if table.get("class") == "events"]
    told = [[text_of(cell) for cell in row] for row in heads[1].findall("tbody/tr")]
    assert told == [
        ["2025-10-28 00:00", "alarm", "The excess was 0.03 more than allowed."],
        ["2025-10-29 00:00", "incident opened", EVIL],
    ]
    assert len(heads) == 3


def test_assumptions_and_times_are_told(page):
    listed = [item.text for item in page.iter("li")]
    assert listed[0] == "Times of knowledge are assumed for: weather."
    assert len(page.findall(".//dl/div")) == 5
    assert "All times are UTC." in text_of(page.find(".//header"))


def test_nothing_to_draw_is_said():
    bare = result("loop", math.nan, months=[], days=[], events=[], predictions=0, labelled=0, unlabelled=0, evaluated=0)
    for empty in (comparison(bare, assumptions=()), comparison(assumptions=())):
        page = ET.fromstring(report_html(empty).removeprefix("<!DOCTYPE html>\n"))
        assert "No month has a labelled prediction." in text_of(page)
        assert page.find(".//svg") is None


def test_days_without_any_figure():
    odd = [Day(START, None, math.nan), Day(UNTIL, math.nan, math.inf)]
    html = report_html(comparison(result("loop", 0.4, days=odd, months=months(0.4)[:1])))
    assert "nan" not in re.sub("<style>.*</style>", "", html, flags=re.DOTALL)
    ET.fromstring(html.removeprefix("<!DOCTYPE html>\n"))


def test_the_terminal_shows_the_same_table(usual):
    console = Console(file=StringIO(), width=160)
    console.print(report_text(usual))
    printed = console.file.getvalue()
    for expected in ("0.4621", "0.5031", "0.4601 *", "+0.0410 worse", "+0.0340 to +0.0480", "1,234.6", "[red]"):
        assert expected in printed
    assert all(row.label in printed for row in rows(usual))
    assert "2,345 predictions = 2,300 labelled + 45 unlabelled" in printed


def test_the_terminal_without_policies():
    console = Console(file=StringIO(), width=80)
    console.print(report_text(comparison()))
    assert "No policy was replayed." in console.file.getvalue()
