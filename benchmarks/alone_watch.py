"""How long `loopline watch` takes and how much memory it holds, by rows: `python benchmarks/alone_watch.py [ROWS ...]`.

Each run is a process of its own on fresh files of Parquet: predictions with twenty features (half numbers, half texts), and
their labels in a file of their own, in another order. Printed are the rows, the seconds and the largest memory.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

ROWS = (1_000_000, 5_000_000)
DAYS = 365
FEATURES = 10
_PART = 1_000_000


def write(folder: Path, rows: int) -> None:
    """The files, a million rows at a time."""
    for number, start in enumerate(range(0, rows, _PART)):
        part = min(_PART, rows - start)
        rng = np.random.default_rng(number)
        day = np.sort(rng.uniform(start, start + part, part)) / rows * DAYS
        numbers = {f"number_{place}": rng.normal(size=part) for place in range(FEATURES)}
        texts = {f"text_{place}": rng.choice(list("abcdefgh"), part) for place in range(FEATURES)}
        score = 1 / (1 + np.exp(1 - numbers["number_0"]))
        ids = pl.select(pl.format("row-{}", pl.int_range(start, start + part))).to_series()
        at = pl.Series((day * 86_400e6).astype(np.int64)).cast(pl.Datetime("us", "UTC"))
        (folder / "predictions").mkdir(exist_ok=True)
        (folder / "labels").mkdir(exist_ok=True)
        frame = pl.DataFrame({"prediction_id": ids, "predicted_at": at, "score": score, **numbers, **texts})
        frame.write_parquet(folder / "predictions" / f"{number:03}.parquet")
        label = rng.random(part) < np.where(day > 0.7 * DAYS, 0.3, score)
        labels = pl.DataFrame({"prediction_id": ids, "label": label, "labelled_at": at.dt.offset_by("6h")})
        labels.sample(fraction=1, shuffle=True, seed=number).write_parquet(folder / "labels" / f"{number:03}.parquet")


def measure(rows: int) -> tuple[float, float]:
    """Seconds and gigabytes of one run."""
    with TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "write", folder, str(rows)], check=True)
        files = ["--predictions", f"{folder}/predictions", "--labels", f"{folder}/labels"]
        command = [str(Path(sys.executable).parent / "loopline"), "watch", *files, "--report", f"{folder}/report.html"]
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            _, _, used = os.wait4(process.pid, 0)
        return time.perf_counter() - began, used.ru_maxrss / 1024**2


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        for count in [int(one) for one in sys.argv[1:]] or ROWS:
            seconds, memory = measure(count)
            print(f"{count:,} rows: {seconds:.1f} s, {memory:.2f} GB")
