"""The arguments of a claimed step: where they come from, resolved to values."""

from collections.abc import Callable, Mapping
from typing import Any

from loopline.pipelines.codecs import Value, bring, part_types, types_in
from loopline.pipelines.engine import read_value
from loopline.pipelines.graph import Binding, Constant, FromStep, ListOf, NamedOf, Part, numbers_in
from loopline.storage.artifacts import ArtifactStore
from loopline.storage.statements import Sql, Statements
from loopline.values import canonical_json, digest

NOTHING = Value("json", digest(b"null"), 4, text="null")

_RESULTS = Sql("select number, kind, result from step where execution = ? and number {any}")
_RESULT = Sql("select number, kind, result from step where execution = ? and number = ?")
_ELEMENTS = Sql("select result from step where execution = ? and parent = ? order by element")


def resolve(
    sql: Statements, execution: str, bindings: Mapping[str, Binding], known: Mapping[int, Binding] | None = None
) -> dict[str, Binding]:
    """The bindings with every source replaced by what it gave; what was skipped gives None. What is `known` is not asked for."""
    given: dict[int, Binding] = dict(known or {})
    numbers = sorted({number for binding in bindings.values() for number in numbers_in(binding)} - given.keys())
    if len(numbers) == 1:
        rows = sql.rows(_RESULT, execution, numbers[0])
    else:
        rows = sql.rows(_RESULTS, execution, sql.array(numbers)) if numbers else []
    for number, kind, result in rows:
        given[number] = _given(sql, execution, number, kind, result)
    return {name: _replaced(binding, given) for name, binding in bindings.items()}


def values_of(arguments: Mapping[str, Binding], hints: Mapping[str, Any], artifacts: ArtifactStore) -> dict[str, Any]:
    """The arguments, decoded as the parameters are annotated."""
    return {name: value_of(binding, hints.get(name), artifacts) for name, binding in arguments.items()}


def value_of(binding: Binding, wanted: Any, artifacts: ArtifactStore) -> Any:
    """A resolved binding, decoded."""
    if isinstance(binding, Constant):
        return bring(binding.value, wanted, artifacts)
    if isinstance(binding, ListOf):
        kinds = part_types(wanted, len(binding.items))
        values = [value_of(one, kind, artifacts) for one, kind in zip(binding.items, kinds, strict=True)]
        return values if types_in(wanted) is None else tuple(values)
    if isinstance(binding, NamedOf):
        return {name: value_of(one, None, artifacts) for name, one in binding.items.items()}
    raise AssertionError("a source was not resolved")


def values_in(binding: Binding) -> list[Value]:
    """All values that a resolved binding holds."""
    found: list[Value] = []
    each_value(binding, found.append)
    return found


def each_value(binding: Binding, visit: Callable[[Value], None]) -> None:
    """Call `visit` with every value that a resolved binding holds."""
    if isinstance(binding, Constant):
        visit(binding.value)
    elif isinstance(binding, ListOf):
        for one in binding.items:
            each_value(one, visit)
    elif isinstance(binding, NamedOf):
        for one in binding.items.values():
            each_value(one, visit)


def digest_of(binding: Binding) -> str:
    """What names a resolved binding's content."""
    if isinstance(binding, Constant):
        return binding.value.digest
    if isinstance(binding, ListOf):
        return digest(canonical_json([digest_of(one) for one in binding.items]))
    if isinstance(binding, NamedOf):
        return digest(canonical_json({name: digest_of(one) for name, one in binding.items.items()}))
    raise AssertionError("a source was not resolved")


def _given(sql: Statements, execution: str, number: int, kind: str, result: str | None) -> Binding:
    if kind == "each" and result is not None:
        rows = sql.rows(_ELEMENTS, execution, number)
        return ListOf([Constant(read_value(row[0]) if row[0] else NOTHING) for row in rows])
    return Constant(NOTHING if result is None else read_value(result))


def part_of(given: Binding, place: int) -> Binding:
    """One of several values that a step gave, resolved; that of a step that was skipped is None."""
    if isinstance(given, Constant) and given.value.codec == "tuple":
        return Constant(given.value.parts[place])
    return Constant(NOTHING)


def _replaced(binding: Binding, given: Mapping[int, Binding]) -> Binding:
    if isinstance(binding, FromStep):
        return given[binding.number]
    if isinstance(binding, Part):
        return part_of(given[binding.number], binding.place)
    if isinstance(binding, ListOf):
        return ListOf([_replaced(one, given) for one in binding.items])
    if isinstance(binding, NamedOf):
        return NamedOf({name: _replaced(one, given) for name, one in binding.items.items()})
    return binding
