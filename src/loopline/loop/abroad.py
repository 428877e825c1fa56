"""A model's function in another process: which code goes along, and how it is found there."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import structlog

from loopline.executors.crew import Crew
from loopline.loop.model import Model
from loopline.pipelines.code import keep_files, named, own_files
from loopline.pipelines.own_code import file_of, key_of
from loopline.training.fit import FitFunction

log = structlog.get_logger(__name__)


class Abroad(msgspec.Struct, frozen=True):
    """The digest of the pinned code, and `module:qualname` of the function in it."""

    code: str
    key: str


def abroad(crew: Crew | None, model: Model, params: Mapping[str, Any]) -> Abroad | None:
    """What another process needs to fit the model with `params`; None where it has to be done in this one: without a crew, or
    with a function or parameters that only this process has.
    """
    if crew is None:
        return None
    files = pinned(model.fit)
    if files is None or not _goes_along(params):
        log.warning(
            "fitted_in_process",
            model=model.name,
            why="another process cannot import its function, or parameters are no plain data",
        )
        return None
    return Abroad(
        keep_files(files, crew.transit), key_of(model.fit, f"{model.fit.__module__}:{model.fit.__qualname__}")
    )


@lru_cache(maxsize=64)
def pinned(function: FitFunction) -> dict[str, bytes] | None:
    """The user's own files that the function belongs to, as they are when this is asked first: what is edited since is not used."""
    name = getattr(function, "__qualname__", "<locals>")
    if "<" in name or file_of(function) is None:
        return None
    return own_files([function])


def fit_function(key: str) -> FitFunction:
    """The function, in the process that imports the pinned code."""
    found = named(key)
    function: FitFunction = found.fit if isinstance(found, Model) else found
    return function


def _goes_along(params: Mapping[str, Any]) -> bool:
    """Whether they are the same after a journey as JSON: tuples would be lists."""
    try:
        return bool(msgspec.json.decode(msgspec.json.encode(params)) == dict(params))
    except (TypeError, ValueError, OverflowError):
        return False
