"""Values that two names may share: what changes one changes the other, as long as both are in one step."""

import ast
from collections.abc import Iterator
from itertools import pairwise

from loopline.app.adopting.calls import root
from loopline.app.adopting.guess import FRAMES, IMMUTABLE
from loopline.app.adopting.statement import Statement
from loopline.app.adopting.study import Study

_VIEWS = {
    "reshape",
    "ravel",
    "view",
    "transpose",
    "squeeze",
    "to_numpy",
    "swapaxes",
    "setdefault",
    "get",
    "values",
    "items",
    "T",
    "loc",
    "iloc",
}


class Aliases:
    """Which statements must stand together because one makes a second name of a value, and the other changes the value."""

    def __init__(self, study: Study, work: list[Statement]) -> None:
        self._study, self._work = study, work

    def joined(self) -> Iterator[tuple[Statement, Statement]]:
        """Pairs of statements; those that read the other name later are told that they need the change."""
        shared: list[tuple[str, str, Statement, bool]] = []
        for one in self._work:
            for name in sorted(one.changes | self._augmented(one)):
                for first, second, made, only_same in self._with(name, shared):
                    other = second if first == name else first
                    if only_same and self._adds_columns(one, name):
                        continue
                    if made is not one and self._used_later(other, one):
                        one.changes.add(other)
                        one.kinds.setdefault(other, one.before.get(other, ""))
                        yield made, one
            shared = [pair for pair in shared if not (set(pair[:2]) & one.binds)]
            shared += self._made(one)

    def _with(
        self, name: str, shared: list[tuple[str, str, Statement, bool]]
    ) -> list[tuple[str, str, Statement, bool]]:
        """What shares with the name, and with what shares with it."""
        names, found = {name}, []
        for pair in [*shared, *shared]:
            if set(pair[:2]) & names and pair not in found:
                names |= set(pair[:2])
                found.append(pair)
        others = names - {name}
        return [
            (name, other, made, view)
            for other in sorted(others)
            for first, second, made, view in found
            if other in (first, second)
        ]

    def _augmented(self, one: Statement) -> set[str]:
        return (
            {one.node.target.id}
            if isinstance(one.node, ast.AugAssign) and isinstance(one.node.target, ast.Name)
            else set()
        )

    def _used_later(self, name: str, one: Statement) -> bool:
        for later in self._work:
            if later.number > one.number:
                if name in later.reads or name in later.changes:
                    return True
                if name in later.sure:
                    return False
        return False

    def _adds_columns(self, one: Statement, name: str) -> bool:
        """Whether a frame only gets or loses columns: what was taken from it before does not see that."""
        if one.before.get(name, "") not in FRAMES:
            return False
        deep = [
            node
            for node in ast.walk(one.node)
            if isinstance(node, (ast.Subscript, ast.Attribute))
            and isinstance(node.ctx, ast.Store)
            and root(node) == name
        ]
        return all(
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and isinstance(node.slice, (ast.Constant, ast.Name, ast.List))
            for node in deep
        )

    def _made(self, one: Statement) -> Iterator[tuple[str, str, Statement, bool]]:
        for node in ast.walk(one.node):
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                yield from ((first, second, one, False) for first, second in pairwise(names))
                for target in targets:
                    for part in target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]:
                        name = root(part)
                        if name is not None and not self._immutable(name, one):
                            yield from (
                                (name, other, one, view)
                                for other, view in self._within(node.value, one)
                                if other != name
                            )
            elif isinstance(node, ast.For) and isinstance(node.target, ast.Name):
                yield from ((node.target.id, other, one, view) for other, view in self._within(node.iter, one))
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"append", "add", "insert", "extend", "update", "setdefault", "appendleft"}
            ):
                holder = root(node.func.value)
                if holder is not None:
                    yield from (
                        (holder, other, one, view)
                        for argument in node.args
                        for other, view in self._within(argument, one)
                        if other != holder
                    )

    def _immutable(self, name: str, one: Statement) -> bool:
        kind = one.kinds.get(name, one.before.get(name, ""))
        return kind in IMMUTABLE or kind.startswith(
            ("tuple[int", "list[str", "list[int", "list[float", "dict[str, np", "dict[str, float")
        )

    def _within(self, value: ast.expr, one: Statement) -> Iterator[tuple[str, bool]]:
        """Names whose values an expression's value may be, hold or see; and whether it only sees a part of them."""
        if isinstance(value, ast.Name):
            if value.id not in self._study.aliases and not self._fixed(value.id, one):
                yield value.id, False
        elif isinstance(value, (ast.List, ast.Tuple, ast.Set)):
            for part in value.elts:
                yield from self._within(part, one)
        elif isinstance(value, ast.Dict):
            for part in value.values:
                yield from self._within(part, one)
        elif isinstance(value, ast.IfExp):
            yield from self._within(value.body, one)
            yield from self._within(value.orelse, one)
        elif isinstance(value, (ast.Subscript, ast.Attribute)):
            yield from self._seen(value, one)
        elif isinstance(value, ast.Call):
            yield from self._of_call(value, one)

    def _fixed(self, name: str, one: Statement) -> bool:
        return one.before.get(name, "") in IMMUTABLE

    def _seen(self, value: ast.Subscript | ast.Attribute, one: Statement) -> Iterator[tuple[str, bool]]:
        name = root(value)
        kind = self._study.functions.guess.kind(value, one.before)
        copied = isinstance(value, ast.Subscript) and isinstance(value.slice, (ast.List, ast.Compare, ast.BinOp))
        if (
            name is not None
            and name not in self._study.aliases
            and not copied
            and kind not in IMMUTABLE
            and not kind.startswith("pl.")
        ):
            yield name, True

    def _of_call(self, call: ast.Call, one: Statement) -> Iterator[tuple[str, bool]]:
        own = isinstance(call.func, ast.Name) and call.func.id in self._study.functions.defined
        kind = self._study.functions.guess.kind(call, one.before)
        if kind in IMMUTABLE or kind.startswith("pl."):
            return
        if own:
            for argument in [*call.args, *(one.value for one in call.keywords)]:
                yield from self._within(argument, one)
        elif isinstance(call.func, ast.Attribute) and call.func.attr in _VIEWS | {"fit"}:
            name = root(call.func.value)
            if name is not None and name not in self._study.aliases:
                yield name, True
        elif self._study.full(call.func) in {
            "numpy.asarray",
            "numpy.ravel",
            "numpy.atleast_2d",
            "copy.copy",
        } or self._study.full(call.func).startswith(("sklearn.pipeline", "sklearn.model_selection.Grid")):
            for argument in call.args:
                yield from self._within(argument, one)
