"""Batch scoring: what the loop itself scored, whatever the rows come from; pinned, done once, and found by an erasure."""

import shutil
from contextlib import closing
from pathlib import Path

import msgspec
import polars as pl
import pytest

from loopline.access.erasure import Person, Target, Traces
from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.app.erasure import batches
from loopline.app.home import open_home
from loopline.config import Settings
from loopline.errors import Conflict, InvalidInput, LooplineError, NotFound, NotPermitted
from loopline.ledger import chain
from loopline.loop.batch import BatchRequest, folder_of, score_batch
from loopline.loop.batch_model import read_asked
from loopline.loop.batch_tables import scored_tables
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.scoring.batch.run import BatchScored
from loopline.sources.whole import WholeFiles, WholeQuery, WholeTable
from loopline.tables import TableSchema
from loopline.tables.quarantine import quarantined

CALLER = Identity("tester", frozenset({Permission.PREDICTIONS_CREATE}), "t")
INTO = "scores.parcels"
SAME = ["_key", "_event_time", "score", "model_version"]


def request(source, **changed) -> BatchRequest:
    return BatchRequest("parcels", "late", source, **({"into": INTO} | changed))


def scored(resources: Resources, source, **changed) -> BatchScored:
    return score_batch(resources, request(source, **changed), CALLER)


@pytest.fixture
def logged(copied: Resources) -> pl.DataFrame:
    """What the loop scored itself by the version that serves at the end."""
    rows = copied.tables.open("predictions.parcels.late").read()
    version = rows["model_version"][-1]
    return rows.filter((pl.col("model_version") == version) & (pl.col("variant") == "champion")).sort("_key")


@pytest.fixture
def orders(logged: pl.DataFrame, tmp_path: Path) -> Path:
    """The same rows as a file: key, time and what a caller gives."""
    path = tmp_path / "orders.parquet"
    given = logged.select(parcel="_key", sends="_event_time", carrier="feature_carrier", way="feature_way")
    given.with_columns(note=pl.lit("not asked for")).write_parquet(path)
    return path


def written(resources: Resources, into: str = INTO) -> pl.DataFrame:
    return resources.tables.open(into).read().sort("_key")


def entries(resources: Resources) -> list:
    with resources.database.reading() as tx:
        return chain.entries(tx, "parcels", kind="batch.scored")


def test_a_file_gives_what_the_loop_scored(copied, logged, orders):
    done = scored(copied, WholeFiles(str(orders)), part_rows=31)
    rows = written(copied)
    features = [name for name in logged.columns if name.startswith("feature_")]
    assert rows.select(SAME + features).equals(logged.select(SAME + features))
    assert (done.rows, done.refused, done.version, done.already) == (logged.height, 0, 1, False)
    [entry] = entries(copied)
    assert (entry.actor, entry.body["into"], entry.body["rows"]) == ("tester", INTO, logged.height)
    [said] = [one.provenance for one in copied.tables.open(INTO).versions() if one.operation == "append"]
    assert said["input"]["files"][0]["size"] == orders.stat().st_size
    assert (said["model_version"], set(said["features"])) == (done.model_version, {"parcels.deliveries"})
    assert not list(folder_of(copied).glob("*/*"))


def test_asked_again_nothing_changes_unless_it_is_said(copied, orders):
    first = scored(copied, WholeFiles(str(orders)))
    again = scored(copied, WholeFiles(str(orders)), part_rows=7, policy="quarantine")
    assert again.already
    assert (again.version, again.rows, again.writer) == (first.version, first.rows, first.writer)
    assert copied.tables.open(INTO).version == 1
    once_more = scored(copied, WholeFiles(str(orders)), again=True)
    assert once_more.version == 2
    rows = written(copied)
    assert rows.height == 2 * first.rows == rows["prediction_id"].n_unique()
    assert scored(copied, WholeFiles(str(orders))).already
    assert len(entries(copied)) == 2


def test_a_table_and_a_query_and_csv_give_the_same(copied, logged, orders, tmp_path):
    newest = copied.tables.open("parcels.sendings").current().sort("_key")
    scored(copied, WholeTable(copied.tables, "parcels.sendings"), into="scores.table")
    rows = written(copied, "scores.table")
    assert rows["_key"].to_list() == newest["_key"].to_list()
    assert rows["feature_way"].to_list() == newest["way"].to_list()
    scored(copied, WholeFiles(str(orders)), into="scores.file")
    query = f"select * exclude (note), 1 as other from '{orders}' order by parcel"
    scored(copied, WholeQuery(query), into="scores.query")
    assert scored(copied, WholeQuery(query), into="scores.query").already
    pl.read_parquet(orders).write_csv(tmp_path / "orders.csv", datetime_format="%Y-%m-%d %H:%M:%S%.6f")
    with pytest.raises(InvalidInput, match="not a time with a zone"):
        scored(copied, WholeFiles(str(tmp_path / "orders.csv")), into="scores.csv")
    scored(copied, WholeFiles(str(tmp_path / "orders.csv")), into="scores.csv", zone="UTC")
    expected = written(copied, "scores.file").drop("prediction_id", "decision_version")
    for into in ("scores.query", "scores.csv"):
        assert written(copied, into).select(expected.columns).equals(expected)


