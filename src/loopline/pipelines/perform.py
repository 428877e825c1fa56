"""One attempt at a step, wherever it runs: decode the arguments, call the function, encode what it gives."""

import inspect
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from loopline.errors import BadRows, InvalidInput, NotFound
from loopline.pipelines.arguments import values_in, values_of
from loopline.pipelines.codecs import (
    SMALL,
    Several,
    Value,
    artifacts_of,
    bring,
    content_of,
    hints_of,
    keep,
    kept_parts,
    types_in,
)
from loopline.pipelines.failure import Failure, SetAside
from loopline.pipelines.graph import Binding
from loopline.pipelines.healing.bad_rows import set_aside
from loopline.storage.artifacts import ArtifactStore


class Performed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of an attempt: a result that is durable, or a failure; and how many seconds it took."""

    result: Value | None = None
    failure: Failure | None = None
    seconds: float = 0.0


def perform(function: Callable[..., Any], arguments: Mapping[str, Binding], artifacts: ArtifactStore) -> Performed:
    """Run a step's function on its arguments. Whatever it raises becomes the failure, an exit too; only Ctrl-C passes."""
    begun = time.perf_counter()
    values: dict[str, Any] = {}
    try:
        hints, positional = _known(function)
        values = values_of(arguments, hints, artifacts)
        first = [values[name] for name in positional if name in values]
        named = {name: value for name, value in values.items() if name not in positional}
        result = _checked(function, function(*first, **named), hints, artifacts)
    except KeyboardInterrupt:
        raise
    except NotFound as error:
        return Performed(failure=_missing(error, arguments, artifacts), seconds=time.perf_counter() - begun)
    except BadRows as error:
        return Performed(failure=_with_bad_rows(error, values, artifacts), seconds=time.perf_counter() - begun)
    except BaseException as error:
        return Performed(failure=Failure.of(error), seconds=time.perf_counter() - begun)
    return Performed(result, seconds=time.perf_counter() - begun)


@lru_cache(maxsize=1024)
def _known(function: Callable[..., Any]) -> tuple[dict[str, Any], list[str]]:
    parameters = inspect.signature(function).parameters.values()
    return hints_of(function), [one.name for one in parameters if one.kind is inspect.Parameter.POSITIONAL_ONLY]


def _checked(function: Callable[..., Any], returned: Any, hints: Mapping[str, Any], artifacts: ArtifactStore) -> Value:
    """Encoded; a small one is read back, so that a result that is not what the step says is told where it was made."""
    wanted = hints.get("return")
    kinds = (Any,) * len(returned) if isinstance(returned, Several) else types_in(wanted)
    if kinds is None:
        return _checked_one(function, returned, wanted, artifacts)
    if not isinstance(returned, tuple) or len(returned) != len(kinds):
        said = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else type(returned).__name__
        raise InvalidInput(
            "step.result",
            f"`{_name(function)}` returned {said}, and says that it returns {len(kinds)} values",
            remedy="Return what the annotation says, or change it.",
        )
    return kept_parts([_checked_one(function, one, kind, artifacts) for one, kind in zip(returned, kinds, strict=True)])


def _checked_one(function: Callable[..., Any], returned: Any, wanted: Any, artifacts: ArtifactStore) -> Value:
    result = keep(returned, artifacts)
    if wanted is not None and type(returned) is not wanted and result.size <= SMALL and result.codec == "json":
        try:
            bring(result, wanted, artifacts)
        except InvalidInput as error:
            raise InvalidInput(
                "step.result",
                f"`{_name(function)}` returned {type(returned).__name__}, which is not what it says it returns: {error.message}",
                remedy="Return what the annotation says, or change it.",
            ) from error
    return result


def _with_bad_rows(error: BadRows, values: Mapping[str, Any], artifacts: ArtifactStore) -> Failure:
    """The failure with what the step could go on with; the bad rows are kept, too."""
    try:
        good, bad = set_aside(values.get(error.parameter), error)
    except InvalidInput as problem:
        return msgspec.structs.replace(Failure.of(error), set_aside=problem.message)
    kept = artifacts.put(content_of(keep(bad, artifacts), artifacts))
    found = SetAside(error.parameter, keep(good, artifacts), kept, len(error.rows))
    return msgspec.structs.replace(Failure.of(error), set_aside=found)


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", function))


def _missing(error: NotFound, arguments: Mapping[str, Binding], artifacts: ArtifactStore) -> Failure:
    if error.code != "artifact.not_found":
        return Failure.of(error)
    gone: list[str] = []
    for binding in arguments.values():
        for value in values_in(binding):
            gone += [name for name in artifacts_of(value, artifacts) if not artifacts.exists(name)]
    return msgspec.structs.replace(Failure.of(error), missing=tuple(dict.fromkeys(gone)))
