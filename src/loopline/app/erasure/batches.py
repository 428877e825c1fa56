"""A person in the rows that a batch has taken in and not yet scored to the end: the batch is thrown away, and begun anew by whoever asks."""

from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from loopline.access.erasure import Eraser, Removed, Target
from loopline.loop.batch import discard, folder_of
from loopline.loop.resources import Resources
from loopline.scoring.batch.job import JobFolder


def eraser(resources: Resources) -> Eraser:
    """Throws batches away that hold rows of the person. What they have written into tables, which shows in no version, goes too."""

    def sweep(target: Target, *, dry: bool) -> Collection[Removed]:
        return list(_sweep(resources, target, dry=dry))

    return Eraser("batches", sweep)


def _sweep(resources: Resources, target: Target, *, dry: bool) -> Iterator[Removed]:
    root = folder_of(resources)
    for path in sorted(root.glob("*")) if root.is_dir() else ():
        if not path.is_dir():
            continue
        folder = JobFolder(path)
        count = sum(_theirs(part, target) for part in sorted(path.rglob("*.parquet")))
        if count:
            if not dry:
                discard(resources, folder)
            yield Removed(f"batch {path.name}", "rows waiting to be scored", count, note="it has to be begun again")


def _theirs(path: Path, target: Target) -> int:
    """Rows that have one of the person's keys, or a text that names the person."""
    try:
        rows = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError):
        return 1  # half written: nobody can tell
    texts = [rows[name] for name, dtype in rows.schema.items() if dtype == pl.String]
    hits = [text.is_in([*target.keys, target.person.value]).fill_null(value=False) for text in texts]
    if target.needles.texts:
        hits += [text.str.contains_any(list(target.needles.texts)).fill_null(value=False) for text in texts]
    return int(pl.DataFrame(_numbered(hits)).select(pl.any_horizontal(pl.all())).to_series().sum()) if hits else 0


def _numbered(hits: list[pl.Series]) -> list[pl.Series]:
    return [hit.alias(str(place)) for place, hit in enumerate(hits)]
