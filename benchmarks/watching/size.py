"""Seconds and memory for the drift of many rows of 25 columns against a reference of 100,000: nobody is asked for more than that."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from watching.rounds import Answer, Rounds

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


def sizes(rounds: Rounds) -> None:
    """A million rows by everybody, or as many as who is slow can; more by who can take them."""
    for rows in rounds.plan.size_rows:
        for runner in rounds.runners:
            one = runner.contestant
            count = min(rows, one.most_rows)
            if count == rows or rows == min(rounds.plan.size_rows):
                asked = partial(_asked, rounds.folder, rows, count, csv=one.name == "river")
                rounds.ask(("size", f"{count:,}"), runner, asked, partial(_judged, one.name, count), Size)


def _judged(contestant: str, rows: int, answer: Answer) -> Size:
    return Size(contestant, rows, answer["seconds"], answer["cpu"], answer["memory_mb"])


def _asked(folder: Path, rows: int, count: int, *, csv: bool) -> dict[str, Any]:
    where = folder / f"size-{rows}.parquet"
    names = [f"number_{place}" for place in range(_NUMBERS)]
    texts = [f"text_{place}" for place in range(_TEXTS)]
    if not where.exists():
        _write(where, rows + _REFERENCE, names, texts)
    end = _REFERENCE + count
    if csv:
        pl.scan_parquet(where).head(end).select(names).sink_csv(where.with_suffix(".csv"))
    return {
        "mode": "size", "stream": str(where), "reference": _REFERENCE, "ends": [end], "numbers": names, "categories": texts,
    }  # fmt: skip


def _write(where: Path, rows: int, names: Sequence[str], texts: Sequence[str]) -> None:
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
