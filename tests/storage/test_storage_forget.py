"""What was deleted leaves the files too, byte by byte, while others go on."""

import random
import threading

import pytest
import sqlalchemy as sa

from loopline.errors import NotFound, Unavailable
from loopline.storage import sqlite
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database
from loopline.storage.key_values import open_key_values
from loopline.storage.locks import SharedLock

PLANTED = b"PLANTED-4711"


def test_the_online_store_keeps_no_page_of_what_was_deleted(tmp_path):
    """Deleted keys stay in free pages, in gaps of used ones and as separators in branches until all is written anew."""
    chance = random.Random(3)
    store, reader = open_key_values(tmp_path, durable=False), open_key_values(tmp_path, read_only=True)
    kept = {f"k{number:06}".encode(): chance.randbytes(chance.choice([20, 200, 900, 9000])) for number in range(1500)}
    gone = {b"k%06d=" % number + PLANTED: PLANTED * chance.choice([3, 50, 900]) for number in range(0, 1500, 40)}
    everything = list((kept | gone).items())
    for start in range(0, len(everything), 100):
        store.put_many(dict(everything[start : start + 100]))
    store.put_many(dict.fromkeys(gone))
    data = tmp_path / "data.mdb"
    assert PLANTED in data.read_bytes()
    stop, wrong = threading.Event(), []

    def read() -> None:
        mine = random.Random(4)
        while not stop.is_set():
            key = mine.choice(list(kept))
            if reader.get(key) != kept[key]:
                wrong.append(key)

    thread = threading.Thread(target=read)
    thread.start()
    store.forget()
    stop.set()
    thread.join()
    assert not wrong
    assert PLANTED not in data.read_bytes()
    assert dict(store.scan(b"")) == kept
    store.forget()
    size = data.stat().st_size
    store.forget()
    assert data.stat().st_size < 1.1 * size
    store.close()
    reader.close()


def planted(tmp_path) -> tuple[Database, sa.Table]:
    database = Database.open(f"sqlite:///{tmp_path}/x.db", durable=False)
    table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text))
    with database.transaction() as tx:
        table.create(tx)
        tx.execute(table.insert(), [{"text": f"{PLANTED.decode()} {'x' * 300}"} for _ in range(200)])
        tx.execute(table.insert().values(text="kept"))
    with database.transaction() as tx:
        tx.execute(table.delete().where(table.c.text != "kept"))
    return database, table


def held(tmp_path) -> bytes:
    return b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


def test_the_database_keeps_no_page_and_no_log_of_what_was_deleted(tmp_path):
    database, table = planted(tmp_path)
    assert PLANTED in held(tmp_path)
    with database.reading() as tx:  # an idle connection in the pool must not hold it up
        tx.execute(sa.select(table))
    assert "emptied" in database.forget()
    assert PLANTED not in held(tmp_path)
    with database.reading() as tx:
        assert tx.execute(sa.select(table.c.text)).scalars().all() == ["kept"]
    database.close()


def test_a_reader_that_goes_on_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_PATIENCE", 0.2)
    database, table = planted(tmp_path)
    with database.reading() as tx:
        tx.execute(sa.select(table)).all()
        with pytest.raises(Unavailable) as caught:
            database.forget()
    assert caught.value.code == "database.log_held"
    database.forget()
    assert PLANTED not in held(tmp_path)
    database.close()


@pytest.mark.parametrize("url", ["files", "memory://"])
def test_an_artifact_is_removed(tmp_path, url):
    artifacts = open_artifacts(url if "://" in url else str(tmp_path / url))
    digest = artifacts.put(PLANTED)
    for _ in range(2):
        artifacts.remove(digest)
    assert not artifacts.exists(digest)
    with pytest.raises(NotFound):
        artifacts.get(digest)
    assert PLANTED not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_one_alone_waits_for_those_who_share_and_comes_before_the_next(tmp_path):
    lock, other, order = SharedLock(tmp_path / "lock"), SharedLock(tmp_path / "lock"), []
    entered, leave = threading.Event(), threading.Event()

    def share() -> None:
        with lock.shared(), lock.shared():
            entered.set()
            leave.wait(5)
            order.append("shared")

    def alone() -> None:
        with other.alone(patience=5):
            order.append("alone")

    def later() -> None:
        with other.shared():
            order.append("later")

    threads = [threading.Thread(target=share)]
    threads[0].start()
    entered.wait(5)
    with SharedLock(tmp_path / "lock").shared(), pytest.raises(Unavailable), other.alone(patience=0.05):
        pass
    for work in (alone, later):
        threads.append(threading.Thread(target=work))
        threads[-1].start()
        threading.Event().wait(0.1)
    leave.set()
    for thread in threads:
        thread.join()
    assert order == ["shared", "alone", "later"]
