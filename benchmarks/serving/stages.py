"""Where the time of ours goes: its path driven in process, stage by stage."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.contestants import APPS, OURS, Place
from serving.model import asked
from serving.rounds import SIZES, Plan
from serving.running import THREADS, Failed, Running, free_port

ALL, KERNEL = (
    "all in the process",
    "sockets, event loop, shipping to the table (all that the server used at c=32, less the above)",
)


def stages(plan: Plan, results: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Microseconds of processor time a request, by stage, by size; `results` tell what all of it takes."""
    own = plan.folder / "stages"
    own.mkdir()
    place = Place(Path(sys.executable), plan.folder, own, free_port())
    with Running([*plan.pinned(0), *OURS.command(place)], own, place.port, {}, favoured=plan.favoured) as server:
        told = server.told()
        bodies = {rows: OURS.forms["JSON"](server, asked(plan.folder, rows)).body for rows in SIZES}
    cells = next((one["cells"] for one in results if one["name"] == OURS.name), {})
    return {f"{rows} rows": _one(plan, own, told["token"], rows, body, cells) for rows, body in bodies.items()}


def _one(plan: Plan, own: Path, token: str, rows: int, body: bytes, cells: dict[str, Any]) -> dict[str, float]:
    (own / "body").write_bytes(body)
    home = own / "home" / "serve" / "model"
    script = [
        sys.executable,
        str(APPS / "our_stages.py"),
        str(home),
        token,
        str(own / "body"),
        str(own / f"spool-{rows}"),
    ]
    done = subprocess.run(
        [*plan.pinned(0), *script], capture_output=True, text=True, env={**os.environ, **THREADS}, check=False
    )
    if done.returncode:
        raise Failed(f"the stages cannot be measured: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    measured = cells.get(f"JSON/{rows}/32")
    return {**found, **({KERNEL: measured["cpu_us"] - found[ALL]} if measured else {})}
