"""Files: exactly the rows of a window, dtypes by all values, times that say where they are."""

import gzip
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput, NotFound
from loopline.sources.files import files
from loopline.sources.known import delayed, modified
from loopline.sources.reader import Terms
from loopline.values import Window

T0 = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVER = Window(datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
AT = Terms("at", "at")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_each_format_gives_the_rows_of_a_window_and_windows_add_up(folder, ending):
    for part in range(3):
        rows = pl.DataFrame(
            {"id": [f"o{part}{n}" for n in range(10)], "at": [T0 + (10 * part + n) * HOUR for n in range(10)]}
        )
        text = rows.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
        path = folder / f"orders-{part}.{ending}"
        if ending == "parquet":
            rows.write_parquet(path)
        elif ending == "csv":
            text.write_csv(path)
        else:
            text.write_ndjson(path)
    reader = files(f"orders-*.{ending}")
    found = [reader.read(Window(T0 + (4 * n - 1) * HOUR, T0 + (4 * n + 3) * HOUR), AT) for n in range(9)]
    assert [part.height for part in found] == [4] * 7 + [2, 0]
    together = pl.concat([part for part in found if part.height])
    assert together["id"].to_list() == [f"o{part}{n}" for part in range(3) for n in range(10)]
    assert together["at"].to_list() == [T0 + n * HOUR for n in range(30)]
    edge = reader.read(Window(T0, T0 + HOUR), AT)
    assert edge["id"].to_list() == ["o01"]


def test_a_new_file_is_read_and_a_changed_one_again(folder):
    reader = files("*.csv")
    assert reader.read(EVER, AT).is_empty()
    csv(folder / "a.csv", "id,at\n1,2024-01-01T00:00:00Z\n")
    assert reader.read(EVER, AT)["id"].to_list() == [1]
    csv(folder / "b.csv", "id,at\n2,2024-01-01T00:00:00Z\n")
    assert reader.read(EVER, AT)["id"].to_list() == [1, 2]
    csv(folder / "a.csv", "id,at\n17,2024-01-01T00:00:00Z\n")
    assert reader.read(EVER, AT)["id"].to_list() == [17, 2]


def test_a_column_of_csv_is_what_all_of_its_values_say(folder):
    many = "".join(f"{n},2024-01-01T00:00:00Z,{n},,{n}\n" for n in range(2000))
    csv(folder / "a.csv", "id,at,amount,note,zip\n" + many + "x1,2024-01-01T00:00:00Z,0.5,,007\n")
    early = Window(T0 - HOUR, T0)
    first = files("a.csv").read(early, AT)
    assert first.schema == {
        "id": pl.String,
        "at": pl.Datetime("us", "UTC"),
        "amount": pl.Float64,
        "note": pl.Null,
        "zip": pl.String,
    }
    assert first["zip"][-1] == "007"
    csv(folder / "b.csv", "id,at,amount,note,zip\n5,2025-01-01T00:00:00Z,7,1,8\n")
    assert files("*.csv").read(early, AT).schema["note"] == pl.Int64  # though no row of the window has one
    assert files("b.csv").read(EVER, AT).schema["amount"] == pl.Int64
    assert files("*.csv").read(EVER, AT).schema["amount"] == pl.Float64


def test_declared_columns_are_cast_and_what_cannot_be_is_left_to_ingestion(folder):
    csv(
        folder / "a.csv", "id,at,n,flag,day\n007,2024-01-01T00:00:00Z,1,yes,2024-02-03\n8,2024-01-01T00:00:00Z,2.0,0,\n"
    )
    columns = {
        "id": pl.Int64(),
        "n": pl.Int64(),
        "flag": pl.Boolean(),
        "day": pl.Date(),
        "at": pl.Datetime("us", "UTC"),
    }
    rows = files("a.csv").read(EVER, Terms("at", "at", columns))
    assert rows.schema == {
        "id": pl.Int64,
        "at": pl.Datetime("us", "UTC"),
        "n": pl.Int64,
        "flag": pl.Boolean,
        "day": pl.Date,
    }
    assert rows.rows()[0] == (7, T0, 1, True, date(2024, 2, 3))
    csv(folder / "b.csv", "id,at,n\n1,2024-01-01T00:00:00Z,many\n2,2024-01-01T00:00:00Z,3\n")
    assert files("b.csv").read(EVER, Terms("at", "at", columns))["n"].to_list() == ["many", "3"]


def test_times_without_a_zone_need_one(folder):
    csv(folder / "a.csv", "id,at\n1,2024-07-01 12:00\n2,2024-01-01 12:00:00.5\n")
    with pytest.raises(InvalidInput, match=r"a\.csv: column 'at'") as caught:
        files("a.csv").read(EVER, AT)
    assert caught.value.code == "source.time_without_zone"
    assert 'zone="Europe/Berlin"' in caught.value.remedy
    rows = files("a.csv", zone="Europe/Berlin").read(EVER, AT)
    assert rows["at"].to_list() == [
        datetime(2024, 7, 1, 10, tzinfo=UTC),
        datetime(2024, 1, 1, 11, 0, 0, 500_000, tzinfo=UTC),
    ]
    pl.DataFrame({"id": [1], "at": [datetime.fromisoformat("2024-07-01T12:00")]}).write_parquet("n.parquet")
    assert files("n.parquet", zone="Europe/Berlin").read(EVER, AT)["at"][0] == datetime(2024, 7, 1, 10, tzinfo=UTC)
    with pytest.raises(InvalidInput, match="no time zone"):
        files("a.csv", zone="Europe/Berln")


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.datetimes(T0.replace(tzinfo=None), T0.replace(tzinfo=None, year=2025)), min_size=1, max_size=8))
def test_local_times_are_never_earlier_than_what_the_clock_said(folder, moments):
    """Against zoneinfo: the same moment where there is one, the later of two, an hour later than a gap."""
    pl.DataFrame({"at": moments}).write_parquet("z.parquet")
    found = files("z.parquet", zone="Europe/Berlin").read(EVER, AT)["at"].to_list()
    berlin = ZoneInfo("Europe/Berlin")
    expected = []
    for moment in moments:
        both = [moment.replace(tzinfo=berlin, fold=fold).astimezone(UTC) for fold in (0, 1)]
        expected.append(max(both))
    assert sorted(found) == sorted(expected)


