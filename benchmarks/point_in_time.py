"""Training-set joins, side by side: Loopline, the bare join of its engine, DuckDB's ASOF join, and Feast.

    python benchmarks/point_in_time.py [--rows 1000000] [--queries 100000] [--skip-feast] [--peers PYTHON] [--json]
    python benchmarks/point_in_time.py --huge [--rows 100000000] [--partitions 16]

Every contestant joins the same queries to the same rows by three entity columns (10,000, 1,000 and 100 entities), each in
its own process, and should find the same values. Times are the best of some runs on data in memory (Feast reads its
files, as its interface has it); memory is the process's peak resident size. The peers run in an environment of their
own, made in a temporary folder unless `--peers` names the Python of one that has duckdb, feast, numpy and pyarrow.
Everyone has one thread and 8 GiB. Feast joins each query with every row of its entity before it filters: at the full size
that took 23 GiB and was killed, so it runs beside the others on a tenth of the rows and queries. (Its values differ: it drops
queries that have no match in one of the views, here those of stores whose first row comes later.)
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

ENTITIES = {"store": 10_000, "product": 1_000, "region": 100}
START = datetime(2024, 1, 1, tzinfo=UTC)
YEAR = 365 * 86_400 * 1_000_000  # microseconds
CHUNK = 5_000_000
PATIENCE = 1800  # seconds that a contestant may take
MEMORY = 8 << 30  # bytes that a contestant may take
SEED = 20240101


# ---------------------------------------------------------------- data


def write_data(folder: Path, rows: int, queries: int) -> dict[str, Any]:
    """`rows/*.parquet`, a history in order of time, with distinct times; `queries.parquet`."""
    import polars as pl  # noqa: PLC0415  this file also runs where Polars is not installed

    rng = np.random.default_rng(SEED)
    (folder / "rows").mkdir(parents=True)
    step = YEAR // rows
    for first in range(0, rows, CHUNK):
        numbers = np.arange(first, min(first + CHUNK, rows))
        times = numbers * step + rng.integers(0, step, len(numbers))
        frame = pl.DataFrame({"_event_time": times, **_entities(rng, len(numbers)), "x": rng.normal(size=len(numbers))})
        frame = frame.with_columns(
            pl.format("row-{}", pl.Series(numbers)).alias("_key"), _tombstone=False, _event_time=_moment(pl)
        )
        frame.with_columns(_known_at="_event_time").write_parquet(folder / "rows" / f"{first:012d}.parquet")
    asked = pl.DataFrame({"_event_time": rng.integers(0, YEAR, queries), **_entities(rng, queries)})
    asked.with_columns(_event_time=_moment(pl)).rename({"_event_time": "at"}).write_parquet(folder / "queries.parquet")
    return {}


def _entities(rng: np.random.Generator, count: int) -> dict[str, Any]:
    return {name: np.char.add(name[0], rng.integers(0, size, count).astype(str)) for name, size in ENTITIES.items()}


def _moment(pl: Any) -> Any:
    return (pl.lit(START) + pl.duration(microseconds="_event_time")).cast(pl.Datetime("us", "UTC"))


# ---------------------------------------------------------------- contestants: each returns what to time, and its answer


def polars_join_asof(folder: Path) -> Callable[[], dict[str, Any]]:
    import polars as pl  # noqa: PLC0415

    queries = pl.read_parquet(folder / "queries.parquet").with_row_index()
    rows = pl.read_parquet(folder / "rows/*.parquet")

    def join() -> dict[str, Any]:
        answer = {}
        ordered = queries.sort("at")
        for by in ENTITIES:
            history = rows.select("_event_time", by, "x").sort("_event_time")
            found = ordered.join_asof(history, left_on="at", right_on="_event_time", by=by, check_sortedness=False)
            answer[by] = found.sort("index")["x"]
        return answer

    return join


def loopline_latest(folder: Path) -> Callable[[], dict[str, Any]]:
    from loopline.features.definitions import LatestView  # noqa: PLC0415

    return _loopline(folder, [LatestView("rows", by, {by: "x"}) for by in ENTITIES])


def loopline_windows(folder: Path) -> Callable[[], dict[str, Any]]:
    from loopline.features.definitions import Aggregate, WindowView  # noqa: PLC0415

    ops = ("count", "mean", "std")
    return _loopline(
        folder, [WindowView("rows", by, {f"{by}_{op}": Aggregate(op, "x", "7d") for op in ops}) for by in ENTITIES]
    )


def loopline_corrected(folder: Path) -> Callable[[], dict[str, Any]]:
    """The same latest views where one row in a hundred was corrected a day later: the general path."""
    import polars as pl  # noqa: PLC0415

    from loopline.features.definitions import LatestView  # noqa: PLC0415

    def corrected(rows: pl.DataFrame) -> pl.DataFrame:
        later = rows.gather_every(100).with_columns(pl.col("_known_at") + timedelta(days=1), pl.col("x") + 1.0)
        return pl.concat([rows, later])

    return _loopline(folder, [LatestView("rows", by, {by: "x"}) for by in ENTITIES], corrected)


def _loopline(folder: Path, views: list[Any], change: Callable[[Any], Any] = lambda rows: rows) -> Callable[[], Any]:
    import polars as pl  # noqa: PLC0415

    from loopline.features.point_in_time import point_in_time  # noqa: PLC0415

    queries = pl.read_parquet(folder / "queries.parquet")
    rows = change(pl.read_parquet(folder / "rows/*.parquet").rechunk())
    return lambda: point_in_time(queries, at="at", views=views, history={"rows": rows}).to_dict()


def duckdb_asof(folder: Path) -> Callable[[], dict[str, Any]]:
    import duckdb  # noqa: PLC0415

    connection = duckdb.connect()
    connection.execute("set threads = 1")
    connection.execute(f"create table rows as select * from '{folder}/rows/*.parquet'")
    connection.execute(
        f"create table queries as select row_number() over () as place, * from '{folder}/queries.parquet'"
    )

    def join() -> dict[str, Any]:
        return {by: connection.execute(_asof(by)).fetchnumpy()["x"] for by in ENTITIES}

    return join


def _asof(by: str) -> str:
    return f"""
        select rows.x from queries asof left join rows on queries.{by} = rows.{by} and queries.at >= rows._event_time
        order by queries.place
    """


def feast_historical(folder: Path) -> Callable[[], dict[str, Any]]:
    import feast  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    from feast.types import Float64  # noqa: PLC0415

    files = sorted((folder / "rows").glob("*.parquet"))
    source = feast.FileSource(path=str(files[0] if len(files) == 1 else folder / "rows"), timestamp_field="_event_time")
    config = feast.RepoConfig(
        project="benchmark", provider="local", registry=str(folder / "registry.db"), entity_key_serialization_version=3,
        offline_store={"type": "file"}, online_store={"type": "sqlite", "path": str(folder / "online.db")},
    )  # fmt: skip
    store = feast.FeatureStore(config=config)
    entities = {by: feast.Entity(name=by, join_keys=[by], value_type=feast.ValueType.STRING) for by in ENTITIES}
    views = [
        feast.FeatureView(
            name=f"by_{by}", entities=[entity], schema=[feast.Field(name="x", dtype=Float64)], source=source,
            ttl=timedelta(days=400),
        )
        for by, entity in entities.items()
    ]  # fmt: skip
    store.apply([*entities.values(), *views])
    queries = pd.read_parquet(folder / "queries.parquet").rename(columns={"at": "event_timestamp"}).reset_index()

    def join() -> dict[str, Any]:
        features = [f"by_{by}:x" for by in ENTITIES]
        job = store.get_historical_features(entity_df=queries, features=features, full_feature_names=True)
        found = job.to_df().sort_values("index")
        return {by: found[f"by_{by}__x"].to_numpy() for by in ENTITIES}

    return join


def loopline_huge(folder: Path, partitions: int = 16) -> Callable[[], dict[str, Any]]:
    import polars as pl  # noqa: PLC0415

    from loopline.features.definitions import Aggregate, LatestView, WindowView  # noqa: PLC0415
    from loopline.features.point_in_time import point_in_time  # noqa: PLC0415

    views = [
        LatestView("rows", "store", {"store": "x"}),
        WindowView("rows", "store", {"mean": Aggregate("mean", "x", "7d"), "max": Aggregate("max", "x", "7d")}),
    ]
    queries = pl.read_parquet(folder / "queries.parquet")
    rows = pl.scan_parquet(folder / "rows/*.parquet")
    return lambda: point_in_time(queries, at="at", views=views, history={"rows": rows}, partitions=partitions).to_dict()


CONTESTANTS: dict[str, tuple[str, Callable[..., Callable[[], dict[str, Any]]], int]] = {
    "polars": ("Polars join_asof(by=), bare", polars_join_asof, 9),
    "loopline": ("Loopline, 3 latest views", loopline_latest, 9),
    "corrected": ("Loopline, 3 latest views, 1 % corrected", loopline_corrected, 5),
    "windows": ("Loopline, 3 views x 3 windows of 7 days", loopline_windows, 5),
    "duckdb": ("DuckDB ASOF join", duckdb_asof, 3),
    "feast": ("Feast get_historical_features", feast_historical, 1),
    "huge": ("Loopline in parts", loopline_huge, 1),
}
ALL_BUT_FEAST = ("polars", "loopline", "corrected", "windows", "duckdb")
WITH_FEAST = ("polars", "loopline", "duckdb", "feast")
PEERS = ("duckdb", "feast")
SAME_ANSWER = ("loopline", "duckdb", "feast")  # as Polars gives


# ---------------------------------------------------------------- one contestant, in its own process


def run_one(name: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    if name == "data":  # in a process of its own, too: a child's peak begins at its parent's size
        return write_data(folder, **options)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    _, prepare, repeats = CONTESTANTS[name]
    join = prepare(folder, **options)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        answer = join()
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": min(seconds),
        "peak_mb": peak,
        "answer": {by: _sum_of(answer[by]) for by in ENTITIES if by in answer},
    }


def _sum_of(column: Any) -> tuple[float, int]:
    """What all contestants must agree on: the sum of the values found, and how many."""
    if hasattr(column, "to_numpy"):
        column = column.to_numpy()
    values = np.asarray(np.ma.filled(column, np.nan), dtype=float)
    return round(float(np.nansum(values)), 6), int((~np.isnan(values)).sum())


# ---------------------------------------------------------------- all of them


def spawn(python: str, name: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    command = [python, __file__, "--one", name, "--folder", str(folder), "--options", json.dumps(options)]
    threads = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=os.environ | threads
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"took more than {PATIENCE} s"}
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:]
        return {"failed": f"ended with {done.returncode} under {MEMORY >> 30} GiB: {last}"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def peers_python(folder: Path, *, feast: bool) -> str:
    """An environment with the peers alone: what they pin would not go together with Loopline's."""
    home = folder / "peers"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    packages = ["duckdb>=1.3", "numpy", "pyarrow>=20", *(["feast>=0.60"] if feast else [])]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def compare(folder: Path, names: Iterable[str], peers: str, rows: int, queries: int) -> dict[str, dict[str, Any]]:
    spawn(sys.executable, "data", folder, {"rows": rows, "queries": queries})
    results: dict[str, dict[str, Any]] = {}
    for name in names:
        results[name] = spawn(peers if name in PEERS else sys.executable, name, folder, {})
        if name in SAME_ANSWER and "answer" in results[name] and results[name]["answer"] != results["polars"]["answer"]:
            results[name]["differs"] = True
    return results


