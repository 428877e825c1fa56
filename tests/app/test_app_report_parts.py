"""What the report is made of: markup, figures, scales, means, interpolation."""

import math
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.app.report.chart import Plot, apart, shortened
from loopline.app.report.figure import MISSING, decimals_for, fixed, moment, percent, times
from loopline.app.report.harm_chart import weekly_means
from loopline.app.report.loss_chart import between
from loopline.app.report.markup import Markup, element, escape, join
from loopline.app.report.scale import Scale, month_start, next_month, span, ticks, time_ticks
from loopline.loop.compare import Day
from loopline.values import from_micros, micros

START = datetime(2025, 1, 1, tzinfo=UTC)
REAL = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.text(), st.text())
def test_any_text_survives_as_text(content, attribute):
    read = ET.fromstring(element("p", content, title=attribute))
    printable = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
    newlines = re.compile("\r\n?")  # XML reads every line end as one
    assert (read.text or "") == newlines.sub("\n", printable.sub("\ufffd", content))
    assert list(read) == []
    assert set(read.attrib) == {"title"}


def test_markup_is_escaped_once():
    assert element("b", "a<b", Markup("<i></i>")) == "<b>a&lt;b<i></i></b>"
    assert escape(escape("&")) == "&amp;"
    assert join(["<", Markup("<br/>")], "&") == "&lt;&amp;<br/>"


def test_attributes_are_named_as_html_names_them():
    made = element("meta", http_equiv="x", class_="y", viewBox="0 0 1 1", hidden=None, width=2.5)
    assert made == '<meta http-equiv="x" class="y" viewBox="0 0 1 1" width="2.5"/>'


@given(REAL, st.integers(0, 5))
def test_figures_read_back(value, decimals):
    shown = fixed(value, decimals, sign=True).replace(",", "").replace("\N{MINUS SIGN}", "-")
    assert float(shown) == float(f"{value:.{decimals}f}")
    assert shown[0] in "+-" or float(shown) == 0


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_figure_is_a_dash(value):
    assert fixed(value, 2) == percent(value) == MISSING


def test_small_texts():
    assert percent(0.0412) == "4.12 %"
    assert (times(1, "page"), times(0, "page"), times(1200, "page")) == ("1 page", "0 pages", "1,200 pages")
    assert moment(datetime(2025, 1, 1, 1, 30, tzinfo=UTC).astimezone(None)) == "2025-01-01 01:30"


def test_decimals_follow_the_error():
    assert decimals_for([0.0035, 0.2], least=3, most=5) == 4
    assert decimals_for([0.12], least=3, most=5) == 3
    assert decimals_for([1e-9], least=3, most=5) == 5
    assert decimals_for([math.inf, 0.0, math.nan], least=3, most=5) == 3


@given(st.lists(REAL, min_size=1, max_size=20), st.integers(3, 10))
def test_ticks_are_round_and_within(values, most):
    low, high = span(values)
    found = ticks(low, high, most)
    assert low < min(values)
    assert max(values) < high
    assert 1 <= len(found) <= most + 1
    assert all(low - 1e-6 <= tick.at <= high + 1e-6 for tick in found)
    shown = [float(tick.label.replace(",", "").replace("\N{MINUS SIGN}", "-")) for tick in found]
    assert shown == pytest.approx([tick.at for tick in found])
    assert len(set(shown)) == len(shown)


def test_scale_keeps_within_its_pixels():
    scale = Scale(0, 10, 100, 0)
    assert [scale.at(value) for value in (0, 2.5, 10, -5, 50)] == [100, 75, 0, 100, 0]
    assert Scale(3, 3, 7, 9).at(3) == 7


@given(st.integers(0, 200_000), st.integers(1, 3000), st.integers(4, 12))
def test_time_ticks_are_midnights_within(hours, days, most):
    start = START + timedelta(hours=hours)
    end = start + timedelta(days=days)
    found = time_ticks(start, end, most)
    assert len(found) <= most + 1
    for tick in found:
        at = from_micros(int(tick.at))
        assert start <= at <= end
        assert (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0)
        assert days <= 75 or at.day == 1


