"""A person whose names are hard to write, in every place a home has, erased on SQLite and on PostgreSQL, and searched for."""

import base64
import gzip
import html
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

import polars as pl
import pytest
import sqlalchemy as sa

from loopline.app.home import open_home
from loopline.config import Settings
from loopline.ledger import chain
from loopline.loop.erasing import Request, erase, plan_erasure
from loopline.loop.resources import Resources
from loopline.models.signing import sign
from loopline.runs import tracking
from loopline.scoring.block import Block, encode
from loopline.scoring.block_frame import prediction_frame
from loopline.scoring.record import Prediction, prediction_columns
from loopline.scoring.segment import HEADER, frames
from loopline.scoring.spool import Spool
from loopline.tables.schema import TableSchema
from loopline.testing.postgres import scratch_database
from loopline.values import canonical_json

AT = datetime(2026, 1, 1, tzinfo=UTC)
WHO = 'Zoë "Zed" O\'Brien-Ørsted & <söhne>/北'
EMAIL, PHONE, INCOME = "Zoe.Plantéd+x@Example.org", 491700471147, 1234567.89
UNKNOWN = "order-nobody-knows"  # a prediction for a key that no table holds
NAMES = (WHO, EMAIL, str(PHONE), str(INCOME))
ORDERS = TableSchema(
    {"customer": pl.String(), "email": pl.String(), "phone": pl.Int64(), "income": pl.Float64(), "note": pl.String()},
    ("email", "phone", "income"),
    "customer",
)
FEATURES = {"email": "category", "price": "number", "income": "number"}
PREDICTIONS = TableSchema(prediction_columns(FEATURES), ("_key", "feature_email", "feature_income"), None, "orders")


def written(text: str) -> Iterator[str]:
    """As the programs of this world write it, each by its own library."""
    for one in (text, unicodedata.normalize("NFD", text)):
        yield one
        yield from (json.dumps(one), json.dumps(one, ensure_ascii=False), json.dumps(json.dumps({"a": one})))
        yield from (html.escape(one), one.encode("ascii", "xmlcharrefreplace").decode())
        yield from (
            quote(one),
            quote_plus(one),
            re.sub("%..", lambda found: found[0].lower(), quote(one, safe="")),
            repr(one.encode()),
            ascii(one),
        )
        yield one.replace('"', '""')
    yield EMAIL.lower()


def rows(count: int = 30) -> pl.DataFrame:
    """Every tenth is hers. Somebody else's note names her by her address."""
    mine = [i % 10 == 3 for i in range(count)]
    return pl.DataFrame(
        {
            "_key": [f"order-{i:05}" for i in range(count)],
            "_event_time": [AT + timedelta(hours=i) for i in range(count)],
            "_known_at": [AT + timedelta(hours=i) for i in range(count)],
            "_tombstone": [False] * count,
            "customer": [WHO if hers else f"cust-{i:04}" for i, hers in enumerate(mine)],
            "email": [EMAIL if hers else f"{i}@example.org" for i, hers in enumerate(mine)],
            "phone": [PHONE if hers else 491700000000 + i for i, hers in enumerate(mine)],
            "income": [INCOME if hers else 1000.5 + i for i, hers in enumerate(mine)],
            "note": [f"sent to {EMAIL}" if i == 7 else f"see {WHO}!" if i == 8 else "" for i in range(count)],
        },
        schema=dict(ORDERS.all_columns),
    )


def prediction(key: str, *, email: str, income: float = 1.0) -> Prediction:
    return Prediction(
        prediction_id=f"pr_{key}", project="shop", endpoint="returns", model="returns", model_version=1,
        decision_version=1, variant="champion", key=key, at=AT, scored_at=AT, score=0.5, decision="positive",
        numbers={"price": 1.0, "income": income}, categories={"email": email},
    )  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Resources]:
    if request.param == "sqlite":
        yield from opened(tmp_path / "home", {})
        return
    with scratch_database(request.getfixturevalue("postgres_url"), "persons") as url:
        yield from opened(tmp_path / "home", {"LOOPLINE_DATABASE_URL": url})


def opened(folder: Path, said: dict[str, str]) -> Iterator[Resources]:
    resources = open_home(Settings.read(folder, {"LOOPLINE_DURABLE": "0", **said}), silent=True)
    with closing(resources.database):
        yield resources


