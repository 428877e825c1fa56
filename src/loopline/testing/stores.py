"""Every part's tables, joined into the one metadata."""

import importlib
import pkgutil
from importlib.util import find_spec

import sqlalchemy as sa

import loopline
from loopline.storage.columns import metadata


def joined_metadata() -> sa.MetaData:
    """The metadata with the tables of every `loopline.<part>.store`."""
    for part in pkgutil.iter_modules(loopline.__path__, "loopline."):
        if part.ispkg and find_spec(f"{part.name}.store"):
            importlib.import_module(f"{part.name}.store")
    return metadata
