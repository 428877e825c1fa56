"""A soak: requests under load, across swaps, rollbacks and killed workers; then every prediction is accounted for.

    python benchmarks/soak.py [--requests 100000] [--swaps 50] [--kills 20] [--rollbacks 5] [--workers 2] [--clients 16]
                              [--seed 1] [--json]

Callers keep their connections and send nothing twice. Meanwhile versions are registered, promoted and rolled back, workers are
killed by SIGKILL (the last time all of them at once), and what was logged is shipped to its table. At the end: failed requests are
only those on the connections of a killed worker; every prediction that was acknowledged is in the table exactly once, as it was
answered; answers came from the version that was in force; all workers answered again within two seconds of a kill; and none
said that it was ready before it could predict. Exit code 1 where any of it does not hold.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import numpy as np

from loopline.deploy.process import ScoringProcess
from loopline.scoring.record import prediction_table
from loopline.scoring.shipper import ship_all
from serving.running import free_port
from soaking.checks import Bounds, Check, check, figures
from soaking.clients import Callers
from soaking.site import ENDPOINT, PROJECT, Site, settings_of
from soaking.workers import Killed, all_answer, kill, probe, workers_of

SHIP_SECONDS = 1.0
START_SECONDS = 120.0


class Soak:
    """What happens while the callers call, in an order drawn by the seed."""

    def __init__(self, arguments: argparse.Namespace, site: Site, process: ScoringProcess, callers: Callers) -> None:
        self._arguments, self._site, self._process, self._callers = arguments, site, process, callers
        self._rng = np.random.default_rng(arguments.seed)
        self.kills: list[Killed] = []

    def run(self) -> None:
        """Everything that is to happen, spread over the requests."""
        given = self._arguments
        happenings = ["swap"] * given.swaps + ["kill"] * given.kills + ["roll back"] * given.rollbacks
        self._rng.shuffle(happenings)
        for number, happening in enumerate(happenings):
            self._wait_for(given.requests * (number + 1) // (len(happenings) + 1))
            if happening == "kill":
                self._kill()
            elif happening == "swap" or len(self._site.reigns) == 1:  # there is nothing to roll back to yet
                self._changed(self._site.swap())
            else:
                self._changed(self._site.roll_back())
        self._kill(everyone=True)
        self._wait_for(given.requests)

    def _changed(self, version: int) -> None:
        """Half of the time the next thing happens before anybody serves the new version."""
        if self._rng.random() < 0.5:  # noqa: PLR2004 - half
            return
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if any(one.version == version for one in self._callers.heard.answered[-200:]):
                return
            time.sleep(0.02)
        raise SystemExit(f"nobody served version {version} within {START_SECONDS:g} s of its promotion")

    def _kill(self, *, everyone: bool = False) -> None:
        parent, count = self._process.pid or 0, self._arguments.workers
        present = sorted(workers_of(parent))
        victims = set(present) if everyone else {int(self._rng.choice(present))}
        self.kills.append(kill(parent, victims, count, self._site.settings.scoring_port, together=everyone))

    def _wait_for(self, requests: int) -> None:
        while self._callers.heard.requests < requests:
            time.sleep(0.01)


def soak(arguments: argparse.Namespace, home: Path) -> tuple[list[Check], dict[str, object]]:
    """The checks, and the figures."""
    site = Site(settings_of(home, free_port(), arguments.workers))
    process = ScoringProcess(site.settings)
    process.start()
    try:
        early = Check("nobody is ready while there is no model", ready_without_model(site.settings.scoring_port))
        site.swap()
        process.supervise()
        process.ready(START_SECONDS)
        all_answer(process.pid or 0, arguments.workers, site.settings.scoring_port)
        began = time.monotonic()
        with shipping(site), Callers(site.settings.scoring_port, arguments.clients, arguments.seed) as callers:
            one = Soak(arguments, site, process, callers)
            one.run()
        took = time.monotonic() - began
    finally:
        process.stop()
    ship_all(site.settings.spool_path, site.resources.tables)
    table = site.resources.tables.open(prediction_table(PROJECT, ENDPOINT)).read()
    bounds = Bounds(arguments.back, arguments.follows)
    found = [early, *check(callers.heard, one.kills, site.reigns, table, bounds)]
    told = figures(callers.heard, one.kills, took) | {"rows_in_table": table.height, "restarts": process.restarts}
    return found, told


def ready_without_model(port: int) -> tuple[str, ...]:
    """What is wrong with the first answer to a probe before there is any model."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        said = probe(port)
        if said is not None:
            return () if said == HTTPStatus.SERVICE_UNAVAILABLE else (f"the probe was answered with {said}",)
        time.sleep(0.05)
    return (f"no probe was answered within {START_SECONDS:g} s",)


@contextmanager
def shipping(site: Site) -> Iterator[None]:
    """What was logged goes to its table meanwhile, as `loopline up` does it."""
    done = threading.Event()

    def ship() -> None:
        while not done.wait(SHIP_SECONDS):
            ship_all(site.settings.spool_path, site.resources.tables)

    thread = threading.Thread(target=ship, name="shipping")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def report(found: list[Check], told: dict[str, object]) -> str:
    """As Markdown."""
    lines = [f"- {name.replace('_', ' ')}: {value}" for name, value in told.items()]
    for one in found:
        lines.append(f"- {'holds' if one.holds else '**DOES NOT HOLD**'}: {one.what}")
        lines += [f"  - {what}" for what in one.found]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("requests", 100_000), ("swaps", 50), ("kills", 20), ("rollbacks", 5), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--back", type=float, default=Bounds.back, help="seconds until all workers answer after a kill")
    parser.add_argument("--follows", type=float, default=Bounds.follows, help="seconds until all workers follow a swap")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as home:
        found, told = soak(arguments, Path(home))
    if arguments.json:
        checks = [{**dataclasses.asdict(one), "holds": one.holds} for one in found]
        print(json.dumps({"figures": told, "checks": checks}, indent=1))
    else:
        print(report(found, told))
    sys.exit(not all(one.holds for one in found))


if __name__ == "__main__":
    main()
