"""Appends, reads and time travel of one table."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from loopline.errors import Conflict, Corrupt, InvalidInput, NotFound


def files_in(table) -> int:
    return len(list(Path(table.uri).glob("*.parquet")))


def test_what_is_appended_is_read_in_the_same_order(table, rows):
    first, second = rows(["b", "a"], 2), rows(["z", "a"], 1)
    table.append(first, writer="w", sequence=1)
    table.append(second.select(reversed(second.columns)), writer="w", sequence=2)
    assert table.read().equals(pl.concat([first, second]))


def test_each_version_reads_as_it_was(table, rows):
    frames = [rows([str(number)], number) for number in range(5)]
    for number, frame in enumerate(frames):
        table.append(frame, writer="w", sequence=number)
    for number in range(5):
        assert table.read(version=number + 1).equals(pl.concat(frames[: number + 1]))
    assert table.read(version=0).is_empty()
    with pytest.raises(NotFound) as caught:
        table.read(version=6)
    assert caught.value.code == "table.version_not_found"


def test_versions_say_who_wrote_what(table, rows, at):
    table.append(rows(["a", "b"], 1), writer="spool", sequence=7, provenance={"code": "sha256:1", "end": at(1)})
    version = table.versions()[1]
    assert (version.version, version.operation, version.rows) == (1, "append", 2)
    assert (version.writer, version.sequence) == ("spool", 7)
    assert version.provenance == {"code": "sha256:1", "end": "2024-01-01T01:00:00Z"}
    assert version.committed_at.utcoffset() == timedelta(0)


def test_a_sequence_is_appended_once_whoever_repeats_it(table, rows, reopened):
    handles = [table, *(reopened().open(table.name) for _ in range(2))]
    versions = [handle.append(rows(["a"], 1), writer="w", sequence=5) for handle in handles]
    assert {version.version for version in versions} == {1}
    assert table.append(rows(["other"], 2), writer="w", sequence=5).version == 1
    assert table.read()["_key"].to_list() == ["a"]
    assert table.sequence("w") == 5
    assert table.sequence("someone else") is None


def test_sequences_grow_strictly_for_each_writer(table, rows):
    table.append(rows(["a"], 1), writer="w", sequence=5)
    with pytest.raises(Conflict) as caught:
        table.append(rows(["b"], 1), writer="w", sequence=4)
    assert caught.value.code == "table.sequence_passed"
    table.append(rows(["b"], 1), writer="v", sequence=4)
    assert table.read().height == 2


def test_an_empty_append_counts_as_done(table, rows):
    table.append(rows([], 1), writer="w", sequence=1)
    assert table.sequence("w") == 1
    assert table.read().is_empty()
    assert files_in(table) == 0
    assert DeltaTable(table.uri).transaction_version("w") == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda frame: frame.with_columns(extra=1), "table.unknown_column"),
        (lambda frame: frame.drop("x"), "table.missing_column"),
        (lambda frame: frame.drop("_tombstone"), "table.missing_column"),
        (lambda frame: frame.with_columns(pl.col("x").cast(pl.Float32)), "table.wrong_dtype"),
        (lambda frame: frame.with_columns(pl.col("_known_at").dt.replace_time_zone(None)), "table.wrong_dtype"),
        (lambda frame: frame.with_columns(_key=pl.lit(None, pl.String)), "table.null_in_system_column"),
    ],
)
def test_bad_frames_are_refused_and_nothing_is_written(table, rows, change, code):
    with pytest.raises(InvalidInput) as caught:
        table.append(change(rows(["a"], 1)), writer="w", sequence=1)
    assert caught.value.code == code
    assert caught.value.remedy
    assert table.version == 0
    assert files_in(table) == 0


@pytest.mark.parametrize(("writer", "sequence"), [("", 1), ("w", -1), ("w", True), ("w", 1.5), ("w", 2**63)])
def test_bad_sequences_are_refused(table, rows, writer, sequence):
    with pytest.raises(InvalidInput) as caught:
        table.append(rows(["a"], 1), writer=writer, sequence=sequence)
    assert caught.value.code == "table.bad_sequence"


def test_provenance_that_is_not_json_is_refused(table, rows):
    with pytest.raises(InvalidInput) as caught:
        table.append(rows(["a"], 1), writer="w", sequence=1, provenance={"model": object()})
    assert caught.value.code == "table.bad_provenance"
    assert table.version == 0


def test_reads_refuse_unknown_columns_and_times_without_zone(table):
    for attempt in (lambda: table.read(columns=["y"]), lambda: table.read(where=pl.col("y") > 1)):
        with pytest.raises(InvalidInput) as caught:
            attempt()
        assert caught.value.code == "table.unknown_column"
    with pytest.raises(InvalidInput, match="no time zone"):
        table.read(known_until=datetime(2024, 1, 1))  # noqa: DTZ001 - the naive time is what is tested


def test_current_is_the_latest_version_of_each_key(table, rows, at):
    table.append(rows(["a", "b", "c"], 1, value=1.0), writer="w", sequence=1)
    table.append(rows(["b"], 3, value=3.0), writer="w", sequence=2)
    table.append(rows(["a"], 3, gone=True), writer="w", sequence=3)
    table.append(rows(["b"], 2, value=2.0), writer="w", sequence=4)  # an older truth that was appended late
    table.append(rows(["c", "c"], 4, value=4.0).with_columns(x=pl.Series([4.0, 5.0])), writer="w", sequence=5)

    def values(*args, **options):
        return dict(table.current(*args, columns=["_key", "x"], **options).iter_rows())

    assert values() == {"b": 3.0, "c": 5.0}
    assert values(at(2)) == {"a": 1.0, "b": 2.0, "c": 1.0}
    assert values(at(0)) == {}
    assert values(version=1) == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert values(where=pl.col("x") < 3) == {}


def test_one_day_of_many_files_opens_the_files_of_that_day_only(table, rows, at):
    for hour in range(120):
        table.append(rows(["a", "b"], hour), writer="w", sequence=hour)
    assert len(table.plan()) == 120
    day = {"known_after": at(48), "known_until": at(72)}
    assert [file.order[0] - 1 for file in table.plan(**day)] == list(range(49, 73))
    assert table.read(**day).height == 48
    assert [file.order[0] - 1 for file in table.plan(event_after=at(10), event_until=at(11))] == [12]


def test_large_frames_are_split_so_that_skipping_still_works(table, rows, at, monkeypatch):
    monkeypatch.setattr("loopline.tables.datafile.MAX_ROWS", 10)
    frame = rows([str(number) for number in range(35)], [float(number) for number in range(35)])
    table.append(frame, writer="w", sequence=1)
    assert [file.rows for file in table.plan()] == [10, 10, 10, 5]
    assert len(table.plan(known_after=at(11), known_until=at(13))) == 1
    assert table.read().equals(frame)


def test_delta_rs_reads_the_table_and_its_appends_are_read(table, rows):
    for number in range(3):
        table.append(rows(["a"], number), writer="w", sequence=number)
    table.compact()
    other = DeltaTable(table.uri)
    assert (other.version(), other.count(), other.transaction_version("w")) == (4, 3, 2)
    assert pl.DataFrame(other.scan())["_known_at"].sort().to_list() == table.read()["_known_at"].to_list()
    write_deltalake(other, rows(["foreign"], 9), mode="append")
    other.create_checkpoint()
    table.append(rows(["b"], 10), writer="w", sequence=10)
    assert table.read()["_key"].to_list() == ["a", "a", "a", "foreign", "b"]
    assert table.versions()[5].operation == "write"
    other.update_incremental()
    assert other.count() == 5
    other.delete("_key = 'foreign'")
    assert sorted(table.read()["_key"]) == ["a", "a", "a", "b"]


def test_a_table_with_features_of_another_program_is_refused(local_table):
    DeltaTable(local_table.uri).alter.set_table_properties({"delta.enableDeletionVectors": "true"})
    entry = Path(local_table.uri, "_delta_log", f"{1:020d}.json")
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    if not any("protocol" in action for action in actions):
        actions.append({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7}})
        entry.write_text("\n".join(json.dumps(action) for action in actions))
    with pytest.raises(Conflict) as caught:
        local_table.read()
    assert caught.value.code == "table.unsupported_protocol"


def test_a_broken_log_entry_is_named(local_table):
    Path(local_table.uri, "_delta_log", f"{1:020d}.json").write_text("{nonsense")
    with pytest.raises(Corrupt, match="log entry 1"):
        local_table.read()


def test_a_missing_data_file_is_named(local_table, rows):
    local_table.append(rows(["a"], 1), writer="w", sequence=1)
    missing = Path(local_table.uri, local_table.plan()[0].path)
    missing.unlink()
    with pytest.raises(Corrupt, match=missing.name) as caught:
        local_table.read()
    assert caught.value.code == "table.file_missing"
