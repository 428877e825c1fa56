"""Fan-out: the rows of a step's elements, inserted when the lists they come from are there."""

from collections.abc import Iterator, Mapping

from loopline.errors import InvalidInput
from loopline.pipelines.arguments import resolve
from loopline.pipelines.codecs import items_of
from loopline.pipelines.engine import MAPPED, Engine
from loopline.pipelines.graph import Binding, Constant, ListOf, text_of
from loopline.storage.statements import Row, Sql, Statements

_MAPPED = Sql(
    "select name, options, function, code, cores, memory, limited, rank from step where execution = ? and number = ?"
)
_TAKEN = Sql("update execution set numbers = numbers + ? where id = ? returning numbers")
_INSERT = Sql(
    "insert into step (execution, number, name, kind, function, code, bindings, options, cores, memory, limited, rank, plain, needed_by,"
    " wanted_by, parent, element, expanded, state, waits_for, missing, ready_at, attempt, failures, losses)"
    " values (?, ?, ?, 'step', ?, ?, ?, ?, ?, ?, ?, ?, 1, '[]', '[]', ?, ?, 0, 'ready', 0, 0, {now}, 0, 0, 0)"
)


def expand(engine: Engine, sql: Statements, execution: str, number: int, bindings: Mapping[str, Binding]) -> int:
    """Insert a ready step for each element; how many. Parameters marked as mapped give an element each, the others are shared.

    Raises `InvalidInput` "pipeline.uneven" where the lists are not of one length.
    """
    mapped = {name.removeprefix(MAPPED): one for name, one in bindings.items() if name.startswith(MAPPED)}
    resolved = resolve(sql, execution, mapped)
    lists = {name: _elements(engine, binding) for name, binding in resolved.items()}
    lengths = {name: len(items) for name, items in lists.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidInput(
            "pipeline.uneven",
            f"lists to run for each of together differ in length: {told}",
            remedy="Give lists of one length.",
        )
    count = next(iter(lengths.values()))
    if count:
        [(numbers,)] = sql.rows(_TAKEN, count, execution)
        [shared] = sql.rows(_MAPPED, execution, number)
        sql.many(_INSERT, _rows(execution, number, shared, lists, range(numbers - count, numbers)))
    return count


def _elements(engine: Engine, binding: Binding) -> list[Binding]:
    if isinstance(binding, ListOf):
        return binding.items
    if isinstance(binding, Constant):
        return [Constant(one) for one in items_of(binding.value, engine.artifacts)]
    raise InvalidInput("pipeline.not_listed", "a dict cannot be fanned out", remedy="Give a list.")


def _rows(execution: str, group: int, shared: Row, lists: Mapping[str, list[Binding]], numbers: range) -> Iterator[Row]:
    name, options, function, code, cores, memory, limited, rank = shared
    for element, number in enumerate(numbers):
        own = text_of({parameter: items[element] for parameter, items in lists.items()})
        yield (
            execution, number, f"{name}[{element}]", function, code, own, options, cores, memory, limited, rank, group, element,
        )  # fmt: skip
