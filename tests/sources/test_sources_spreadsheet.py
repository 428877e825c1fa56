"""Spreadsheets: a sheet's rows, their times in a zone."""

import os
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from loopline.errors import InvalidInput, NotFound
from loopline.sources.known import modified
from loopline.sources.reader import Terms
from loopline.sources.spreadsheet import spreadsheet
from loopline.values import Window

T0 = datetime(2024, 1, 1, tzinfo=UTC)  # day 45292 of a spreadsheet
DAY = timedelta(days=1)


@pytest.fixture
def targets(tmp_path, write_xlsx, serial):
    rows = [["shop", "from", "target", None], *[["a", serial(45292.5 + n), 10 + n / 2, None] for n in range(4)]]
    rows.insert(3, [None, None, None, None])
    return write_xlsx(tmp_path / "targets.xlsx", Notes=[["read me"]], Targets=rows)


def test_the_rows_of_a_window_come_from_the_named_sheet(targets):
    rows = spreadsheet(str(targets), sheet="Targets", zone="Europe/Berlin").read(
        Window(T0, T0 + 2 * DAY), Terms("from", "from")
    )
    assert rows["from"].to_list() == [T0 + timedelta(hours=11), T0 + DAY + timedelta(hours=11)]
    assert rows.select("shop", "target").rows() == [("a", 10.0), ("a", 10.5)]
    by_place = spreadsheet(str(targets), sheet=1, zone="UTC").read(Window(T0, T0 + 9 * DAY), Terms("from", "from"))
    assert by_place.height == 4


def test_a_sheet_is_known_when_it_was_written(targets):
    written = T0 + timedelta(seconds=5)
    os.utime(targets, (written.timestamp(),) * 2)
    reader, terms = spreadsheet(str(targets), sheet="Targets", zone="UTC"), Terms(modified(), "from")
    assert reader.read(Window(T0, T0 + DAY), terms)["known_at"].to_list() == [written] * 4
    assert reader.read(Window(T0 + DAY, T0 + 2 * DAY), terms).is_empty()


def test_a_word_among_numbers_makes_text_and_declared_numbers_stay(tmp_path, write_xlsx, serial):
    rows = [["id", "at", "n"], *[[f"r{n}", serial(45292 + n), n] for n in range(300)], ["r", serial(45292), "many"]]
    book = write_xlsx(tmp_path / "b.xlsx", S=rows)
    ever = Window(T0 - DAY, T0 + 900 * DAY)
    assert spreadsheet(str(book), zone="UTC").read(ever, Terms("at")).schema["n"] == pl.String
    whole = write_xlsx(tmp_path / "w.xlsx", S=rows[:-1])
    expected = Terms("at", None, {"n": pl.Int64()})
    assert spreadsheet(str(whole), zone="UTC").read(ever, expected)["n"].to_list() == list(range(300))


def test_what_cannot_be_read_says_what_to_do(targets, tmp_path):
    window, terms = Window(T0, T0 + DAY), Terms("from")
    with pytest.raises(InvalidInput, match="without a zone"):
        spreadsheet(str(targets), sheet="Targets").read(window, terms)
    with pytest.raises(NotFound) as missing:
        spreadsheet(str(targets), sheet="Goals").read(window, terms)
    assert (missing.value.code, missing.value.remedy) == ("source.no_sheet", "It has: Notes, Targets.")
    with pytest.raises(NotFound):
        spreadsheet(str(tmp_path / "none.xlsx")).read(window, terms)
    (tmp_path / "no.xlsx").write_text("id;at")
    with pytest.raises(InvalidInput, match=r"no\.xlsx cannot be read"):
        spreadsheet(str(tmp_path / "no.xlsx")).read(window, terms)
