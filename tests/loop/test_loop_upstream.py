"""What changed upstream: versions of the tables a model reads that came otherwise than those before."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from loopline.loop.lane import lanes
from loopline.loop.upstream import changes_upstream
from loopline.tables.schema import TableSchema
from loopline.tables.tables import Tables
from loopline.values import micros

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ONSET = T0 + 12 * DAY


@dataclass
class Home:
    """What is asked of resources here: tables."""

    tables: Tables


@pytest.fixture
def told(tmp_path, small_loop):
    """Twenty days of a table, each version with this provenance; what changed around the onset."""
    [lane, *_] = lanes(small_loop, seed=0, compare=False)

    def ask(of_day, table="parcels.deliveries"):
        tables = Tables(tmp_path, durable=False)
        made = tables.create(table, TableSchema({"hours": pl.Float64()}))
        for day in range(1, 21):
            usual = {"rows": 40, "quarantined": 0, "code": "a", "reasons": {}}
            at = micros(T0 + day * DAY)
            made.append(made.schema.empty(), writer="ingest", sequence=at, provenance=usual | of_day(day))
        found = changes_upstream(Home(tables), lane, block=DAY, earliest=ONSET - DAY, latest=ONSET)
        assert all(change.kind == "table_version" for change in found)
        return found

    return ask


def test_versions_as_ever_are_no_change(told):
    assert told(lambda _: {}) == []


def test_other_code_is_told_with_the_features_it_reaches(told):
    [found] = told(lambda day: {"code": "b"} if day >= 12 else {})
    assert (found.subject, found.at, found.near) == ("parcels.deliveries version 12", ONSET, 1.0)
    assert (
        found.sentence
        == "Version 12 of parcels.deliveries, 13 January 2026 00:00 UTC, is the first that other code of the source read."
    )
    assert set(found.columns) == {"carrier_took_12h", "carrier_took_3d", "carrier_n_1d", "carrier_hours"}


def test_what_changed_long_before_or_after_the_onset_did_not_bring_it(told):
    assert told(lambda day: {"code": "b"} if day >= 5 else {}) == []
    assert told(lambda day: {"code": "b"} if day >= 15 else {}) == []


def test_a_change_some_blocks_before_may_be_it_but_is_less_near(told):
    [found] = told(lambda day: {"code": "b"} if day >= 9 else {})
    assert found.near == 0.5


def test_bad_rows_are_told_with_their_reasons_and_what_was_usual(told):
    [found] = told(lambda day: {"rows": 30, "quarantined": 10, "reasons": {"null:hours": 10}} if day >= 11 else {})
    assert "Of version 11 of" in found.sentence
    assert "25% of the rows were put into quarantine (null:hours), 0% at most before" in found.sentence


def test_far_fewer_rows_are_told_and_half_as_many_are_not(told):
    [found] = told(lambda day: {"rows": 8} if day >= 12 else {"rows": 40 + day})
    assert "brought 8 rows, where no version before brought fewer than 41" in found.sentence


def test_other_columns_are_told_of_the_subjects_table_too(told):
    changes = [{"column": "way", "kind": "widened", "before": "Int64", "after": "Float64"}]
    [found] = told(lambda day: {"changes": changes} if day == 12 else {}, table="parcels.sendings")
    assert "came with other columns: way (widened)" in found.sentence
    assert "way" in found.columns
