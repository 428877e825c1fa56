"""Reads against brute force over rows kept in a list."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.tables import Tables, TableSchema
from loopline.values import EPOCH

SCHEMA = TableSchema({"x": pl.Int64()})
HOURS = st.integers(0, 9)
ROW = st.tuples(st.sampled_from("abc"), HOURS, HOURS, st.booleans(), st.integers(-3, 3))
BOUND = st.none() | HOURS


def moment(hour):
    return None if hour is None else EPOCH + timedelta(hours=hour)


def to_frame(rows):
    columns = [(key, moment(event), moment(known), gone, x) for key, event, known, gone, x in rows]
    return pl.DataFrame(columns, schema=SCHEMA.all_columns, orient="row")


def inside(value, after, until):
    return (after is None or value > after) and (until is None or value <= until)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    commits=st.lists(st.lists(ROW, max_size=4), max_size=5),
    version=st.none() | st.integers(0, 5),
    bounds=st.tuples(BOUND, BOUND, BOUND, BOUND),
    least=st.none() | st.integers(-3, 3),
    compacted=st.booleans(),
)
def test_read_and_current_agree_with_brute_force(commits, version, bounds, least, compacted):
    known_after, known_until, event_after, event_until = bounds
    version = None if version is None else min(version, len(commits))
    seen = [row for commit in commits[:version] for row in commit]
    expected = [
        row for row in seen if inside(row[2], known_after, known_until) and inside(row[1], event_after, event_until)
    ]
    with TemporaryDirectory() as folder:
        table = Tables(Path(folder), durable=False).create("t", SCHEMA)
        for number, commit in enumerate(commits):
            table.append(to_frame(commit), writer="w", sequence=number)
        if compacted:
            table.compact(target_rows=6)
        names = ("known_after", "known_until", "event_after", "event_until")
        found = table.read(
            version=version,
            where=None if least is None else pl.col("x") >= least,
            **dict(zip(names, map(moment, bounds), strict=True)),
        )
        assert found.equals(to_frame([row for row in expected if least is None or row[4] >= least]))
        current = table.current(moment(known_until), version=version)
        assert dict(current.select("_key", "x").iter_rows()) == latest(seen, known_until)


def latest(seen, until):
    chosen = {}
    for row in seen:
        if inside(row[2], None, until) and (row[0] not in chosen or row[2] >= chosen[row[0]][2]):
            chosen[row[0]] = row
    return {key: row[4] for key, row in chosen.items() if not row[3]}
