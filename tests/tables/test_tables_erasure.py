"""A person's rows leave every version, every file and the log; everything else stays as it was."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from loopline.access.needles import Needles
from loopline.access.pseudonyms import Pseudonyms
from loopline.errors import InvalidInput, Unavailable
from loopline.tables import SourceSpec, Table, Tables, TableSchema, ingest
from loopline.tables.erasure import Theirs
from loopline.tables.local_folder import LocalFolder
from loopline.values import Window

START = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = TableSchema(
    {"customer": pl.String(), "email": pl.String(), "tags": pl.List(pl.String())}, ("email",), "customer"
)
PSEUDONYMS = Pseudonyms(b"k" * 32)
WHO, EMAIL = "C-4711", "zoë.planted@example.org"
NEEDLES = Needles({WHO, EMAIL, "order-7", "order-7b"}, PSEUDONYMS.of(WHO))
THEIRS = Theirs(WHO, "customer", frozenset({"order-7", "order-7b"}), NEEDLES)


class Killed(BaseException):
    """Stands for a death: nothing catches it."""


def rows(*orders: tuple[str, str | None, str], hour: int = 0) -> pl.DataFrame:
    at = START + timedelta(hours=hour)
    made = [
        {
            "_key": key,
            "_event_time": at,
            "_known_at": at,
            "_tombstone": who is None,
            "customer": who,
            "email": email,
            "tags": [key, email],
        }
        for key, who, email in orders
    ]
    return pl.DataFrame(made, schema=SCHEMA.all_columns)


def opened(folder: Path) -> Tables:
    return Tables(folder, durable=False, pseudonyms=PSEUDONYMS)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Five versions: two appends, a compaction, a deletion of the person's, one more append."""
    table = opened(tmp_path).create("shop.orders", SCHEMA)
    table.append(rows(("order-1", "C-1", "one@x.org"), ("order-7", WHO, EMAIL)), writer="w", sequence=1)
    table.append(rows(("order-7b", WHO, EMAIL), hour=1), writer="w", sequence=2)
    table.append(rows(("order-2", "C-47112", f"friend of {WHO}."), hour=2), writer="w", sequence=3)
    table.compact()
    table.append(rows(("order-7", None, ""), hour=3), writer="w", sequence=4)
    return table


def without(frame: pl.DataFrame) -> pl.DataFrame:
    """What has to be left of a version, by hand."""
    kept = frame.filter(~pl.col("_key").is_in(["order-7", "order-7b"]))
    email = kept["email"].str.replace(f"{WHO}.", f"{PSEUDONYMS.of(WHO)}.", literal=True)
    tags = [None if any(f"{WHO}." in text for text in tags) else tags for tags in kept["tags"].to_list()]
    return kept.with_columns(email=email, tags=pl.Series(tags, dtype=pl.List(pl.String())))


def leaks(folder: Path) -> list[str]:
    """Files that hold the person in any writing, Parquet read column by column; `C-47112` is somebody else."""
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes().replace(b"C-47112", b"")
        if path.suffix == ".parquet":
            content += str(pl.read_parquet(path).rows()).replace("C-47112", "").encode()
        for text in (WHO, EMAIL, "order-7"):
            ways = (text.encode(), text.encode("utf-16-le"), ascii(text)[1:-1].encode())
            found += [f"{path.name}: {text}" for way in ways if way in content]
    return found


def test_every_version_keeps_the_rest(table, tmp_path):
    before = [table.read(version=version) for version in range(table.version + 1)]
    assert leaks(tmp_path)
    done = table.erase(THEIRS, erasure="erasure_1")
    assert (done.rows, done.cells, done.before, done.after) == (3, 2, 5, 6)
    for handle in (table, opened(tmp_path).open("shop.orders")):
        for version, frame in enumerate(before):
            assert handle.read(version=version).equals(without(frame)), version
        assert handle.versions()[-1].operation == "erase"
        assert handle.versions()[-1].provenance == {"erasure": "erasure_1", "rows": 3, "files": 5}
        assert dict(handle.erasures) == {"erasure_1": 6}
        assert [one.rows for one in handle.versions()] == [0, 1, 0, 1, 0, 0, 0]
    assert leaks(tmp_path) == []


