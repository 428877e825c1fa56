"""A person in the spools: shipped and dropped while a process writes on; what was set aside loses their frames."""

import threading
from datetime import UTC, datetime

import pytest

from loopline.access.erasure import Person, Target, Traces
from loopline.access.pseudonyms import Pseudonyms
from loopline.errors import Unavailable
from loopline.scoring.block import Block, encode
from loopline.scoring.erasure import eraser
from loopline.scoring.record import Prediction, prediction_columns
from loopline.scoring.segment import HEADER, frames, scan
from loopline.scoring.shipper import ship_all
from loopline.scoring.spool import Spool
from loopline.tables import Tables, TableSchema

AT = datetime(2026, 1, 1, tzinfo=UTC)
TARGET = Target(
    "e", Person("cust-004711", ("customer",), "person:0"), Traces({"shop.orders": {"o7"}}, {"Plantedville"})
)


def payload(key: str, city: str = "x") -> bytes:
    return encode(
        Block.of(
        Prediction(
            prediction_id=f"pr_{key}", project="shop", endpoint="m", model="m", model_version=1, decision_version=1,
            variant="champion", key=key, at=AT, scored_at=AT, score=0.5, decision="positive", categories={"city": city},
            )
        )
    )  # fmt: skip


@pytest.fixture
def tables(tmp_path) -> Tables:
    tables = Tables(tmp_path / "tables", durable=False, pseudonyms=Pseudonyms(b"k" * 32))
    schema = TableSchema(prediction_columns({"city": "category"}), ("_key",), None, "shop.orders")
    tables.create("predictions.shop.m", schema)
    tables.blocked.add("cust-004711", ["customer"], {"shop.orders": {"o7"}})
    return tables


def test_a_spool_is_emptied_while_its_process_writes_on(tmp_path, tables):
    root = tmp_path / "spool"
    spool = Spool(root / "0000", fsync=False)
    spool.append([payload("o7"), payload("o1"), payload("o2", "Plantedville")])
    one, stop = eraser(root, lambda: ship_all(root, tables), patience=10), threading.Event()
    assert [(told.place, told.count) for told in one.sweep(TARGET, dry=True)] == [("spool 0000", 2)]

    def tick() -> None:
        while not stop.wait(0.02):
            spool.seal_if_due()

    thread = threading.Thread(target=tick)
    thread.start()
    assert [told.count for told in one.sweep(TARGET, dry=False)] == [2]
    stop.set()
    thread.join()
    assert tables.open("predictions.shop.m").read()["_key"].to_list() == ["o1", "o2"]
    assert b"o7" not in b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    spool.append([payload("o3")])
    spool.close()
    assert ship_all(root, tables).rows == 1


def test_a_process_that_does_not_seal_is_told_of(tmp_path, tables):
    root = tmp_path / "spool"
    spool = Spool(root / "0000", fsync=False)
    spool.append([payload("o7")])
    with pytest.raises(Unavailable) as caught:
        eraser(root, lambda: ship_all(root, tables), patience=0.2).sweep(TARGET, dry=False)
    assert caught.value.code == "spool.not_sealed"
    spool.close()


def test_what_was_set_aside_loses_the_persons_frames(tmp_path, tables):
    root = tmp_path / "spool"
    Spool(root / "0000", fsync=False).close()
    corrupt, torn, empty = (
        root / "0000" / name for name in ("0000000005.corrupt", "0000000006.torn", "0000000007.corrupt")
    )
    corrupt.write_bytes(HEADER + frames([payload("o7"), payload("o1")]) + b"rest of Plantedville")
    torn.write_bytes(b"half of cust-004711")
    empty.write_bytes(b"half of another")
    one = eraser(root, lambda: ship_all(root, tables))
    one.sweep(TARGET, dry=False)
    assert scan(corrupt.read_bytes()) == ([payload("o1")], len(HEADER + frames([payload("o1")])))
    assert not torn.exists()
    assert empty.read_bytes() == b"half of another"
    assert one.sweep(TARGET, dry=True) == []
