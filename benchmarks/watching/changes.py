"""Part (b): river's annotated series of the real world (the Turing change point data set): which changes that people marked are found.

A series is watched one value a row, by `loopline watch --series` and by ADWIN, each with its defaults.
Counted as people count: a mark is found where a detector fires at most `_MARGIN` of the series after it, and a detection far from each mark is false. No F1:
on these an alarm that always fires beats the detectors.
"""

import ast
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from watching.rounds import Answer, Rounds, files_of

_MARGIN = 0.1
_SERIES = {
    "airline_passengers": "Total Passengers",
    "apple": "Close",
    "bitcoin": "price",
    "brent_crude_oil": "DPB",
    "occupancy": "V4",
    "run_log": "Pace",
    "uk_coal_employment": "Employment",
}


@dataclass(frozen=True)
class Changes:
    """Marks that at least half of the annotators of a series have, how many were found, and detections that are near none."""

    series: str
    contestant: str
    rows: int
    marks: int
    found: int
    false: int


def change_points(rounds: Rounds) -> None:
    """Every series by river's ADWIN and by Loopline; the others look at chunks and are not made for it."""
    where = files_of("river", "river/drift/datasets")
    if where is None:
        rounds.stopped.append("changes: the series come with river, which cannot be installed here")
        return
    for name, column in _SERIES.items():
        with (where / f"{name}.csv").open(newline="") as file:
            values = [float(row[column]) for row in csv.DictReader(file) if row[column] not in {"", "NaN", "nan"}]
        marks = _marks((where / f"{name}.py").read_text())
        for runner in rounds.runners:
            who = runner.contestant.name
            if who in {"loopline", "river"}:
                asked, judged = partial(_asked, rounds.folder, values), partial(_counted, name, who, values, marks)
                rounds.ask(("changes", name), runner, asked, judged, Changes)


def _asked(folder: Path, values: Sequence[float]) -> dict[str, Any]:
    (folder / "series.json").write_text(json.dumps(values))
    return {"mode": "series", "stream": str(folder / "series.json")}


def _marks(source: str) -> list[int]:
    """Places that at least half of the annotators marked, within one hundredth of each other."""
    tree = ast.parse(source)
    given = next(
        ast.literal_eval(keyword.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "annotations"
    )
    everything = sorted({place for places in given.values() for place in places})
    width = max(3, (max(everything, default=0)) // 100)
    agreed = [
        place
        for place in everything
        if sum(any(abs(place - one) <= width for one in places) for places in given.values()) * 2 >= len(given)
    ]
    return [place for before, place in zip([-(10**9), *agreed], agreed, strict=False) if place - before > width]


def _counted(name: str, contestant: str, values: Sequence[float], marks: Sequence[int], answer: Answer) -> Changes:
    rows = [page["row"] for page in answer["pages"]]
    margin = max(10, int(_MARGIN * len(values)))
    found = sum(any(0 <= row - mark <= margin for row in rows) for mark in marks)
    false = sum(not any(0 <= row - mark <= margin for mark in marks) for row in rows)
    return Changes(name, contestant, len(values), len(marks), found, false)
