"""Documents of a version: what the page and the Markdown say, and that values stay text."""

import xml.etree.ElementTree as ET

from loopline.app.report.bars import Bar, bars
from loopline.app.report.blocks import Drawing, Grid, Part, Text, as_html, as_markdown

HOSTILE = '<img src=x onerror="alert(1)"> | `code` [link](javascript:x) *bold* _x_ # h'


def test_values_stay_text_in_both_forms():
    parts = [
        Part(
            HOSTILE,
            (
                Text(HOSTILE),
                Grid((HOSTILE, "b"), ((HOSTILE, HOSTILE),), HOSTILE),
                Drawing(HOSTILE, (Bar(HOSTILE, 1.0),)),
            ),
        )
    ]
    page = as_html("Card", HOSTILE, HOSTILE, parts)
    tree = ET.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    assert {one.tag for one in tree.iter()} & {"img", "script", "a"} == set()
    text = as_markdown("Card", HOSTILE, HOSTILE, parts)
    assert "\\<img" in text
    assert "<img" not in text.replace("\\<img", "")
    assert "](javascript" not in text.replace("\\[link](javascript", "")
    [row] = [
        line for line in text.splitlines() if line.startswith("| ") and line.count(" | ") >= 1 and "alert" in line
    ][1:2]
    assert row.replace("\\|", "").count("|") == 3


def test_a_drawing_stands_in_text_only_where_asked():
    bar = (Bar("up", 2.0), Bar("down", -1.0), Bar("none", 0.0))
    assert "```" not in as_markdown("a", "b", "c", [Part("p", (Drawing("d", bar),))])
    text = as_markdown("a", "b", "c", [Part("p", (Drawing("d", bar, in_text=True),))])
    assert f"up    {'#' * 24} +2" in text
    assert f"down  {'-' * 12} -1" in text
    assert "none   +0" in text


def test_bars_share_a_scale_that_holds_zero():
    drawn = ET.fromstring(bars((Bar("up", 2.0, 1.5, 2.5), Bar("down", -1.0)), title="t"))
    rects = [one.attrib for one in drawn.iter("rect")]
    up, down = (float(one["width"]) for one in rects)
    assert abs(up - 2 * down) < 0.05
    assert abs(float(rects[1]["x"]) + down - float(rects[0]["x"])) < 0.05
    ET.fromstring(bars((), title="nothing"))
    ET.fromstring(bars((Bar("zero", 0.0),), title="nothing"))
