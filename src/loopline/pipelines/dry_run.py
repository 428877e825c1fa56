"""A dry run: what each step of a plan would do, and why. Nothing is submitted."""

from collections.abc import Mapping

import msgspec

from loopline.errors import LooplineError
from loopline.pipelines import cache
from loopline.pipelines.arguments import NOTHING, part_of, value_of
from loopline.pipelines.cache import Parts, parts_of
from loopline.pipelines.codecs import items_of
from loopline.pipelines.engine import Engine
from loopline.pipelines.graph import Binding, Constant, FromStep, ListOf, NamedOf, Node, Part, numbers_in
from loopline.pipelines.nearest import nearest, told
from loopline.pipelines.planning import Plan
from loopline.storage.database import Transaction
from loopline.storage.statements import Statements


class Foreseen(msgspec.Struct, frozen=True):
    """What a step would do: run, reused, skipped, or unknown until others have run. `of` counts the elements of a fan-out, `reused` those of them
    that have a result.
    """

    step: str
    would: str
    why: str
    of: int | None = None
    reused: int | None = None


def dry_run(tx: Transaction, engine: Engine, planned: Plan, *, fresh: bool = False) -> list[Foreseen]:
    """What the plan's steps would do, in their order."""
    looking = _Looking(Statements.of(tx), engine, planned, fresh=fresh)
    return [looking.at(node) for node in planned.graph.nodes]


class _Looking:
    def __init__(self, sql: Statements, engine: Engine, planned: Plan, *, fresh: bool) -> None:
        self._sql, self._engine, self._fresh = sql, engine, fresh
        self._names = {node.number: node.name for node in planned.graph.nodes}
        self._known: dict[int, Binding] = {}
        self._skipped: set[int] = set()

    def at(self, node: Node) -> Foreseen:
        needs = {number for number, optional in node.sources() if not optional}
        gone = sorted(needs & self._skipped)
        if gone:
            return self._skip(node, f"`{self._names[gone[0]]}` is skipped")
        if node.condition is not None:
            open_ = [self._names[number] for number in numbers_in(node.condition) if number not in self._known]
            if open_:
                return Foreseen(node.name, "unknown", f"its condition `{open_[0]}` has to be computed first")
            if not value_of(self._filled(node.condition), None, self._engine.artifacts):
                return self._skip(node, "its condition is false")
        unknown = [self._names[number] for number, _ in node.sources() if number not in self._known]
        if unknown:
            return Foreseen(node.name, "run", f"its input comes from `{unknown[0]}`, which has to run first")
        if not node.options.reuse:
            return Foreseen(node.name, "run", "it is declared with reuse=False")
        arguments = {name: self._filled(binding) for name, binding in node.bindings.items()}
        return self._each(node, arguments) if node.mapped else self._one(node, arguments)

    def _one(self, node: Node, arguments: Mapping[str, Binding]) -> Foreseen:
        parts = parts_of(node.function, node.code, node.bindings, arguments)
        hit = self._hit(parts)
        if hit is None:
            return Foreseen(node.name, "run", self._because(parts))
        self._known[node.number] = Constant(hit.result)
        return Foreseen(node.name, "reused", f"{hit.execution} had the same code, environment, params and inputs")

    def _each(self, node: Node, arguments: Mapping[str, Binding]) -> Foreseen:
        try:
            lists = {name: self._elements(arguments[name]) for name in node.mapped}
        except LooplineError as error:
            return Foreseen(node.name, "unknown", error.message)
        count = len(next(iter(lists.values())))
        found: list[Binding] = []
        missing: Parts | None = None
        for element in range(count):
            own = {**arguments, **{name: items[element] for name, items in lists.items()}}
            parts = parts_of(node.function, node.code, node.bindings, own, node.mapped)
            hit = self._hit(parts)
            if hit is None:
                missing = parts
            else:
                found.append(Constant(hit.result))
        if missing is None:
            self._known[node.number] = ListOf(found)
            return Foreseen(node.name, "reused", "all of its elements have a result", count, count)
        return Foreseen(node.name, "run", self._because(missing), count, len(found))

    def _elements(self, binding: Binding) -> list[Binding]:
        if isinstance(binding, ListOf):
            return binding.items
        return (
            [Constant(one) for one in items_of(binding.value, self._engine.artifacts)]
            if isinstance(binding, Constant)
            else []
        )

    def _hit(self, parts: Parts) -> cache.Hit | None:
        return None if self._fresh else cache.peek(self._sql, self._engine.artifacts, parts)

    def _because(self, parts: Parts) -> str:
        if self._fresh:
            return "a fresh result is asked for"
        near = nearest(self._sql, self._engine.artifacts, parts, before=2**62)
        if near is None:
            return "no result of it was kept"
        if not near.differences:
            return "its result is gone"
        return f"{told(near.differences)} not as in {near.execution}"

    def _skip(self, node: Node, why: str) -> Foreseen:
        self._skipped.add(node.number)
        self._known[node.number] = Constant(NOTHING)
        return Foreseen(node.name, "skipped", why)

    def _filled(self, binding: Binding) -> Binding:
        if isinstance(binding, FromStep):
            return self._known[binding.number]
        if isinstance(binding, Part):
            return part_of(self._known[binding.number], binding.place)
        if isinstance(binding, ListOf):
            return ListOf([self._filled(one) for one in binding.items])
        if isinstance(binding, NamedOf):
            return NamedOf({name: self._filled(one) for name, one in binding.items.items()})
        return binding
