"""How many days of flights are replayed in a second, and where the time goes.

    python benchmarks/replay.py [--days 90] [--json]

Runs the example's replay of its first days, three policies over one ingestion, in a temporary home. Policies
run two at a time, so that their seconds add up to more than the whole.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loopline.app.home import open_home
from loopline.app.replays import run_replay
from loopline.config import Settings
from loopline.loop import store
from loopline.loop.declare import Loop
from loopline.loop.lane import lanes
from loopline.loop.load import load_loop
from loopline.loop.replay import Period

EXAMPLE = Path(__file__).parents[1] / "examples" / "flights" / "loop.py"
START = datetime(2013, 1, 1, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.days)
    if arguments.json:
        json.dump(found, sys.stdout, indent=2)
        return
    print(
        f"{found['days']} days, {found['policies']} policies: {found['seconds']:.1f} s, {found['days_per_second']:.2f} days/s"
    )
    print(
        f"{found['policy_days_per_second']:.2f} policy-days/s, {found['rows_per_second']:,.0f} predictions/s, {found['peak_mb']:.0f} MB"
    )
    for name, seconds in found["where"].items():
        print(f"  {name:<10} {seconds:8.2f} s")


def measure(days: int) -> dict:
    loop = load_loop(EXAMPLE)
    shared: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.read(Path(folder) / "home", environment={})
        period = Period(START, START + timedelta(days=days))
        began = time.perf_counter()
        results = run_replay(settings, loop, period, seed=0, progress=lambda *_: None, seconds=shared)
        total = time.perf_counter() - began
        own = _lane_seconds(settings, loop)
    rows = sum(policy.predictions for policy in results[0].comparison.policies)
    policies = len(results[0].comparison.policies)
    where = {**shared, **own}
    return {
        "days": days,
        "policies": policies,
        "seconds": total,
        "days_per_second": days / total,
        "policy_days_per_second": days * policies / total,
        "rows_per_second": rows / total,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "where": {name: round(seconds, 2) for name, seconds in where.items()},
    }


def _lane_seconds(settings: Settings, loop: Loop) -> dict[str, float]:
    resources = open_home(settings)
    spent: dict[str, float] = {}
    with resources.database.reading() as tx:
        for lane in lanes(loop, seed=0, compare=True):
            for turn in store.turns(tx, lane.project, lane.model):
                for name, seconds in turn["measured"].items():
                    spent[name] = spent.get(name, 0.0) + seconds
    spent["respond"] = spent.get("respond", 0.0) - spent.get("train", 0.0) + spent.pop("shared", 0.0)
    return spent


if __name__ == "__main__":
    main()
