"""Serving one model, side by side: Loopline, five peers, and two limits.

    python benchmarks/serving.py [--rounds 3] [--seconds 3] [--only loopline,barest] [--favoured] [--json]

A gradient boosting model for two classes (10 numbers, 100 trees of 31 leaves, ONNX) is asked for 1 row and for 100 rows by 1
and by 32 connections that stay open. The server and all that it starts has one core, the load generator another. Everybody's
answers are compared with the model in process before anything is timed. The contestants take turns (A B C A B C); each turn
starts its server anew; medians of the rounds are shown. What a peer cannot do here is said in its row. The peers live in
environments of their own under `.venv-peers`, made on demand; each has its access log off, logs no predictions, checks no
tokens and no ranges, and is asked in the form that is shortest for it. Each is measured twice: with scikit-learn's model inside,
as their documentation serves one, and with ONNX Runtime put inside by hand.

Limits: the model in process through ONNX Runtime; the barest ASGI app that parses the same JSON and calls it.
`cpu us` is the processor time of all the server's processes an answer: on a machine that does other things it says more than
the rate. `--favoured` (root) lets servers and load go before whatever else runs here.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from serving.contestants import LIMIT, OURS, SYNCED, peers
from serving.environments import CannotInstall
from serving.load import install_wrk
from serving.model import make_model
from serving.report import markdown
from serving.rounds import Plan, in_process, measure
from serving.running import Failed
from serving.stages import stages
from serving.tree import favour


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of load in each cell of a round")
    parser.add_argument(
        "--only", help="names, with commas: " + ",".join(one.name for one in (LIMIT, OURS, SYNCED, *peers("onnx")))
    )
    parser.add_argument("--inside", default="sklearn,onnx", help="what the peers have inside, with commas")
    parser.add_argument("--favoured", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    install_wrk()
    if arguments.favoured:
        favour([os.getpid()])
    everybody = [LIMIT, OURS, SYNCED, *(one for inside in arguments.inside.split(",") for one in peers(inside))]
    names = set(arguments.only.split(",")) if arguments.only else {one.name for one in everybody}
    chosen = [one for one in everybody if one.name in names]
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        place = Path(folder)
        make_model(place)
        plan = Plan(place, arguments.rounds, arguments.seconds, favoured=arguments.favoured)
        results = [*measure(plan, chosen), in_process(plan)]
        parts = _stages(plan, results) if OURS in chosen else {}
    print(json.dumps({"results": results, "stages": parts}, indent=1) if arguments.json else markdown(results, parts))


def _stages(plan: Plan, results: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """None where they cannot be measured: the rest was, and is shown."""
    try:
        return stages(plan, results)
    except Failed as error:
        print(error, file=sys.stderr)
        return {}


if __name__ == "__main__":
    try:
        main()
    except CannotInstall as error:
        sys.exit(str(error))
