"""How near estimates without labels come to what labels show, ours and nannyml's: `python benchmarks/estimating.py [--worlds N] [--json FILE]`.

A model is trained, then watched on 9,000 labelled rows (the reference); 9,000 rows follow whose labels both methods do not get, in
chunks of 1,500. The inputs of these stay as they were, shift a little, or far; in the last world the inputs stay and their meaning turns,
which no method can see. Both get the same rows in the same files; nannyml runs in an environment of its own.
For each method: the root of the mean squared error of its estimate over chunks and worlds, and how often its 95 % bounds held.
"""

import argparse
import json
import os
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from estimating.worlds import KINDS, SHIFTS, World, make
from loopline.evaluation.estimation.estimate import EstimatedLoss, Past
from loopline.evaluation.estimation.unlabelled import estimate_loss
from loopline.evaluation.losses import named
from serving.environments import CannotInstall, python_of

PEER = ("nannyml==0.13.1", "statsmodels", "setuptools<81", "numpy<3")
CHUNK = 1500
LOSSES = {"binary": ("accuracy",), "multiclass": ("accuracy",), "regression": ("absolute_error", "squared_error")}


def ours(world: World, loss: str, *, features: bool) -> tuple[list[EstimatedLoss], float]:
    """One estimate a chunk, and the seconds it took."""
    past = Past(world.outputs, world.labels, np.arange(len(world.labels)) // 300, world.frame() if features else None)
    name = "zero_one" if loss == "accuracy" else loss
    began = time.perf_counter()
    found = []
    for start in range(0, len(world.now), CHUNK):
        part = slice(start, start + CHUNK)
        given = world.frame(now=True)[part] if features else None
        found.append(estimate_loss(name, world.output, past, world.outputs_now[part], given, 7))
    return found, time.perf_counter() - began


def realised(world: World, loss: str) -> list[float]:
    rows = named("zero_one" if loss == "accuracy" else loss, world.output).rows(world.outputs_now, world.labels_now)
    return [float(rows[start : start + CHUNK].mean()) for start in range(0, len(rows), CHUNK)]


def theirs(world: World, python: Path) -> tuple[dict[str, list[float]], dict[str, list[float]], float]:
    with TemporaryDirectory() as folder:
        world.write(Path(folder))
        began = time.perf_counter()
        command = [python, Path(__file__).parent / "estimating" / "peer.py", folder, world.kind]
        quiet = os.environ | {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    if done.returncode:
        raise RuntimeError(done.stderr[-600:])
    told = json.loads(done.stdout.splitlines()[-1])
    return told["values"], told["sampling"], time.perf_counter() - began


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--worlds", type=int, default=5)
    asked.add_argument("--json", type=Path)
    said = asked.parse_args()
    try:
        python = python_of("nannyml", PEER, as_ours=())
    except CannotInstall as error:
        print(f"nannyml cannot be installed: {error}")
        python = None
    missed, inside, seconds = defaultdict(list), defaultdict(list), defaultdict(list)
    for kind in KINDS:
        for shift in SHIFTS:
            for seed in range(said.worlds):
                compare(make(kind, shift, seed), python, missed, inside, seconds)
            told = figures(missed, inside, seconds)
            print(table([row for row in told if (row["kind"], row["shift"]) == (kind, shift)]), flush=True)
    if said.json:
        said.json.write_text(json.dumps(figures(missed, inside, seconds), indent=1))


def figures(missed: dict, inside: dict, seconds: dict) -> list[dict]:
    """One row for each world's kind, loss, shift and method."""
    return [
        {
            "kind": kind,
            "loss": loss,
            "shift": shift,
            "method": method,
            "rms": float(np.sqrt(np.mean(np.square(errors)))),
            "inside": float(np.mean(held)) if (held := inside[kind, loss, shift, method]) else None,
            "seconds": float(np.median(seconds[kind, method])),
        }
        for (kind, loss, shift, method), errors in missed.items()
    ]


def compare(world: World, python: Path | None, missed: dict, inside: dict, seconds: dict) -> None:
    peer = theirs(world, python) if python else None
    for loss in LOSSES[world.kind]:
        real = np.array(realised(world, loss))
        for method, features in (("ours, scores alone", False), ("ours", True)):
            found, took = ours(world, loss, features=features)
            if any(one.value is None for one in found):
                continue
            key = (world.kind, loss, world.shift, method)
            missed[key] += (np.array([one.value for one in found]) - real).tolist()
            inside[key] += [one.lower <= value <= one.upper for one, value in zip(found, real, strict=True)]
            seconds[world.kind, method].append(took)
        stale = named("zero_one" if loss == "accuracy" else loss, world.output).rows(world.outputs, world.labels).mean()
        missed[world.kind, loss, world.shift, "loss of the reference"] += (stale - real).tolist()
        seconds[world.kind, "loss of the reference"].append(0.0)
        if peer:
            values = np.array(peer[0][loss])
            estimates = 1 - values if loss == "accuracy" else values
            key = (world.kind, loss, world.shift, "nannyml")
            missed[key] += (estimates - real).tolist()
            bounds = 1.96 * np.array(peer[1][loss])
            inside[key] += (np.abs(estimates - real) <= bounds).tolist()
            seconds[world.kind, "nannyml"].append(peer[2])


def table(rows: list[dict]) -> str:
    lines = [f"{'kind':<11} {'loss':<15} {'shift':<8} {'method':<22} {'rms error':>9} {'in bounds':>9} {'seconds':>8}"]
    for row in rows:
        held = "" if row["inside"] is None else f"{row['inside']:.0%}"
        lines.append(
            f"{row['kind']:<11} {row['loss']:<15} {row['shift']:<8} {row['method']:<22} {row['rms']:>9.4f} {held:>9} {row['seconds']:>8.1f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
