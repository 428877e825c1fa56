"""Seconds and memory for the drift of many rows of 25 columns against a reference of 100,000: nobody is asked for more than that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from watching.rounds import Runner

_REFERENCE = 100_000
_PART = 500_000
_NUMBERS, _TEXTS = 18, 7


@dataclass(frozen=True)
class Size:
    """`seconds` and processor time `cpu` within the program, imports left out; the largest `memory_mb` of its process."""

    contestant: str
    rows: int
    seconds: float
    cpu: float
    memory_mb: float


def sizes(runners: Sequence[Runner], most: int, folder: Path, say: Callable[[str], None]) -> list[Size]:
    """A million rows by everybody who can, then the most by who is left."""
    found = []
    for rows in sorted({1_000_000, most}):
        where = folder / "size.parquet"
        names, texts = _write(where, rows + _REFERENCE)
        for runner in runners:
            count = min(rows, runner.contestant.most_rows)
            if runner.cannot or (count < rows and rows > 1_000_000):
                continue
            if runner.contestant.name == "river":
                pl.scan_parquet(where).head(count + _REFERENCE).select(names).sink_csv(where.with_suffix(".csv"))
                count = count + _REFERENCE
            say(f"size {count:,} {runner.contestant.title}")
            end = _REFERENCE + count
            task = {
                "mode": "size",
                "stream": str(where),
                "reference": _REFERENCE,
                "ends": [end],
                "numbers": names,
                "categories": texts,
                "at_once": 250_000,
            }
            answer = runner.run(task, folder, 1200)
            if answer is not None:
                found.append(Size(runner.contestant.name, count, answer["seconds"], answer["cpu"], answer["memory_mb"]))
    return found


def _write(where: Path, rows: int) -> tuple[list[str], list[str]]:
    names = [f"number_{place}" for place in range(_NUMBERS)]
    texts = [f"text_{place}" for place in range(_TEXTS)]
    parts = []
    for number, begin in enumerate(range(0, rows, _PART)):
        rng = np.random.default_rng([5, number])
        count = min(_PART, rows - begin)
        frame = pl.DataFrame(
            {name: rng.gamma(2 + place, 1, count) for place, name in enumerate(names)}
            | {name: rng.choice(np.array(list("abcdefghijkl")), count) for name in texts}
        )
        parts.append(where.with_name(f"size-{number:03}.parquet"))
        frame.write_parquet(parts[-1], row_group_size=250_000)
    pl.scan_parquet(parts).sink_parquet(where, row_group_size=250_000)
    for part in parts:
        part.unlink()
    return names, texts
