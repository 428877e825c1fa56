"""Every part's tables, joined into the one metadata."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy as sa

import loopline
from loopline.storage.columns import metadata


def joined_metadata() -> sa.MetaData:
    """The metadata with the tables of every `loopline.<part>.store`, and of parts' own parts."""
    for part in _parts(loopline.__path__, "loopline."):
        if find_spec(f"{part}.store"):
            importlib.import_module(f"{part}.store")
    return metadata


def _parts(path: Iterable[str], prefix: str) -> Iterator[str]:
    """Packages, and those one level below; libraries that a deeper one needs may not be there."""
    for part in pkgutil.iter_modules(path, prefix):
        if part.ispkg:
            yield part.name
            below = [str(Path(place) / part.name.rpartition(".")[2]) for place in path]
            yield from (one.name for one in pkgutil.iter_modules(below, f"{part.name}.") if one.ispkg)