def test_in_an_object_store_every_version_keeps_the_rest(bucket, s3, tmp_path):
    def again() -> Tables:
        return Tables(f"{bucket}/tables", durable=False, pseudonyms=PSEUDONYMS, locks=tmp_path / "locks")

    table = again().create("shop.orders", SCHEMA)
    table.append(rows(("order-7", WHO, EMAIL), ("order-1", "C-1", "one@x.org")), writer="w", sequence=1)
    table.append(rows(("order-2", "C-47112", f"friend of {WHO}."), hour=2), writer="w", sequence=2)
    table.compact()
    other = again().open("shop.orders")
    before = [other.read(version=version) for version in range(table.version + 1)]
    folder = s3.folder / bucket.removeprefix("s3://")
    assert leaks(folder)
    tables = again()
    tables.blocked.add(WHO, ["customer"], {})
    done = tables.open("shop.orders").erase(THEIRS, erasure="erasure_1")
    assert (done.rows, done.before, done.after) == (1, 3, 4)
    assert leaks(folder) == []
    for handle in (table, other, again().open("shop.orders")):
        for version, frame in enumerate(before):
            assert handle.read(version=version).equals(without(frame)), version
    table.append(rows(("order-9", WHO, EMAIL)), writer="w", sequence=3)
    assert leaks(folder) == []
    assert table.read().height == 2
    assert DeltaTable(table.uri).count() == 2


def test_others_read_every_version_as_delta(table):
    table.erase(THEIRS, erasure="erasure_1")
    for version in range(table.version + 1):
        theirs = pl.read_delta(table.uri, version=version)
        assert set(theirs["_key"]) == set(table.read(version=version)["_key"])


def test_doing_it_again_changes_nothing(table, tmp_path):
    table.erase(THEIRS, erasure="erasure_1")
    held = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for erasure, finish in (("erasure_1", True), ("erasure_1", False), ("erasure_2", False)):
        again = table.erase(THEIRS, erasure=erasure, finish=finish)
        assert again.nothing
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == held