def test_an_earlier_version_and_an_alias_answer_when_asked_for(copied, orders):
    with copied.database.reading() as tx:
        versions = [one.version for one in registry.versions(tx, "parcels", "late")]
        champion = registry.alias(tx, "parcels", "late", "champion")
    other = next(version for version in versions if version != champion)
    source = WholeFiles(str(orders))
    assert (
        score_batch(copied, BatchRequest("parcels", "late@champion", source, "scores.a"), CALLER).model_version
        == champion
    )
    done = score_batch(copied, BatchRequest("parcels", f"late:{other}", source, "scores.b"), CALLER)
    assert (done.model_version, set(written(copied, "scores.b")["model_version"])) == (other, {other})
    assert not written(copied, "scores.a")["score"].equals(written(copied, "scores.b")["score"])
    for said, error in (
        ("late:99", NotFound),
        ("late@nobody", NotFound),
        ("nothing", NotFound),
        ("late:x", InvalidInput),
    ):
        with pytest.raises(error):
            score_batch(copied, BatchRequest("parcels", said, source, "scores.c"), CALLER)
    assert read_asked("late:3").version == 3


def begun(copied: Resources, source, **changed) -> None:
    """A batch that ends in the middle, as by a death."""

    def dying(done: int, total: int, told: str) -> None:
        if told == "scoring" and done > 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_batch(copied, request(source, part_rows=20, **changed), CALLER, progress=dying)


def files_of(resources: Resources) -> dict[str, bytes]:
    """The files of the table of scores and of its quarantine."""
    found = [path for into in (INTO, INTO + ".quarantine") for path in Path(resources.tables.open(into).uri).glob("*")]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in found if path.is_file()}


def test_parts_on_processes_give_the_same_files_killed_or_not(copied, orders, tmp_path, quick_processes):
    pl.read_parquet(orders).with_columns(
        way=pl.when(pl.int_range(pl.len()) == 45).then(float("inf")).otherwise("way")
    ).write_parquet(orders)
    source, asked = WholeFiles(str(orders)), {"part_rows": 20, "policy": "quarantine"}
    with copied.database.transaction():
        shutil.copytree(tmp_path / "home", tmp_path / "other")
    told, told_by_crew, waiting = [], [], []
    done = score_batch(copied, request(source, **asked), CALLER, progress=lambda *said: told.append(said))
    said = {"LOOPLINE_DURABLE": "0", "LOOPLINE_EXECUTOR": "local", "LOOPLINE_EXECUTOR_CORES": "2"}
    other = open_home(Settings.read(tmp_path / "other", environment=said), clock=copied.clock, silent=True)
    assert other.crew is not None

    def progress(*said: object) -> None:
        told_by_crew.append(said)
        waiting.append(sum(1 for _ in other.crew.transit.digests()))

    with closing(other.crew):
        begun(other, source, policy="quarantine")
        left = set(other.crew.transit.digests())  # what was just being written when its process was killed
        resumed = score_batch(other, request(source, **asked), CALLER, progress=progress)
    other.database.close()
    assert resumed.resumed
    assert msgspec.structs.replace(resumed, resumed=False) == done
    assert (done.refused, len(files_of(copied)) > 5) == (1, True)
    assert files_of(other) == files_of(copied)
    assert told_by_crew == [one for one in told if one[2] != "reading"][-len(told_by_crew) :]
    assert max(waiting) <= 2 * (2 + 1) + 1, "no more is on its way than the executor has at a time"
    left_since = set(other.crew.transit.digests()) - left
    assert len(left_since) <= 1, (
        "what the killed process was at may come to be seen a moment later; tidying takes it away"
    )


def test_files_that_changed_meanwhile_are_refused(copied, orders, logged):
    source = WholeFiles(str(orders))
    begun(copied, source)
    assert copied.tables.open(INTO).read().is_empty()
    before = orders.read_bytes()
    pl.read_parquet(orders).with_columns(pl.col("way") + 1).write_parquet(orders)
    with pytest.raises(Conflict) as caught:
        scored(copied, WholeFiles(str(orders)))
    assert caught.value.code == "batch.input_changed"
    assert copied.tables.open(INTO).read().is_empty()
    orders.write_bytes(before)
    done = scored(copied, WholeFiles(str(orders)))
    assert done.resumed
    assert written(copied).select(SAME).equals(logged.select(SAME))


