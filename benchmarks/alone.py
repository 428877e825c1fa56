"""Each stand-alone command from the built wheel in a clean environment, timed: its answer has to come within a minute.

    python benchmarks/alone.py

The data are made here, in sizes that people have: 300,000 predictions with features and late labels, a CSV of 200,000 rows, a
model of LightGBM. The wheel is built and installed into a new virtual environment first.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parent.parent
PREDICTIONS, ROWS, DAYS = 300_000, 200_000, 90
PORT = 8397


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        command = installed(place)
        make_data(place)
        print("| command | seconds | what it said |\n|---|---|---|")
        watch = ["watch", "--predictions", "predictions.parquet", "--labels", "labels.parquet"]
        show("watch", *timed(place, [command, *watch]))
        show("check", *timed(place, [command, "check", "data.csv", "--label", "bought"]))
        show("serve", *served(place, command))
        show("track", *timed(place, [command, "track", "--", str(place / "env/bin/python"), "train.py"]))
        show("init --from", *timed(place, [command, "init", "loop", "--from", "data.csv", "--label", "bought"]))


def installed(place: Path) -> str:
    """The wheel, built from this tree, in an environment of its own."""
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", str(place / "dist"), str(ROOT)], check=True)
    (wheel,) = (place / "dist").glob("*.whl")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place / "env")], check=True)
    python = str(place / "env/bin/python")
    constraints = ["--constraints", str(ROOT / "constraints.txt")]
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, *constraints, f"{wheel}[lightgbm]"], check=True
    )
    return str(place / "env/bin/loopline")


def make_data(place: Path) -> None:
    rng = np.random.default_rng(1)
    at = np.sort(rng.uniform(0, DAYS, PREDICTIONS))
    speed, shop = rng.normal(size=PREDICTIONS), rng.choice(["north", "south", "web"], PREDICTIONS)
    broken = np.where(at > 0.7 * DAYS, 1.2, 0.0)
    logit = speed - 1 + 0.5 * (shop == "web")
    happened = rng.random(PREDICTIONS) < 1 / (1 + np.exp(-(logit + broken)))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = pl.Series([start + timedelta(days=float(day)) for day in at], dtype=pl.Datetime("us", "UTC"))
    rows = pl.DataFrame({"id": np.arange(PREDICTIONS), "at": times, "speed": speed, "shop": shop})
    rows = rows.with_columns(score=1 / (1 + np.exp(-logit)), speed=pl.Series(speed))
    rows.write_parquet(place / "predictions.parquet")
    labels = pl.DataFrame({"id": np.arange(PREDICTIONS), "label": happened.astype(int)})
    labels.sample(fraction=0.9, seed=1).write_parquet(place / "labels.parquet")
    age, visits = rng.integers(18, 90, ROWS), rng.poisson(3, ROWS)
    bought = rng.random(ROWS) < 1 / (1 + np.exp(2 - visits / 2))
    minutes = [start + timedelta(minutes=int(m)) for m in np.sort(rng.integers(0, DAYS * 1440, ROWS))]
    table = pl.DataFrame({"customer": np.arange(ROWS), "seen_at": minutes, "age": age, "visits": visits})
    table.with_columns(sex=pl.Series(rng.choice(["f", "m"], ROWS)), bought=pl.Series(bought)).write_csv(
        place / "data.csv"
    )
    model = lightgbm.LGBMClassifier(n_estimators=100, verbose=-1)
    model.fit(table.select("age", "visits").to_numpy(), bought, feature_name=["age", "visits"])
    model.booster_.save_model(place / "model.txt")
    table.write_parquet(place / "sample.parquet")
    (place / "train.py").write_text("import loopline as ll\nwith ll.track('buy') as run:\n    run.log(auc=0.8)\n")


def timed(place: Path, command: list[str]) -> tuple[float, str]:
    """Seconds until it ended, and what it said first."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=place, env=environment(place), capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode not in {0, 10}:
        raise SystemExit(f"{' '.join(command[1:])} failed:\n{done.stdout}{done.stderr}")
    return took, next((line.strip() for line in done.stdout.splitlines() if line.strip()), "")


def served(place: Path, command: str) -> tuple[float, str]:
    """Seconds from the command to the first answer over HTTP."""
    began = time.perf_counter()
    start = [command, "serve", "model.txt", "--sample", "sample.parquet", "--port", str(PORT), "--json"]
    with subprocess.Popen(start, cwd=place, env=environment(place), stdout=subprocess.PIPE, text=True) as process:
        text = ""
        while not (text.endswith("}\n") and text.count("{") == text.count("}")):
            text += process.stdout.readline() if process.stdout else ""
        token = json.loads(text)["token"]
        body = json.dumps({"rows": [{"age": 40, "visits": 3}]}).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{PORT}/predict/model", body, {"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(asked) as answer:
            score = json.load(answer)["predictions"][0]["score"]
        took = time.perf_counter() - began
        process.send_signal(signal.SIGINT)
    return took, f"answers over HTTP: a score of {score:.3f}"


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "LOOPLINE_HOME": str(place / "home"), "COLUMNS": "100", "PYTHONPATH": ""}


def show(name: str, seconds: float, said: str) -> None:
    print(f"| `{name}` | {seconds:.1f} | {said[:160]} |", flush=True)


if __name__ == "__main__":
    main()
