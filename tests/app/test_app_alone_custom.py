"""Monitors of one's own, tried on files: what they say is what a loop's would."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from loopline.app.alone.page import watch_html
from loopline.app.alone.watch import watch_files
from loopline.app.study.fresh import Request
from loopline.errors import InvalidInput, NotFound

_spec = spec_from_file_location("alone_data", Path(__file__).parent / "alone_data.py")
assert _spec is not None
assert _spec.loader is not None
data = module_from_spec(_spec)
_spec.loader.exec_module(data)

MONITORS = """
import loopline as ll

@ll.monitor(at_most=0.05, min_rows=50)
def missing_amounts(rows):
    return rows["amount"].is_null()

@ll.monitor(tolerance=0.01, min_rows=50, labels=True)
def surprise(rows):
    return (rows["score"] - rows["label"]).abs()

@ll.monitor(at_most=0.6, min_rows=50, start=[])
def most_of_one_region(memory, rows):
    regions = sorted({*memory, *rows["region"].unique()})
    return regions, float((rows["region"] == regions[0]).mean())
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("custom")
    service = data.service(days=40, rows=200, harm=30, kind="missing")
    paths = service.write(folder)
    (folder / "mine.py").write_text(MONITORS)
    return (
        watch_files(Request(*paths, name="service", monitors=(str(folder / "mine.py"),)), lambda *_: None),
        folder,
        paths,
    )


def test_what_is_missing_from_a_day_on_would_have_paged_with_that_day(watched):
    found = {one.name: one for one in watched[0].custom}
    missing = found["missing_amounts"]
    assert missing.usual is None
    assert missing.allowed == 0.05
    assert missing.alarms
    first = missing.alarms[0]
    assert (first.onset - data.START).days == 30
    assert first.value == pytest.approx(1.0)
    assert "It would have paged" in missing.sentence


def test_what_is_usual_is_learnt_from_the_reference(watched):
    found = {one.name: one for one in watched[0].custom}["surprise"]
    assert found.usual is not None
    assert found.allowed is not None
    assert found.usual < found.allowed < found.usual + 0.05
    assert found.alarms, "a constant score says little"


def test_a_figure_that_is_kept_is_told_with_its_evidence(watched):
    found = {one.name: one for one in watched[0].custom}["most_of_one_region"]
    assert found.alarms == []
    assert found.mean == pytest.approx(0.3, abs=0.05)  # east, the first in the alphabet
    assert "It would not have alarmed" in found.sentence


def test_the_report_has_them(watched):
    page = watch_html(watched[0])
    assert "What do your own monitors say?" in page
    assert "most_of_one_region" in page


def test_one_of_a_file_is_asked_for_by_its_name(watched):
    _, folder, paths = watched
    asked = Request(*paths, name="service", monitors=(f"{folder / 'mine.py'}:surprise",))
    assert [one.name for one in watch_files(asked, lambda *_: None).custom] == ["surprise"]


@pytest.mark.parametrize(
    ("text", "name", "error", "code"),
    [
        (MONITORS, ":nothing", NotFound, "alone.no_monitor"),
        ("x = 1\n", "", NotFound, "alone.no_monitor"),
        ("x = 1 / 0\n", "", InvalidInput, "alone.monitor_file"),
        (None, "", NotFound, "alone.no_monitor_file"),
        ("import loopline as ll\n@ll.monitor()\ndef a(rows): ...\n", "", InvalidInput, "monitor.custom_limit"),
        (
            "import loopline as ll\n@ll.monitor(at_most=.1)\ndef a(rows): return rows['no']\n",
            "",
            InvalidInput,
            "monitor.custom_failed",
        ),
    ],
)
def test_a_file_that_does_not_do_is_told_with_what_to_do(watched, tmp_path, text, name, error, code):
    _, _, paths = watched
    file = tmp_path / "other.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(error) as told:
        watch_files(Request(*paths, name="service", monitors=(f"{file}{name}",)), lambda *_: None)
    assert told.value.code == code
    assert told.value.remedy
