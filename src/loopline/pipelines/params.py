"""The params of an execution: read from text, checked against the pipeline, kept as JSON; the window among them apart."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from loopline.errors import InvalidInput
from loopline.pipelines.accepts import name_of
from loopline.pipelines.declare import Pipeline
from loopline.pipelines.trace import check_params
from loopline.values import Window

_RANGE = re.compile(r"(.+?)\.\.(.+)")
_STRUCTURED = ("{", "[", '"')


def read_params(pipeline: Pipeline, texts: Mapping[str, str], window: Window | None = None) -> dict[str, Any]:
    """The params of a pipeline from texts, as its annotations say, with its defaults. `window` goes where a Window is taken.

    Raises `InvalidInput` "pipeline.params", "pipeline.param_unreadable" and "pipeline.no_window".
    """
    found = {name: _read(pipeline, name, text) for name, text in texts.items()}
    name = window_param(pipeline)
    if window is not None:
        if name is None:
            raise InvalidInput(
                "pipeline.no_window",
                f"{pipeline.name} takes no window",
                remedy="Annotate one of its parameters with ll.Window.",
            )
        found[name] = window
    return check_params(pipeline.name, pipeline.signature, found)


def given_params(pipeline: Pipeline, plain: Mapping[str, Any], window: Window | None = None) -> dict[str, Any]:
    """The params of a pipeline from plain data, as its annotations say, with its defaults. `window` goes where a Window is taken, if one is.

    Raises `InvalidInput` "pipeline.params" and "pipeline.param_unreadable".
    """
    found = {name: _converted(pipeline, name, value) for name, value in plain.items()}
    name = window_param(pipeline)
    if window is not None and name is not None:
        found.setdefault(name, window)
    return check_params(pipeline.name, pipeline.signature, found)


def window_param(pipeline: Pipeline) -> str | None:
    """The parameter that takes a Window, or a Window or nothing."""
    return next((name for name, hint in pipeline.hints.items() if _takes_window(hint) and name != "return"), None)


def _takes_window(hint: Any) -> bool:
    return hint is Window or (get_origin(hint) in {Union, UnionType} and Window in get_args(hint))


def window_in(pipeline: Pipeline, params: Mapping[str, Any]) -> Window | None:
    """The window among the params."""
    name = window_param(pipeline)
    found = params.get(name) if name is not None else None
    return found if isinstance(found, Window) else None


def read_window(text: str) -> Window:
    """A window as `2026-01-01..2026-01-02`, times in UTC. Raises `InvalidInput` "window.unreadable"."""
    found = _RANGE.fullmatch(text)
    if found is None:
        raise InvalidInput(
            "window.unreadable", f"{text!r} is no window", remedy="Write START..END, e.g. 2026-01-01..2026-01-02."
        )
    return Window(read_moment(found[1]), read_moment(found[2]))


def read_moment(text: str) -> datetime:
    """A date or time; without a zone it is UTC. Raises `InvalidInput` "time.unreadable"."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            "time.unreadable", f"{text!r} is no time", remedy="Write e.g. 2026-01-01 or 2026-01-01T06:00Z."
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def kept_params(pipeline: str, params: Mapping[str, Any]) -> str:
    """The params as canonical JSON. Raises `InvalidInput` "pipeline.param_kind" for one that is no plain data."""
    try:
        return msgspec.json.encode(dict(params), order="deterministic").decode()
    except TypeError as error:
        raise InvalidInput(
            "pipeline.param_kind",
            f"a param of {pipeline} is no plain data: {error}",
            remedy="Give text, numbers, times, windows, dataclasses, lists or dicts; let a step read the rest.",
        ) from error


def _read(pipeline: Pipeline, name: str, text: str) -> Any:
    wanted = pipeline.hints.get(name, Any)
    if wanted is Window:
        return read_window(text)
    plain: Any = text
    if text.startswith(_STRUCTURED) or wanted is Any:
        try:
            plain = msgspec.json.decode(text)
        except msgspec.DecodeError:
            plain = text
    return _converted(pipeline, name, plain, strict=False)


def _converted(pipeline: Pipeline, name: str, plain: Any, *, strict: bool = True) -> Any:
    wanted = pipeline.hints.get(name, Any)
    try:
        return msgspec.convert(plain, wanted, strict=strict)
    except (msgspec.ValidationError, TypeError) as error:
        raise InvalidInput(
            "pipeline.param_unreadable",
            f"{name}={plain} is no {name_of(wanted)} for {pipeline.name}: {error}",
            remedy="Write it as JSON, or plainly for text and numbers.",
        ) from error