def plant(resources: Resources, folder: Path) -> None:
    plant_rows(resources, folder)
    plant_database(resources)
    plant_artifacts(resources)
    plant_files(folder)


def plant_rows(resources: Resources, folder: Path) -> None:
    tables = resources.tables
    tables.create("orders", ORDERS).append(rows(), writer="t", sequence=1)
    shipped = [prediction(UNKNOWN, email=EMAIL, income=INCOME), prediction("order-00001", email="1@example.org")]
    tables.create("predictions.shop.returns", PREDICTIONS).append(
        prediction_frame([Block.of(one) for one in shipped]), writer="t", sequence=1
    )
    plain = rows(9).select("_key", "_event_time", "_known_at", "_tombstone", "customer", words=pl.col("email"))
    tables.create("letters", TableSchema({"customer": pl.String(), "words": pl.String()})).append(
        plain, writer="t", sequence=1
    )
    spool = Spool(folder / "spool" / "0000", fsync=False)
    waiting = [prediction(f"{UNKNOWN}-2", email=EMAIL), prediction("order-00002", email="2@example.org")]
    spool.append([encode(Block.of(one)) for one in waiting])
    spool.close()
    damaged = HEADER + frames([encode(Block.of(one)) for one in shipped])
    (folder / "spool" / "0000" / "0000000008.corrupt").write_bytes(damaged + b"\x01half of " + EMAIL.encode())
    (folder / "spool" / "0000" / "0000000009.torn").write_bytes(b"\x99" + EMAIL.encode())


def plant_database(resources: Resources) -> None:
    with resources.database.transaction() as tx:
        tracking.start(tx, project="shop", experiment="mine", run_id="run_mine", at=AT)
        told = {f"p{number}": way for number, way in enumerate(written(WHO))} | {"long": f"{WHO} " * 3000}
        tracking.log_params(tx, "run_mine", told | {"deep": json.dumps({"a": [WHO, EMAIL, INCOME, PHONE]})})
    for number in range(3):
        with resources.database.transaction() as tx:
            body = {"reason": f"{WHO} complained, {EMAIL}", "number": PHONE}
            chain.append(
                tx, project="shop", at=AT, kind="frozen", actor="ann", subject="shop", body=body, key=f"k{number}"
            )
    if resources.database.engine.dialect.name == "postgresql":
        with resources.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("analyze")


def plant_artifacts(resources: Resources) -> None:
    package = {"fields": [{"name": "email", "categories": ["a@b.c", EMAIL]}, {"maximum": INCOME, "minimum": 1000.5}]}
    digest = resources.artifacts.put(canonical_json(package))
    envelope = resources.artifacts.put(sign(resources.key, "a/type", canonical_json({"package": digest, "who": WHO})))
    kept = {
        "package": digest,
        "envelope": envelope,
        "rows": resources.artifacts.put(parquet(rows(12).rename({"_key": "order"}))),
        "told": resources.artifacts.put("\n".join(written(WHO)).encode()),
        "zip": resources.artifacts.put(gzip.compress("\n".join(written(EMAIL)).encode(), mtime=0)),
    }
    with resources.database.transaction() as tx:
        tracking.log_artifacts(tx, "run_mine", kept)


def plant_files(folder: Path) -> None:
    log = folder / "log"
    log.mkdir()
    (log / "utf8.log").write_text("\n".join(way for name in NAMES for way in written(name)))
    (log / "wide.txt").write_bytes(("\ufeff" + EMAIL).encode("utf-16-le"))
    (log / "latin.csv").write_bytes(f"email;n\n{EMAIL};1\n".encode("latin-1"))
    (log / "across.log").write_text("x" * ((1 << 20) - 5) + " " + WHO)
    (log / "old.log.gz").write_bytes(gzip.compress(f"{WHO} again".encode()))
    (folder / "alone").mkdir()
    kept = rows(20).select(pl.col("customer", "email").name.prefix("feature:"), at=pl.int_range(20))
    (folder / "alone" / "churn.parquet").write_bytes(parquet(kept))
    (folder / "artifacts" / "00").mkdir(parents=True, exist_ok=True)
    (folder / "artifacts" / "00" / ".pending-x").write_bytes(f"half {WHO}".encode())
    (folder / "report.html").write_text(f"<p title='{html.escape(WHO)}'>{PHONE}</p>")


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def leaks(folder: Path) -> dict[str, set[str]]:
    ways = {way.strip("\"'") for name in NAMES for way in written(name)}
    found: dict[str, set[str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "keys"):
        content = b"\n".join(unpacked(path.read_bytes()))
        for way in ways:
            codecs = ("utf-8", "utf-16-le", *(["latin-1"] if way == EMAIL else []))
            if any(way.encode(codec) in content for codec in codecs):
                found.setdefault(str(path.relative_to(folder)), set()).add(way)
    return found


def unpacked(content: bytes) -> Iterator[bytes]:
    yield content
    if content[:4] == b"PAR1":
        yield str(pl.read_parquet(io.BytesIO(content)).rows()).encode()
    elif content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:1] == b"{" and b'"payload"' in content:
        yield base64.b64decode(json.loads(content)["payload"])