def report(size: str, results: dict[str, dict[str, Any]]) -> None:
    limit = results.get("polars", {}).get("seconds")
    print(f"{size:48}{'seconds':>9}{'ratio':>8}{'peak MB':>9}")
    for name, result in results.items():
        title = "  " + CONTESTANTS[name][0]
        if "failed" in result:
            print(f"{title:48}{result['failed']}")
            continue
        ratio = f"{result['seconds'] / limit:.1f}x" if limit else ""
        differs = "  finds other values than Polars" if result.get("differs") else ""
        print(f"{title:48}{result['seconds']:>9.3f}{ratio:>8}{result['peak_mb']:>9.0f}{differs}")


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, dict[str, dict[str, Any]]]:
    """The results by contestant, by the size of the data."""
    if arguments.huge:
        rows, queries = arguments.rows or 100_000_000, arguments.queries
        spawn(sys.executable, "data", folder / "data", {"rows": rows, "queries": queries})
        huge = spawn(sys.executable, "huge", folder / "data", {"partitions": arguments.partitions})
        return {_size(rows, queries): {"huge": huge}}
    rows, queries = arguments.rows or 1_000_000, arguments.queries
    peers = arguments.peers or peers_python(folder, feast=not arguments.skip_feast)
    results = {_size(rows, queries): compare(folder / "data", ALL_BUT_FEAST, peers, rows, queries)}
    if not arguments.skip_feast:
        rows, queries = rows // arguments.feast_scale, queries // arguments.feast_scale
        results[_size(rows, queries)] = compare(folder / "small", WITH_FEAST, peers, rows, queries)
    return results


def _size(rows: int, queries: int) -> str:
    return f"{queries:,} queries x {rows:,} rows"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--skip-feast", action="store_true")
    parser.add_argument("--feast-scale", type=int, default=10, help="Feast gets rows and queries divided by this")
    parser.add_argument("--peers", help="the Python of an environment that has the peers")
    parser.add_argument("--huge", action="store_true", help="100M rows from Parquet on disk, in bounded memory")
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=["data", *CONTESTANTS], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, default={}, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run_one(arguments.one, arguments.folder, arguments.options)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        results = measure(Path(temporary), arguments)
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    for size, contestants in results.items():
        report(size, contestants)


if __name__ == "__main__":
    main()
