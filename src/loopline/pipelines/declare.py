"""`step` and `pipeline`: what a user writes. Outside of a pipeline both are the plain functions they were."""

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, overload

from loopline.errors import InvalidInput
from loopline.pipelines.codecs import hints_of
from loopline.pipelines.graph import Defaults, Graph, Options
from loopline.pipelines.healing.classes import check_own
from loopline.pipelines.healing.remedies import When, of_heal
from loopline.pipelines.limits import Limit, Terms, read_limits
from loopline.pipelines.own_code import key_of
from loopline.pipelines.retries import Retries
from loopline.pipelines.schedules.when import When as Fires
from loopline.pipelines.schedules.when import of_pipeline
from loopline.pipelines.trace import Output, Tracer, trace, tracer
from loopline.values import duration

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?i?B)")
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

Function = Callable[..., Any]


class Step:
    """A function that a pipeline can call. Called outside of a pipeline it just runs.

    `when` takes part in no call of the function: it says whether the step runs at all; else it is skipped, and gives None.
    """

    def __init__(self, function: Function, options: Options) -> None:
        functools.update_wrapper(self, function)
        self.function, self.options, self.name = function, options, function.__name__
        self.signature = inspect.signature(function)
        self.key = key_of(function, f"{function.__module__}:{function.__qualname__}")

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The annotations of the function, `return` among them."""
        return hints_of(self.function)

    def __call__(self, *args: Any, when: Any = True, **kwargs: Any) -> Any:
        """Run it, or within a pipeline add it to the graph and return a handle on its output."""
        at_work = tracer()
        if at_work is not None:
            return at_work.add(self, args, kwargs, when)
        return self.function(*args, **kwargs) if when else None

    def each(self, *args: Any, when: Any = True, **kwargs: Any) -> Any:
        """Once for each element of the lists that are given by position, taken together; what is given by name goes to each of them.

        The result is the list of results. Outside of a pipeline it is that list at once.
        """
        at_work = tracer()
        if at_work is not None:
            return at_work.add(self, args, kwargs, when, each=True)
        return [self.function(*parts, **kwargs) for parts in zip(*args, strict=True)] if when else None


class Pipeline:
    """A function whose steps can be traced into a graph. Called outside of a pipeline it just runs, with all its steps."""

    def __init__(
        self,
        function: Function,
        name: str | None,
        limits: list[Limit],
        priority: int,
        defaults: Defaults,
        schedules: tuple[Fires, ...] = (),
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.name = function, name or function.__name__
        self.limits, self.priority, self.defaults, self.schedules = limits, priority, defaults, schedules
        self.signature = inspect.signature(function)
        self.key = key_of(function, f"{function.__module__}:{function.__qualname__}")

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The annotations of the function."""
        return hints_of(self.function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it plainly; within another pipeline its steps become that one's, named after it."""
        at_work = tracer()
        if at_work is None:
            return self.function(*args, **kwargs)
        with at_work.inside(self.name, self.defaults):
            return self.function(*args, **kwargs)

    def trace(self, tracing: Tracer, **params: Any) -> Graph:
        """The graph for these params. Raises `DeclarationError` for steps that do not fit together."""
        return trace(tracing, self.name, lambda: self.function(**params), self.defaults)


class _Steps(Protocol):
    """How `step` is called, for type checkers."""

    @overload
    def __call__(self, function: Function, /) -> Step: ...
    @overload
    def __call__(
        self,
        *,
        retries: int | Retries = 0,
        timeout: str | timedelta | None = None,
        cores: float = 1,
        memory: str | int | None = None,
        reuse: bool = True,
        priority: int = 0,
        limit: str | None = None,
        hints: Mapping[str, Any] | None = None,
        heal: When | Sequence[When] | None = None,
    ) -> Callable[[Function], Step]: ...


class _Pipelines(Protocol):
    """How `pipeline` is called, for type checkers."""

    @overload
    def __call__(self, function: Function, /) -> Pipeline: ...
    @overload
    def __call__(
        self,
        *,
        name: str | None = None,
        schedule: Fires | Sequence[Fires] | None = None,
        limits: Mapping[str, Terms] | None = None,
        priority: int = 0,
        heal: When | Sequence[When] | None = None,
        owner: str = "",
        classes: Mapping[str, str] | None = None,
    ) -> Callable[[Function], Pipeline]: ...


def make_step(
    function: Function | None = None,
    /,
    *,
    retries: int | Retries = 0,
    timeout: str | timedelta | None = None,
    cores: float = 1,
    memory: str | int | None = None,
    reuse: bool = True,
    priority: int = 0,
    limit: str | None = None,
    hints: Mapping[str, Any] | None = None,
    heal: When | Sequence[When] | None = None,
) -> Any:
    """Make a function a step: `@step` alone, or with options. Gives a `Step`.

    `retries` is a count or `Retries`; after `timeout` ("10m") the process is killed; `cores` and `memory` ("2GB") are what a worker
    sets aside for it, and more memory is not given; with `reuse` an earlier result of the same code, params and inputs is taken;
    a higher `priority` goes first; `limit` names a limit of the pipeline or of LOOPLINE_LIMITS; `hints` go to the executor as they are;
    `heal` is tried against errors, and the pipeline's where it says nothing.
    Raises `InvalidInput` "step.memory", "step.cores", and as `of_heal`.
    """
    options = step_options(
        retries=retries,
        timeout=timeout,
        cores=cores,
        memory=memory,
        reuse=reuse,
        priority=priority,
        limit=limit,
        hints=hints,
        heal=heal,
    )
    return Step(function, options) if function is not None else lambda given: Step(given, options)


def step_options(
    *,
    retries: int | Retries = 0,
    timeout: str | timedelta | None = None,
    cores: float = 1,
    memory: str | int | None = None,
    reuse: bool = True,
    priority: int = 0,
    limit: str | None = None,
    hints: Mapping[str, Any] | None = None,
    heal: When | Sequence[When] | None = None,
) -> Options:
    """The options of a step, as `make_step` takes them."""
    if cores <= 0:
        raise InvalidInput("step.cores", f"a step cannot take {cores} cores", remedy="Give a number above 0.")
    return Options(
        Retries.of(retries),
        None if timeout is None else duration(timeout).total_seconds(),
        float(cores),
        memory_in_bytes(memory),
        reuse,
        priority,
        limit,
        dict(hints or {}),
        None if heal is None else of_heal(heal),
    )


def make_pipeline(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    schedule: Fires | Sequence[Fires] | None = None,
    limits: Mapping[str, Terms] | None = None,
    priority: int = 0,
    heal: When | Sequence[When] | None = None,
    owner: str = "",
    classes: Mapping[str, str] | None = None,
) -> Any:
    """Make a function a pipeline, whose steps become a graph: `@pipeline` alone, or with options. Gives a `Pipeline`.

    It is called `name`, or as the function. `schedule` is what fires it once it is in force (`loopline pipelines apply`): `cron`, `interval`,
    `on_table`, `on_alarm`, `on_webhook`, one or several. `limits` are named limits its steps share with all others that name them: `{"api": 4}` at once,
    `{"mail": "10/1m"}` started in a minute. A higher `priority` goes before other executions.
    `heal` is tried against errors of its steps that say nothing themselves; `owner` is told of those that fail; `classes` says of names of
    exceptions or codes which class they are. Raises `InvalidInput` "schedule.not_a_schedule", and as `of_heal` and `check_own`.
    """
    defaults = Defaults(None if heal is None else of_heal(heal), owner, dict(check_own(classes or {})))
    read, fired_by = read_limits(limits or {}), of_pipeline(schedule)
    if function is not None:
        return Pipeline(function, name, read, priority, defaults, fired_by)
    return lambda given: Pipeline(given, name, read, priority, defaults, fired_by)


def memory_in_bytes(given: str | int | None) -> int:
    """Bytes of a size such as "2GB"; 0 for None, which means any. Raises `InvalidInput` "step.memory"."""
    if given is None or isinstance(given, int):
        return given or 0
    found = _SIZE.fullmatch(given)
    if found is None or found[2] not in _UNITS:
        raise InvalidInput(
            "step.memory", f"{given!r} is no size of memory", remedy='Write e.g. "500MB", "2GB" or "2GiB".'
        )
    return round(float(found[1]) * _UNITS[found[2]])


step: _Steps = make_step
pipeline: _Pipelines = make_pipeline

__all__ = [
    "Output",
    "Pipeline",
    "Step",
    "make_pipeline",
    "make_step",
    "memory_in_bytes",
    "pipeline",
    "step",
    "step_options",
]
