"""Tracing: the body of a pipeline is run once with handles in place of values, and leaves its graph."""

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from types import GenericAlias
from typing import Any, NoReturn, Protocol

import msgspec

from loopline.errors import DeclarationError, InvalidInput
from loopline.pipelines.accepts import accepts, element_of, name_of, takes_none
from loopline.pipelines.codecs import has_codec, keep, types_in
from loopline.pipelines.fall_back import found
from loopline.pipelines.fingerprint import Fingerprints
from loopline.pipelines.graph import Binding, Constant, Defaults, FromStep, Graph, ListOf, NamedOf, Node, Options, Part
from loopline.pipelines.healing.remedies import FallBack, Remedy
from loopline.storage.artifacts import ArtifactStore

_OURS = str(Path(__file__).parent)


class Traceable(Protocol):
    """What tracing needs of a step."""

    function: Callable[..., Any]
    name: str
    options: Options
    signature: inspect.Signature
    key: str

    @property
    def hints(self) -> dict[str, Any]:
        """The annotations of its function."""


class Output:
    """A handle on what a step will give. It has no value yet: pass it to other steps, or return it."""

    def __init__(self, number: int, kind: Any, made: str, place: int | None = None) -> None:
        self.number, self.kind, self.made, self.place = number, kind, made, place

    @property
    def binding(self) -> Binding:
        """Where what takes it finds its value."""
        return FromStep(self.number) if self.place is None else Part(self.number, self.place)

    def __repr__(self) -> str:
        return f"Output({self.made})"

    def __bool__(self) -> bool:  # noqa: PLE0304 - it always raises
        self._refuse("has no value yet that an `if` could ask", "Give the step that depends on it `when=`.")

    def __iter__(self) -> Iterator[Any]:
        kinds = None if self.place is not None else types_in(self.kind)
        if kinds is None:
            self._refuse(
                "has no elements yet",
                "Use `.each` of the step that shall run for each; several values are annotated `-> tuple[A, B]`.",
            )
        return iter([Output(self.number, kind, self.made, place) for place, kind in enumerate(kinds)])

    def __len__(self) -> int:  # noqa: PLE0303 - it always raises
        self._refuse("has no length yet", "Compute it in a step.")

    def __getitem__(self, _: object) -> Any:
        self._refuse("has no elements yet", "Pick the element in a step.")

    def _refuse(self, what: str, remedy: str) -> NoReturn:
        file, line = _caller()
        raise DeclarationError(
            "pipeline.no_value_yet", f"the output of {self.made} {what}", file=file, line=line, remedy=remedy
        )