def test_what_was_begun_is_thrown_away_when_asked(copied, orders):
    begun(copied, WholeFiles(str(orders)))
    parts = len(list(Path(copied.tables.open(INTO).uri).glob("*.parquet")))
    assert parts > 1
    pl.read_parquet(orders).head(10).write_parquet(orders)
    done = scored(copied, WholeFiles(str(orders)), fresh=True)
    assert (done.rows, done.resumed) == (10, False)
    assert len(list(Path(copied.tables.open(INTO).uri).glob("*.parquet"))) == 1


def test_a_champion_that_changes_meanwhile_changes_nothing(copied, orders):
    begun(copied, WholeFiles(str(orders)))
    with copied.database.transaction() as tx:
        champion = registry.alias(tx, "parcels", "late", "champion")
        other = next(one.version for one in registry.versions(tx, "parcels", "late") if one.version != champion)
        registry.set_alias(tx, project="parcels", model="late", alias="champion", version=other, at=copied.clock.now())
    scored(copied, WholeFiles(str(orders)))
    assert set(written(copied)["model_version"]) == {champion}


def test_rows_of_an_erased_person_wait_nowhere(copied, orders):
    begun(copied, WholeFiles(str(orders)))
    target = Target(
        "e", Person("p9", (), "person:0"), Traces({"parcels.sendings": {pl.read_parquet(orders)["parcel"][3]}})
    )
    sweep = batches.eraser(copied).sweep
    [found] = sweep(target, dry=True)
    assert found.count == 1
    sweep(target, dry=False)
    assert list(sweep(target, dry=True)) == []
    assert not list(folder_of(copied).glob("*/*"))
    assert not list(Path(copied.tables.open(INTO).uri).glob("*.parquet"))
    assert scored(copied, WholeFiles(str(orders))).resumed is False


def test_what_is_about_persons_is_tagged(copied, orders):
    people = TableSchema({"parcel": pl.String, "who": pl.String, "sends": pl.Datetime("us", "UTC"), "carrier": pl.String, "way": pl.Float64},
                         ("carrier",), "who")  # fmt: skip
    given = pl.read_parquet(orders).drop("note").head(30)
    now = copied.clock.now()
    rows = given.with_columns(
        who=pl.lit("p1"), _key="parcel", _event_time="sends", _known_at=pl.lit(now), _tombstone=pl.lit(value=False)
    )
    copied.tables.create("crm.parcels", people).append(rows, writer="w", sequence=0)
    broken = given.with_columns(way=pl.when(pl.col("parcel") == given["parcel"][0]).then(float("inf")).otherwise("way"))
    scored(copied, WholeTable(copied.tables, "crm.parcels"))
    schema = copied.tables.open(INTO).schema
    assert (schema.keys_of, "_key" in schema.personal) == ("crm.parcels", True)
    assert INTO in scored_tables(copied)
    broken.write_parquet(orders)
    done = scored(copied, WholeFiles(str(orders)), policy="quarantine")
    assert (done.rows, done.refused) == (29, 1)
    assert quarantined(copied.tables, INTO)["_reason"].to_list() == ["scoring.not_finite:way"]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"into": "parcels.sendings"}, "batch.not_scores"),
        ({"into": "predictions.parcels.other"}, "batch.reserved_table"),
        ({"part_rows": 0}, "batch.part_rows"),
        ({"source": WholeFiles("nowhere.parquet")}, "source.no_file"),
        ({"source": WholeQuery("select 1 as parcel")}, "batch.missing_column"),
        ({"source": WholeQuery("drop table x")}, "source.not_a_query"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(copied, orders, changed, code):
    before = copied.tables.names()
    try:
        asked = {"source": WholeFiles(str(orders)), "into": INTO} | changed
        with pytest.raises(LooplineError) as caught:
            score_batch(copied, BatchRequest("parcels", "late", **asked), CALLER)
    finally:
        assert copied.tables.names() == before
    assert caught.value.code == code
    assert caught.value.remedy
    assert not list(folder_of(copied).glob("*/*"))


def test_it_takes_the_permission_to_predict(copied, orders):
    nobody = Identity("x", frozenset({Permission.TABLES_READ}), "t")
    with pytest.raises(NotPermitted):
        score_batch(copied, request(WholeFiles(str(orders))), nobody)
