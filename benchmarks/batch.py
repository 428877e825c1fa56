"""Batch scoring of a Parquet file, beside the limit: the same model in process through ONNX Runtime, over the same file.

    python benchmarks/batch.py [ROWS]

Each runs in a process of its own, on one thread. The limit reads the file in batches, encodes nothing, checks nothing, and writes
key and score; ours pins and checks the rows, decides, flags what is odd, gives every prediction its id, keeps the fields as used,
and can be killed at any moment. Both are told without the time of imports. The peak is of the whole process.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl

FIELDS = [f"x{number}" for number in range(10)]
ROWS, PORTION = 1_000_000, 500_000
QUIET = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        in_process("make", place, str(rows))
        print(
            "| what | rows/s | rows per second of the processor | peak MB | MB before the first row |\n|---|---|---|---|---|"
        )
        for name in ("limit", "ours", "ours_csv"):
            found = json.loads(in_process(name, place))
            told = (rows / found["seconds"], rows / found["processor"], found["peak"], found["before"])
            print("| {} | {:,.0f} | {:,.0f} | {:.0f} | {:.0f} |".format(name, *told), flush=True)


def in_process(name: str, *arguments: object) -> str:
    command = [sys.executable, __file__, "--", name, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | QUIET).stdout


def make(place: Path, rows: str) -> None:
    to_onnx = import_module("skl2onnx").to_onnx
    classifier = import_module("sklearn.ensemble").HistGradientBoostingClassifier
    rng, start = np.random.default_rng(1), datetime(2026, 1, 1, tzinfo=UTC)
    parts = []
    for first in range(0, int(rows), PORTION):
        count = min(PORTION, int(rows) - first)
        times = pl.Series(
            "at", [start + timedelta(seconds=first + n) for n in range(count)], dtype=pl.Datetime("us", "UTC")
        )
        keys = pl.Series("order", [f"order-{first + n:09}" for n in range(count)])
        parts.append(pl.DataFrame([keys, times, *(pl.Series(name, rng.normal(size=count)) for name in FIELDS)]))
    frame = pl.concat(parts)
    frame.write_parquet(place / "rows.parquet", row_group_size=250_000)
    frame.write_csv(place / "rows.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    sample = frame.head(20_000).select(FIELDS).to_numpy().astype(np.float32)
    model = classifier(max_iter=100).fit(sample, sample[:, 0] + sample[:, 1] * sample[:, 2] > 0)
    made = to_onnx(model, sample[:1], target_opset={"": 18, "ai.onnx.ml": 3}, options={id(model): {"zipmap": False}})
    (place / "model.onnx").write_bytes(made.SerializeToString())


def limit(place: Path) -> None:
    onnxruntime = import_module("onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(place / "model.onnx"), settings)
    before, begun = peak(), now()
    scored = place / "limit"
    scored.mkdir()
    scan = pl.scan_parquet(place / "rows.parquet")
    for number, rows in enumerate(scan.collect_batches(chunk_size=100_000, maintain_order=True)):
        matrix = rows.select(pl.col(FIELDS).cast(pl.Float32)).to_numpy(order="c")
        scores = session.run(None, {session.get_inputs()[0].name: matrix})[1][:, 1]
        rows.select("order", score=pl.Series(scores)).write_parquet(scored / f"{number}.parquet")
    tell(before, begun)


def ours(place: Path, name: str = "rows.parquet") -> None:
    score, files = import_module("loopline.app.alone.score"), import_module("loopline.sources.whole")
    before, begun = peak(), now()
    source, into = files.WholeFiles(str(place / name)), place / f"{name}.scores.parquet"
    request = score.FileRequest(
        place / "model.onnx", source, into, key="order", at="at", asked=score.Asked(tuple(FIELDS))
    )
    score.score_file(request)
    tell(before, begun)


def ours_csv(place: Path) -> None:
    ours(place, "rows.csv")


def tell(before: float, begun: tuple[float, float]) -> None:
    seconds, processor = (after - then for after, then in zip(now(), begun, strict=True))
    print(json.dumps({"seconds": seconds, "processor": processor, "peak": peak(), "before": before}))


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def peak() -> float:
    """Megabytes."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--"]:
        globals()[sys.argv[2]](Path(sys.argv[3]), *sys.argv[4:])
    else:
        main()