class Tracer:
    """Collects the steps that a pipeline's body calls. Constants are kept as values, so durable in `artifacts` where they are large."""

    def __init__(self, artifacts: ArtifactStore, fingerprints: Fingerprints | None = None) -> None:
        self.artifacts, self.fingerprints = artifacts, fingerprints or Fingerprints(artifacts)
        self.nodes: list[Node] = []
        self.functions: dict[str, Callable[..., Any]] = {}
        self._names: Counter[str] = Counter()
        self._prefix, self._defaults = "", Defaults()

    @contextmanager
    def inside(self, name: str, defaults: Defaults) -> Iterator[None]:
        """What is added within is a part of the sub-pipeline `name`, or of the pipeline itself where that is empty."""
        before = self._prefix, self._defaults
        self._prefix = self._unused(f"{before[0]}{name}") + "/" if name else ""
        self._defaults = defaults.within(before[1])
        try:
            yield
        finally:
            self._prefix, self._defaults = before

    def add(self, step: Traceable, args: Any, kwargs: Mapping[str, Any], when: Any, *, each: bool = False) -> Output:
        """Add a call. Raises `DeclarationError` for arguments that do not fit."""
        file, line = _caller()
        where = _Place(file, line, step)
        given = where.bound(args, kwargs)
        mapped = tuple(_first(given, len(args))) if each else ()
        if each and not mapped:
            where.refuse(
                "pipeline.each",
                "`.each` was given nothing by position",
                "Give the lists by position, the rest by name.",
            )
        for name, argument in given.items():
            where.check(name, argument, each=name in mapped)
        condition = None if when is True else self._binding(where.condition(when))
        optional = frozenset(name for name in given if name not in mapped and takes_none(step.hints.get(name, Any)))
        node = Node(
            len(self.nodes),
            self._unused(self._prefix + step.name),
            step.key,
            self.fingerprints.of(step.function),
            self._options(step, where, given),
            {name: self._binding(argument) for name, argument in given.items()},
            mapped,
            condition,
            optional,
            f"{file}:{line}",
        )
        self.nodes.append(node)
        self.functions[step.key] = step.function
        result = step.hints.get("return", Any)
        return Output(node.number, GenericAlias(list, (result,)) if each else result, where.name)

    def _options(self, step: Traceable, where: "_Place", given: Mapping[str, Any]) -> Options:
        """The step's own, and what the pipeline says of healing; the functions to fall back to are known by their keys then."""
        defaults = self._defaults
        heal = defaults.heal if step.options.heal is None else step.options.heal
        if not (heal or defaults.owner or defaults.classes):
            return step.options
        found = tuple(
            msgspec.structs.replace(
                one, remedies=tuple(self._resolved(remedy, where, given) for remedy in one.remedies)
            )
            for one in heal or ()
        )
        return msgspec.structs.replace(
            step.options, heal=found or None, owner=defaults.owner, classes=dict(defaults.classes)
        )

    def _resolved(self, remedy: Remedy, where: "_Place", given: Mapping[str, Any]) -> Remedy:
        if not isinstance(remedy, FallBack):
            return remedy
        function, key = where.fall_back(remedy, given)
        self.functions[key] = function
        return msgspec.structs.replace(remedy, function=key)

    def result(self, value: Any) -> Binding:
        """What the pipeline returns."""
        return self._binding(value)

    def _binding(self, argument: Any) -> Binding:
        if isinstance(argument, Output):
            return argument.binding
        if _holds_outputs(argument):
            if isinstance(argument, dict):
                return NamedOf({str(name): self._binding(one) for name, one in argument.items()})
            return ListOf([self._binding(one) for one in argument])
        if isinstance(argument, dict) and any(map(has_codec, argument.values())):
            return NamedOf({str(name): self._binding(one) for name, one in argument.items()})
        return Constant(keep(argument, self.artifacts))

    def _unused(self, name: str) -> str:
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}-{self._names[name]}"


_TRACER: ContextVar[Tracer | None] = ContextVar("loopline_tracer", default=None)


def tracer() -> Tracer | None:
    """The tracing that is going on here, if one is."""
    return _TRACER.get()


def trace(tracing: Tracer, pipeline: str, body: Callable[[], Any], defaults: Defaults) -> Graph:
    """Run a pipeline's body and give the graph of the steps that it called."""
    token = _TRACER.set(tracing)
    try:
        with tracing.inside("", defaults):
            returned = body()
        result = tracing.result(returned)
    finally:
        _TRACER.reset(token)
    return Graph(pipeline, tracing.nodes, result, tracing.functions)


@lru_cache(maxsize=1024)
def _named(name: str, function: Callable[..., Any]) -> str:
    """A step and where it stands."""
    code = inspect.unwrap(function).__code__
    return f"`{name}` ({Path(code.co_filename).name}:{code.co_firstlineno})"