def test_time_ticks_name_the_year_once():
    labels = [
        tick.label for tick in time_ticks(datetime(2024, 10, 20, tzinfo=UTC), datetime(2025, 4, 2, tzinfo=UTC), 12)
    ]
    assert labels == ["Nov 2024", "Dec", "Jan 2025", "Feb", "Mar", "Apr"]
    short = time_ticks(datetime(2025, 2, 27, 5, tzinfo=UTC), datetime(2025, 3, 3, tzinfo=UTC), 8)
    assert [tick.label for tick in short] == ["28 Feb", "1 Mar", "2 Mar", "3 Mar"]


def test_months_follow_each_other():
    assert month_start("2024-02") == datetime(2024, 2, 1, tzinfo=UTC)
    assert next_month(datetime(2024, 12, 31, tzinfo=UTC)) == datetime(2025, 1, 1, tzinfo=UTC)


@given(st.lists(st.floats(0, 300), min_size=1, max_size=10))
def test_labels_stand_apart_in_order(places):
    moved = apart(places, 15, 6, 300)
    order = np.argsort(places, kind="stable")
    assert (np.diff(np.array(moved)[order]) >= 15 - 1e-9).all()
    assert max(moved) <= 300
    assert min(moved) >= 6


def test_labels_that_fit_stay():
    assert apart([50, 100], 15, 0, 200) == [50, 100]
    assert shortened("train_once", 200) == "train_once"
    assert shortened("a policy of many words", 70) == "a policy …"


@given(st.lists(st.tuples(st.integers(1, 5), st.none() | st.just(math.nan) | REAL), max_size=40))
def test_weekly_means_against_the_definition(steps):
    end, days = START, []
    for gap, excess in steps:
        end += timedelta(days=gap)
        days.append(Day(end, excess, 0.0))
    found = weekly_means(days)
    assert [at for at, _ in found] == [micros(day.end) for day in days]
    for day, (_, mean) in zip(days, found, strict=True):
        recent = [
            other.excess
            for other in days
            if timedelta(0) <= day.end - other.end < timedelta(days=7) and other.excess == (other.excess or 0.0)
        ]
        assert mean == (pytest.approx(np.mean(recent)) if recent else None)


@given(st.lists(REAL, min_size=1, max_size=8), st.floats(-3, 12))
def test_between_is_numpys_interpolation(values, at):
    curve = list(zip(map(float, range(len(values))), values, strict=True))
    assert between(curve, at) == pytest.approx(np.interp(at, range(len(values)), values), abs=1e-6)


def test_between_skips_gaps():
    assert between([(0, 1.0), (1, math.nan), (2, 3.0)], 1) == 2.0
    assert between([(0, None)], 1) is None


def test_gaps_break_a_line():
    plot = Plot(Scale(0, 10, 0, 100), Scale(0, 10, 100, 0))
    drawn = ET.fromstring(f"<g>{plot.lines([(0, 1.0), (1, 2.0), (2, None), (3, 3.0), (4, math.nan)], 'a')}</g>")
    assert [part.tag for part in drawn] == ["polyline", "circle"]
    assert drawn[0].get("points") == "0.00,90.00 10.00,80.00"


def test_dots_beyond_the_scale_stand_at_its_edge():
    plot = Plot(Scale(0, 10, 0, 100), Scale(0, 10, 100, 0))
    drawn = ET.fromstring(f"<g>{plot.dots([(1, 5.0), (2, 50.0), (3, -1.0), (4, None), (5, math.inf)], 'a')}</g>")
    assert drawn[0].get("d") == "M10.0 50.0h0"
    assert [(part.get("class"), part.get("cy")) for part in drawn[1:]] == [("beyond a", "0"), ("beyond a", "100")]


def test_a_level_that_is_no_figure_is_not_drawn():
    plot = Plot(Scale(0, 10, 0, 100), Scale(0, 10, 100, 0))
    assert plot.level(math.nan, "none", "a") == ""