def test_rows_known_by_a_rule(folder):
    path = csv(folder / "a.csv", "id,at\n1,2024-01-01T00:00:00Z\n2,2024-01-01T05:00:00Z\n")
    late = files("a.csv").read(Window(T0, T0 + 2 * HOUR), Terms(delayed("at", by="2h"), "at"))
    assert late.select("id", "known_at").rows() == [(1, T0 + 2 * HOUR)]
    written = T0 + timedelta(days=3, microseconds=7)
    os.utime(path, ns=(0, int(written.timestamp()) * 10**9 + 7_000))
    terms = Terms(modified(), "at")
    assert files("a.csv").read(Window(T0, written - timedelta(microseconds=1)), terms).is_empty()
    rows = files("a.csv").read(Window(written - timedelta(microseconds=1), written), terms)
    assert rows["known_at"].to_list() == [written] * 2


def test_a_row_without_a_time_of_knowledge_is_given_once_to_be_quarantined(folder):
    path = csv(folder / "a.csv", "id,at\n1,2024-01-01T00:00:00Z\n2,\n3,soon\n")
    os.utime(path, (T0.timestamp() + 86400,) * 2)
    day = timedelta(days=1)
    windows = [Window(T0 - day + n * day, T0 + n * day) for n in range(4)]
    assert [files("a.csv").read(window, AT).height for window in windows] == [1, 2, 0, 0]


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("bom.csv", b"\xef\xbb\xbfid,at\n1,2024-01-01T00:00:00Z\n", [1]),
        ("quoted.csv", b'id,at\n"a\nb, ""c""",2024-01-01T00:00:00Z\n', ['a\nb, "c"']),
        ("packed.csv.gz", gzip.compress(b"id,at\n1,2024-01-01T00:00:00Z\n", mtime=0), [1]),
        ("tabs.tsv", b"id\tat\n1\t2024-01-01T00:00:00+01:00\n", [1]),
        ("crlf.csv", b"id,at\r\n1,2024-01-01T00:00:00Z\r\n", [1]),
        ("header.csv", b"id,at\n", []),
        ("empty.csv", b"", []),
        ("empty.jsonl", b"", []),
        ("lines.jsonl", b'{"id": 1, "at": "2024-01-01T00:00:00Z"}\n\n{"at": "2024-01-01T00:00:00Z"}\n', [1, None]),
    ],
)
def test_odd_files_are_read(folder, name, content, ids):
    (folder / name).write_bytes(content)
    rows = files(name).read(EVER, AT)
    assert (rows["id"].to_list() if rows.width else []) == ids


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"id,at\n1,2,3\n"), ("a.parquet", b"PAR1 and no more"), ("a.jsonl", b'{"id": 1, "at": ')],
)
def test_a_broken_file_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=name.replace(".", r"\.")) as caught:
        files(name).read(EVER, AT)
    assert caught.value.code == "source.unreadable_file"


def test_a_missing_file_or_folder_or_column_is_told(folder):
    for pattern in ("orders.csv", "nowhere/*.csv", str(folder / "no" / "**" / "*.csv")):
        with pytest.raises(NotFound) as caught:
            files(pattern).read(EVER, AT)
        assert caught.value.code == "source.no_file"
    csv(folder / "a.csv", "id,when\n1,2024-01-01T00:00:00Z\n")
    with pytest.raises(InvalidInput, match="no column 'at'; there are: id, when"):
        files("a.csv").read(EVER, AT)
    csv(folder / "orders", "id\n")
    with pytest.raises(InvalidInput) as caught_format:
        files("orders").read(EVER, AT)
    assert caught_format.value.code == "source.unknown_format"


def test_columns_can_be_given_names_that_a_table_can_have(folder):
    csv(folder / "a.csv", "Order ID,At\n1,2024-01-01T00:00:00Z\n")
    assert files("a.csv", rename={"Order ID": "id", "At": "at"}).read(EVER, AT).columns == ["id", "at"]
