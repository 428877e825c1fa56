"""Small tables and rows that the tests of this folder share."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from loopline.tables import Table, Tables, TableSchema

START = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = TableSchema({"x": pl.Float64(), "carrier": pl.String()})

Rows = Callable[..., pl.DataFrame]


@pytest.fixture
def at() -> Callable[[float], datetime]:
    """The moment so many hours after the start."""
    return lambda hours: START + timedelta(hours=hours)


@pytest.fixture
def rows() -> Rows:
    """History rows: keys, and one known time (in hours after the start) or one for each."""

    def build(keys: list[str], known: float | list[float], *, gone: bool = False, value: float = 1.0) -> pl.DataFrame:
        hours = known if isinstance(known, list) else [known] * len(keys)
        times = [START + timedelta(hours=hour) for hour in hours]
        columns = {
            "_key": keys,
            "_event_time": [time - timedelta(hours=1) for time in times],
            "_known_at": times,
            "_tombstone": [gone] * len(keys),
            "x": [value] * len(keys),
            "carrier": ["AA"] * len(keys),
        }
        return pl.DataFrame(columns, schema=SCHEMA.all_columns)

    return build


@pytest.fixture
def schema() -> TableSchema:
    return SCHEMA


@pytest.fixture
def local_tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path / "tables", durable=False)


@pytest.fixture
def local_table(local_tables: Tables) -> Table:
    return local_tables.create("flights.arrivals", SCHEMA)


@pytest.fixture(params=["local", "s3"])
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Tables]:
    """Opens the tables of the test again, as another process would: on a local disk, then in an object store."""
    root = f"{request.getfixturevalue('bucket')}/tables" if request.param == "s3" else tmp_path / "tables"
    return lambda: Tables(root, durable=False, locks=tmp_path / "locks")


@pytest.fixture
def tables(reopened: Callable[[], Tables]) -> Tables:
    return reopened()


@pytest.fixture
def table(tables: Tables) -> Table:
    return tables.create("flights.arrivals", SCHEMA)
