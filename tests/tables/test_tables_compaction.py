import polars as pl

from loopline.tables import TableSchema, datafile


def fill(table, rows, count):
    for number in range(count):
        table.append(rows(["a", "b", "c"], number, value=float(number)), writer="w", sequence=number)


def test_compaction_keeps_rows_order_versions_and_sequences(table, rows, at):
    fill(table, rows, 40)
    before, early = table.read(), table.read(version=10)
    assert table.compact(target_rows=30) == 36
    assert table.read().equals(before)
    assert table.read(version=10).equals(early)
    assert table.sequence("w") == 39
    assert table.append(rows(["x"], 50), writer="w", sequence=39).version == 40
    assert [file.rows for file in table.plan()] == [30, 30, 30, 30]
    assert len(table.plan(known_after=at(12), known_until=at(14))) == 1
    assert table.versions()[-1].operation == "compact"


def test_compacting_twice_changes_nothing(table, rows):
    fill(table, rows, 5)
    table.compact()
    version = table.version
    assert table.compact() == 0
    assert table.version == version


def test_rows_appended_after_a_compaction_come_after_it_in_later_ones(table, rows):
    fill(table, rows, 4)
    table.compact(target_rows=6)
    table.append(rows(["d"], 0), writer="w", sequence=10)
    before = table.read()
    table.compact()
    assert table.read().equals(before)
    assert len(table.plan()) == 1


def test_a_new_handle_reads_a_compacted_table(table, rows, reopened):
    fill(table, rows, 10)
    before = table.read()
    table.compact(target_rows=9)
    assert reopened().open(table.name).read().equals(before)


def test_compaction_fills_columns_that_came_later(tables, table, rows, schema):
    fill(table, rows, 2)
    tables.create(table.name, TableSchema({**schema.columns, "gate": pl.Int32}))
    before = table.read()
    table.compact()
    assert table.read().equals(before)
    assert table.read()["gate"].null_count() == 6


def test_of_two_compactions_at_once_the_later_gives_way(table, rows, reopened, monkeypatch):
    """The second one has rewritten its files when the first one commits."""
    fill(table, rows, 6)
    before = table.read()
    other = reopened().open(table.name)
    write_one = "loopline.tables.datafile.write_one"

    real = datafile.write_one

    def interrupted(*args, **options):
        monkeypatch.setattr(write_one, real)
        assert other.compact() == 5
        return real(*args, **options)

    monkeypatch.setattr(write_one, interrupted)
    assert table.compact() == 0
    assert table.read().equals(before)
    assert table.version == 7


def test_few_files_are_left_and_large_ones_are_not_rewritten_again(table, rows):
    fill(table, rows, 3)
    assert table.compact(target_rows=36, fewest=4, dry=True) == 0
    assert table.compact(target_rows=36, fewest=4) == 0
    assert table.version == 3
    table.append(rows(["d"], 9), writer="w", sequence=9)
    assert table.compact(target_rows=36, fewest=4, dry=True) == 3
    assert table.version == 4
    assert table.compact(target_rows=36, fewest=4) == 3
    [large] = table.plan()
    for number in range(10, 14):
        table.append(rows(["e"], number), writer="w", sequence=number)
    before = table.read()
    assert table.compact(target_rows=36, fewest=4) == 3
    assert [file.rows for file in table.plan()] == [10, 4]
    assert table.plan()[0] == large
    assert table.read().equals(before)