class _Place:
    """A call of a step, where it stands; its mistakes are told with both places."""

    def __init__(self, file: str, line: int, step: Traceable) -> None:
        self.file, self.line, self.step = file, line, step
        self.name = _named(step.name, step.function)

    def bound(self, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        try:
            found = self.step.signature.bind(*args, **kwargs)
        except TypeError as error:
            self.refuse(
                "pipeline.call", f"{self.name} cannot be called so: {error}", "Give it the parameters it takes."
            )
        kinds = {name: parameter.kind for name, parameter in self.step.signature.parameters.items()}
        if any(
            kinds[name] in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} for name in found.arguments
        ):
            self.refuse("pipeline.call", f"{self.name} takes any number of arguments", "Take a list or a dict instead.")
        return dict(found.arguments)

    def check(self, name: str, argument: Any, *, each: bool) -> None:
        wanted = self.step.hints.get(name, Any)
        if each:
            self._check_each(name, argument, wanted)
        else:
            self._check_one(name, argument, wanted)

    def _check_each(self, name: str, argument: Any, wanted: Any) -> None:
        if isinstance(argument, Output):
            element = element_of(argument.kind)
            if element is None:
                said = f"{argument.made} returns {name_of(argument.kind)}, and {self.name} was to run for each element of it"
                self.refuse("pipeline.each", said, "Let it return a list.")
            self._compare(name, wanted, element, f"elements of what {argument.made} returns")
        elif not isinstance(argument, list | tuple):
            self.refuse("pipeline.each", f"{name!r} is no list to run {self.name} for each of", "Give a list.")
        else:
            for one in argument:
                self._check_one(name, one, wanted)

    def _check_one(self, name: str, argument: Any, wanted: Any) -> None:
        if isinstance(argument, Output):
            self._compare(name, wanted, argument.kind, f"what {argument.made} returns")
        elif isinstance(argument, list | tuple) and _holds_outputs(argument):
            for one in argument:
                self._check_one(name, one, element_of(wanted) or Any)

    def _compare(self, name: str, wanted: Any, given: Any, what: str) -> None:
        if not accepts(wanted, given):
            said = f"{self.name} takes {name_of(wanted)} as {name!r}, and {what} is {name_of(given)}"
            self.refuse(
                "pipeline.types", said, "Let what one returns be what the other takes, or change the annotations."
            )

    def fall_back(self, remedy: FallBack, given: Mapping[str, Any]) -> tuple[Callable[..., Any], str]:
        """The function to fall back to, and its key."""
        try:
            function, key, hints = found(remedy, self.step.function)
            inspect.signature(function).bind(**given)
        except (LookupError, AttributeError, TypeError) as error:
            said = f"{self.name} cannot fall back to `{remedy.step}`: {error}"
            self.refuse(
                "pipeline.fall_back", said, "Name a step or function of a module that takes the same parameters."
            )
        wanted, returned = self.step.hints.get("return", Any), hints.get("return", Any)
        if not accepts(wanted, returned) or (types_in(wanted) and not types_in(returned)):
            said = f"{self.name} returns {name_of(wanted)}, and `{remedy.step}`, which it falls back to, {name_of(returned)}"
            self.refuse("pipeline.types", said, "Let both return the same.")
        return function, key

    def condition(self, when: Any) -> Any:
        if isinstance(when, bool) or (isinstance(when, Output) and accepts(bool, when.kind)):
            return when
        said = f"the condition of {self.name} is no bool" + (
            f": {when.made} returns {name_of(when.kind)}" if isinstance(when, Output) else ""
        )
        return self.refuse("pipeline.condition", said, "Give `when` a step that returns bool.")

    def refuse(self, code: str, said: str, remedy: str) -> NoReturn:
        raise DeclarationError(code, said, file=self.file, line=self.line, remedy=remedy)


def _holds_outputs(argument: Any) -> bool:
    if isinstance(argument, list | tuple):
        return any(isinstance(one, Output) or _holds_outputs(one) for one in argument)
    if isinstance(argument, dict):
        return any(isinstance(one, Output) or _holds_outputs(one) for one in argument.values())
    return False


def _first(given: Mapping[str, Any], count: int) -> Iterator[str]:
    for place, name in enumerate(given):
        if place < count:
            yield name


def _caller() -> tuple[str, int]:
    """The user's own line."""
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to the caller's line that costs nothing
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def check_params(pipeline: str, signature: inspect.Signature, params: Mapping[str, Any]) -> dict[str, Any]:
    """The params with defaults filled in. Raises `InvalidInput` "pipeline.params" for one that is missing or unknown."""
    try:
        bound = signature.bind(**params)
    except TypeError as error:
        raise InvalidInput(
            "pipeline.params", f"{pipeline} cannot be run so: {error}", remedy=f"It takes {pipeline}{signature}."
        ) from error
    bound.apply_defaults()
    return dict(bound.arguments)