def in_server(resources: Resources) -> list[str]:
    """Files of the PostgreSQL database that hold her id; none on SQLite."""
    if resources.database.engine.dialect.name != "postgresql":
        return []
    with resources.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("checkpoint")
        asked = "select setting from pg_settings where name = 'data_directory'"
        where = Path(str(connection.exec_driver_sql(asked).scalar()))
        number = connection.execute(sa.text("select oid from pg_database where datname = current_database()")).scalar()
    files = [path for path in (where / "base" / str(number)).iterdir() if path.is_file()]
    ways = [way.strip("\"'").encode() for name in NAMES for way in written(name)]
    return [path.name for path in files if any(way in path.read_bytes() for way in ways)]


def test_no_spelling_is_left_in_any_place(home, tmp_path):
    folder = tmp_path / "home"
    plant(home, folder)
    held = {name.split("/")[0] for name in leaks(folder)}
    assert {"tables", "spool", "artifacts", "log", "alone", "report.html"} <= held
    asked = Request(value=WHO, reason=f"{WHO} wrote from {EMAIL}", actor="ann")
    planned = {one.place for one in plan_erasure(home, asked).removes}
    assert {"table orders", "table predictions.shop.returns", "spool 0000", "file alone/churn.parquet"} <= planned
    done = erase(home, asked)
    assert leaks(folder) == {}
    assert in_server(home) == []
    assert done.searched.left == []
    assert done.complete
    check_rest(home, folder)
    assert EMAIL not in str(done)
    with home.database.reading() as tx:
        chain.verify(tx, "shop")


def check_rest(home: Resources, folder: Path) -> None:
    orders = home.tables.open("orders").read()
    others = rows().filter(pl.col("customer") != WHO)
    assert orders.drop("note").equals(others.drop("note"))
    predictions = home.tables.open("predictions.shop.returns").read()
    assert predictions["_key"].to_list() == ["order-00001", "order-00002"]
    assert home.tables.open("letters").read().height == 8
    kept = pl.read_parquet(folder / "alone" / "churn.parquet")
    assert kept["at"].to_list() == [i for i in range(20) if i % 10 != 3]
    with home.database.reading() as tx:
        run = tracking.get(tx, "run_mine")
    package = json.loads(home.artifacts.get(run.artifacts["package"]))
    assert package["fields"][0]["categories"][0] == "a@b.c"
    assert package["fields"][1] == {"maximum": 1200000.0, "minimum": 1000.5}
    assert json.loads(run.params["deep"])["a"][2] == 1200000.0


def test_what_nobody_declared_is_found_by_its_id(tmp_path):
    """A home that only serves or watches a model has no subject columns: the key is whose row it is."""
    folder = tmp_path / "home"
    for resources in opened(folder, {}):
        mine = [
            prediction("cust-004711", email="b"),
            prediction("cust-2", email="cust-004711"),
            prediction("c3", email="d"),
        ]
        table = resources.tables.create("predictions.alone.churn", TableSchema(prediction_columns(FEATURES)))
        table.append(prediction_frame([Block.of(one) for one in mine]), writer="t", sequence=1)
        asked = Request(value="cust-004711", reason="asked", actor="ann")
        done = erase(resources, asked)
        assert done.columns == ("_key", "email")
        assert done.complete
        assert table.read()["_key"].to_list() == ["c3"]
        table.append(prediction_frame([Block.of(one) for one in mine]), writer="t", sequence=2)
        assert table.read()["_key"].to_list() == ["c3", "c3"]
