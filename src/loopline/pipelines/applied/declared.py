"""What a pipeline file declares: its pipelines, what fires them, and its code, kept as an artifact."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from loopline.errors import DeclarationError, InvalidInput, LooplineError
from loopline.pipelines.code import keep_files, own_files
from loopline.pipelines.declare import Pipeline, Step
from loopline.pipelines.load import pipeline_file, pipelines_in
from loopline.pipelines.own_code import file_of, is_installed, located
from loopline.pipelines.params import given_params
from loopline.pipelines.planning import plan
from loopline.pipelines.schedules.cron import Cron
from loopline.pipelines.schedules.interval import Interval
from loopline.pipelines.schedules.triggers import OnAlarm, OnTable, OnWebhook
from loopline.pipelines.schedules.when import When
from loopline.storage.artifacts import ArtifactStore
from loopline.values import Window, canonical_json, digest

_HOUR = timedelta(hours=1)
_SHORT = 23


@dataclass(frozen=True)
class Declared:
    """A pipeline file as it would be put in force: `file` is the name its module is imported by, `code` the digest of its pinned code,
    `declaration` plain data that says all of it.
    """

    file: str
    code: str
    declaration: dict[str, Any]
    schedules: Mapping[str, tuple[When, ...]]


def declared(path: str | Path, artifacts: ArtifactStore, *, at: datetime) -> Declared:
    """Read a pipeline file. Each schedule is tried: the pipeline is traced for its next window and its params. The code is durable on return.

    Raises `NotFound` "pipeline.file_not_found", `DeclarationError` for mistakes in the file, and `InvalidInput` for params that a
    schedule does not have or a pipeline does not take.
    """
    file = pipeline_file(path)
    pipelines = {one.name: one for one in _named_once(pipelines_in(file), file)}
    functions = [function for one in pipelines.values() for function in _tried(one, artifacts, at)]
    modules = _modules(sys.modules[located(file)[1]])
    files = own_files([*modules, *functions])
    declaration = {
        "pipelines": {name: _described(one) for name, one in pipelines.items()},
        "code": {name: digest(content)[:_SHORT] for name, content in sorted(files.items())},
    }
    schedules = {name: one.schedules for name, one in pipelines.items()}
    return Declared(
        located(file)[1], keep_files(files, artifacts), msgspec.json.decode(canonical_json(declaration)), schedules
    )


def _named_once(found: list[Pipeline], file: Path) -> list[Pipeline]:
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not found:
        said = f"two pipelines are called {twice[0]}" if twice else "it declares no pipeline"
        raise DeclarationError(
            "pipeline.names", said, file=str(file), line=1, remedy="Declare pipelines, each with a name of its own."
        )
    return found


def _described(one: Pipeline) -> dict[str, Any]:
    schedules = {}
    for when in one.schedules:
        params = ", ".join(f"{name}={value}" for name, value in sorted(when.params.items()))
        schedules[when.sentence + (f" with {params}" if params else "")] = when
    said: dict[str, Any] = {"function": one.key, "takes": str(inspect.signature(one.function)), "schedules": schedules}
    return said | {"limits": one.limits, "priority": one.priority}


def _tried(one: Pipeline, artifacts: ArtifactStore, at: datetime) -> Iterator[Callable[..., Any]]:
    """The functions of its steps, as far as its schedules tell."""
    for when in one.schedules:
        try:
            planned = plan(one, given_params(one, _params(when), _window(when, at)), artifacts)
        except DeclarationError:
            raise
        except LooplineError as error:
            raise InvalidInput(
                "pipeline.schedule_unfit",
                f"{one.name} cannot be executed by its schedule {when.sentence}: {error.message}",
                remedy=f"Give the schedule params={{...}}; {error.remedy}",
            ) from error
        except Exception as error:  # whatever the user's code raises is a mistake in the file
            raise _failed(one, error) from error
        if planned.code is None:
            raise InvalidInput(
                "pipeline.not_pinned",
                f"a step of {one.name} stands in no file that could be kept",
                remedy="Put the steps at the top level of a Python file.",
            )
        yield from planned.functions.values()


def _params(when: When) -> dict[str, Any]:
    """Params as the schedule would give them; what a message will say is not known yet."""
    return when.given({}) if isinstance(when, (OnAlarm, OnWebhook)) else when.params


def _failed(one: Pipeline, error: Exception) -> DeclarationError:
    line = inspect.getsourcelines(one.function)[1]
    return DeclarationError(
        "pipeline.body_failed",
        f"the body of {one.name} fails: {type(error).__name__}: {error}",
        file=str(file_of(one)),
        line=line,
        remedy="The body only calls steps; let those do the work.",
    )


def _window(when: When, at: datetime) -> Window | None:
    """A window such as its next tick will have."""
    if isinstance(when, Cron | Interval):
        fires = list(islice(when.after(at), 2))
        return Window(fires[0] - (fires[1] - fires[0]), fires[0]) if len(fires) > 1 else None
    return Window(at - _HOUR, at) if isinstance(when, OnTable) else None


def _modules(first: ModuleType) -> list[ModuleType]:
    """The module and every one of the user's own that it names, or whose functions, classes, steps or pipelines it names."""
    found, waiting = {first.__name__: first}, [first]
    while waiting:
        for value in list(vars(waiting.pop()).values()):
            module = _module_of(value)
            file = file_of(module) if module is not None else None
            if module is not None and file is not None and not is_installed(file) and module.__name__ not in found:
                found[module.__name__] = module
                waiting.append(module)
    return list(found.values())


def _module_of(value: Any) -> ModuleType | None:
    if isinstance(value, ModuleType):
        return value
    inner = value.function if isinstance(value, Step | Pipeline) else value
    name = getattr(inner, "__module__", None) if callable(inner) else None
    return sys.modules.get(name) if isinstance(name, str) else None
