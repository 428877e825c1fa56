"""Which retraining policy, chosen on the first half of the flights year by replay, and what it came to on the second.

    python benchmarks/policies.py [--home HOME] [--days 366] [--choose-days 181] [--write] [--json]

All candidates are replayed in one pass over one ingestion; what they train at one moment is trained once. Nothing of the second half,
and no label that was not known by its beginning, has a say in the choice. A home that holds the finished replay is only read. With
`--write` the figures go into docs/explanation/retraining.md.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

import loopline as ll
from loopline.app.replays import run_replay
from loopline.config import Settings
from loopline.loop.choose import Choice
from loopline.loop.declare import Loop
from loopline.loop.load import load_loop
from loopline.loop.replay import Period

EXAMPLE = Path(__file__).parents[1] / "examples" / "flights" / "loop.py"
PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "retraining.md"
MARK, END_MARK = "<!-- policies -->", "<!-- /policies -->"
START = datetime(2013, 1, 1, tzinfo=UTC)
PRICES = ll.prices(loss=1.0, retrain=20.0, page=50.0)
HORIZONS = (15, 30, 60, 120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--days", type=int, default=366)
    parser.add_argument("--choose-days", type=int, default=181)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        choice = measure(arguments.home or Path(folder) / "home", arguments.days, arguments.choose_days)
    seconds = round(time.perf_counter() - began)
    if arguments.write:
        write(choice, arguments.days)
    if arguments.json:
        json.dump({"seconds": seconds, "choice": msgspec.to_builtins(choice)}, sys.stdout, indent=2)
        return
    print("\n".join(table(choice)))
    print(f"{len(choice.candidates)} policies, {seconds} s.")


def measure(home: Path, days: int, choose_days: int) -> Choice:
    """Replay what was not replayed yet in that home, and choose."""
    period = Period(START, START + timedelta(days=days))
    settings = Settings.read(home, environment={})
    results = run_replay(
        settings, candidates(), period, seed=0, progress=_told, choose_until=START + timedelta(days=choose_days)
    )
    choice = results[0].choice
    if choice is None:
        raise SystemExit("nothing was chosen")
    return choice


def candidates() -> Loop:
    """The example, with prices and what it is compared with."""
    loop = load_loop(EXAMPLE)
    operation = loop.operations["late_arrival"]
    weighed = {
        f"pays_{days}d": (
            ll.on(ll.harm & ll.previous_is_better, ll.roll_back),
            ll.on(
                ll.harm | ll.retraining_pays(f"{days}d"),
                ll.retrain(cooldown="7d", at_least_every="60d", at_most_a_month=4),
            ),
        )
        for days in HORIZONS
    }
    calendar = {"weekly": (ll.every("7d", ll.retrain),), "monthly": (ll.every("1mo", ll.retrain),)}
    compared = {"train_once": (), **calendar, **weighed}
    loop.operations["late_arrival"] = replace(operation, compare=compared, prices=PRICES)
    return loop


def table(choice: Choice) -> list[str]:
    """The second half as Markdown, the chosen first."""
    lines = [
        f"| policy | cost to {choice.choose_until:%-d %B} | loss since | retrains | pages | cost | more than the chosen (95 %) |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in sorted(choice.candidates, key=lambda one: (one.policy != choice.chosen, one.chosen_on.total)):
        rest, more = one.rest, one.more
        told = "" if more is None else f"{more.mean:+.0f} ({more.lower:+.0f} to {more.upper:+.0f})"
        figures = f"{rest.loss:.4f} | {rest.retrains} | {rest.pages} | {rest.total:.0f} | {told}"
        lines.append(f"| {one.policy} | {one.chosen_on.total:.0f} | {figures} |")
    return lines


def write(choice: Choice, days: int) -> None:
    """Put the figures between their marks on the page."""
    prices, until = choice.prices, START + timedelta(days=days)
    told = (
        f"{len(choice.candidates)} policies over the flights of 2013, chosen on {choice.choose_until:%-d %B} and followed to "
        f"{until:%-d %B %Y}. A unit of log loss on one flight costs {prices.loss:g}, a training {prices.retrain:g}, a page {prices.page:g}."
    )
    before, rest = PAGE.read_text(encoding="utf-8").split(MARK)
    _, after = rest.split(END_MARK)
    inside = "\n".join([MARK, told, "", *table(choice), "", choice.sentence, END_MARK])
    PAGE.write_text(before + inside + after, encoding="utf-8")


def _told(number: int, turns: int, _window: object) -> None:
    if sys.stderr.isatty():
        print(f"\r{number}/{turns}", end="", file=sys.stderr)


if __name__ == "__main__":
    main()