def test_a_plan_counts_what_an_erasure_takes_and_changes_nothing(table, tmp_path):
    held = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    planned = table.erase(THEIRS, erasure="erasure_1", dry=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == held
    done = table.erase(THEIRS, erasure="erasure_1")
    assert (planned.rows, planned.cells, planned.files) == (done.rows, done.cells, done.files)


@pytest.mark.parametrize("point", range(12))
def test_killed_before_any_write_and_begun_again_it_comes_to_the_same(table, tmp_path, monkeypatch, point):
    before = [table.read(version=version) for version in range(table.version + 1)]
    left = point

    def dying(write):
        def call(*arguments):
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return write(*arguments)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(LocalFolder, "put", dying(LocalFolder.put))
        patched.setattr(LocalFolder, "create", dying(LocalFolder.create))
        try:
            opened(tmp_path).open("shop.orders").erase(THEIRS, erasure="erasure_1")
        except Killed:
            assert point < 11
        else:
            assert point == 11, "every write was a point to die at"
    for version, frame in enumerate(before):  # whatever was done so far, the rest is there
        seen = opened(tmp_path).open("shop.orders").read(version=version)
        assert set(without(frame)["_key"]) <= set(seen["_key"]) <= set(frame["_key"])
    handle = opened(tmp_path).open("shop.orders")
    handle.erase(THEIRS, erasure="erasure_1", finish=True)
    assert leaks(tmp_path) == []
    assert list(handle.erasures) == ["erasure_1"]
    for version, frame in enumerate(before):
        assert handle.read(version=version).equals(without(frame))


def test_what_other_programs_left_goes_too(tmp_path):
    """Statistics of every column, predicates, checkpoints, and a data file that no entry names."""
    table = opened(tmp_path).create("shop.orders", SCHEMA)
    table.append(rows(("order-1", "C-1", "one@x.org")), writer="w", sequence=1)
    write_deltalake(table.uri, rows(("order-7", WHO, EMAIL), ("order-2", "C-2", "two@x.org")), mode="append")
    other = DeltaTable(table.uri)
    other.delete(f"customer = '{WHO}'")
    other.create_checkpoint()
    rows(("order-7", WHO, EMAIL)).write_parquet(Path(table.uri) / "part-left-behind.parquet")
    (Path(table.uri) / ".part-0.parquet.1.2.tmp").write_text(WHO)
    assert len({leak.split(":")[0] for leak in leaks(tmp_path)}) > 4
    table.erase(THEIRS, erasure="erasure_1")
    assert leaks(tmp_path) == []
    assert [len(table.read(version=version)) for version in range(table.version + 1)] == [0, 1, 2, 2, 2]
    assert set(pl.read_delta(table.uri)["_key"]) == {"order-1", "order-2"}


def test_erased_persons_do_not_return(tmp_path):
    tables = opened(tmp_path)
    spec = SourceSpec("shop.orders", "order", "at", "at", subject="customer", rows={"sold": pl.col("n") > 0})

    def window(day: int) -> Window:
        return Window(START + timedelta(days=day), START + timedelta(days=day + 1))

    def sent(day: int) -> pl.DataFrame:
        row = {"at": window(day).end, "n": 1}
        return pl.DataFrame(
            [
                row | {"order": "order-1", "customer": "C-1"},
                row | {"order": "order-7", "customer": WHO},
                row | {"order": "order-8", "customer": WHO, "n": -1},
            ]
        )

    assert (ingest(tables, spec, sent(0), window(0)).rows, tables.names()) == (
        2,
        ["shop.orders", "shop.orders.quarantine"],
    )
    tables.blocked.add(WHO, ["customer"], {"shop.orders": {"order-7"}})
    for name, inside in (("shop.orders", None), ("shop.orders.quarantine", "customer")):
        theirs = Theirs(WHO, None if inside else "customer", frozenset({"order-7", "order-8"}), NEEDLES, inside)
        assert tables.open(name).erase(theirs, erasure="erasure_1").rows == 1
    told = ingest(opened(tmp_path), spec, sent(1), window(1))
    assert (told.rows, told.quarantined, told.erased) == (1, 0, 2)
    assert ingest(tables, spec, sent(1), window(1)) == told
    assert leaks(tmp_path) == []
    assert WHO.encode() not in (tmp_path / "_erased.json").read_bytes()
    with pytest.raises(InvalidInput, match="home's key"):
        ingest(Tables(tmp_path, durable=False), spec, sent(2), window(2))
    assert tables.blocked.holds(WHO)
    assert not tables.blocked.holds("C-1")
    tables.blocked.lift(WHO, {"shop.orders": {"order-7"}})
    assert ingest(tables, spec, sent(2), window(2)).rows == 2


def test_predictions_of_erased_keys_are_left_out(tmp_path):
    tables = opened(tmp_path)
    scored = tables.create("predictions.shop.m", TableSchema({"score": pl.Float64()}, ("_key",), None, "shop.orders"))
    tables.blocked.add(WHO, [], {"shop.orders": {"order-7"}})
    frame = rows(("order-7", WHO, ""), ("order-1", "C-1", "")).select(
        "_key", "_event_time", "_known_at", "_tombstone", score=0.5
    )
    scored.append(frame, writer="w", sequence=1)
    assert scored.read()["_key"].to_list() == ["order-1"]


def test_appends_and_compactions_at_the_same_time_bring_nobody_back(tmp_path):
    """Four writers send the person again and again, one compacts, one reads; then nobody is left."""
    tables = opened(tmp_path)
    table = tables.create("shop.orders", SCHEMA)
    for number in range(5):
        table.append(rows((f"a{number}", f"C-{number}", ""), ("order-7", WHO, EMAIL)), writer="before", sequence=number)
    stop, wrong = threading.Event(), []

    def append(writer: int) -> None:
        mine, sequence = opened(tmp_path).open("shop.orders"), 0
        while not stop.is_set():
            mine.append(
                rows((f"w{writer}-{sequence}", "C-1", ""), ("order-7", WHO, EMAIL)),
                writer=f"w{writer}",
                sequence=sequence,
            )
            sequence += 1

    def read() -> None:
        mine = opened(tmp_path).open("shop.orders")
        while not stop.is_set():
            mine.compact(target_rows=50)
            keys = set(mine.read()["_key"])
            if not {f"a{number}" for number in range(5)} <= keys:
                wrong.append(keys)

    threads = [threading.Thread(target=append, args=(n,)) for n in range(3)] + [threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    stop.wait(0.3)
    tables.blocked.add(WHO, [], {"shop.orders": {"order-7"}})
    table.erase(THEIRS, erasure="erasure_1")
    stop.wait(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert leaks(tmp_path) == []
    frame = table.read()
    assert frame["_key"].is_unique().all()
    assert (
        frame.filter(pl.col("_key").str.starts_with("w")).height
        == table.versions()[-1].version - 6 - sum(one.operation in ("compact", "erase") for one in table.versions()) + 1
    )


def test_a_writer_that_does_not_end_is_told_of(table, monkeypatch):
    monkeypatch.setattr("loopline.tables.table._PATIENCE", 0.1)
    done, holds = threading.Event(), threading.Event()
    holder = threading.Thread(target=lambda: _hold(table, holds, done))
    holder.start()
    holds.wait(5)
    try:
        with pytest.raises(Unavailable, match="others have been writing"):
            table.erase(THEIRS, erasure="erasure_1")
    finally:
        done.set()
        holder.join()


def _hold(table: Table, holds: threading.Event, done: threading.Event) -> None:
    with table.held():
        holds.set()
        done.wait(5)
