"""What own functions do when they are called: names of the file they read and change, arguments they change, deeds, what they return."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace

from loopline.app.adopting.calls import (
    CHANGES_FIRST,
    MUTATES,
    QUIET,
    QUIET_MODULES,
    SHOWS,
    calls,
    dotted,
    is_true,
    keyword,
    root,
)
from loopline.app.adopting.effects import WRITING_METHODS, Effect, effects
from loopline.app.adopting.guess import FRAMES, IMMUTABLE, UNKNOWN, Guess
from loopline.app.adopting.scopes import free, made_global

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
_DEEP = 4


@dataclass(frozen=True)
class Summary:
    """Of one function (or class, all its methods together): `changes` are its parameters, by name, that it changes in place."""

    parameters: tuple[str, ...] = ()
    changes: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    touches: frozenset[str] = frozenset()
    deeds: tuple[Effect, ...] = ()


class Functions:
    """The functions and classes that a file defines, by name."""

    def __init__(self, tree: ast.Module, aliases: Mapping[str, str]) -> None:
        self.defined: dict[str, Definition] = {}
        self._again: dict[str, list[Definition]] = {}
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self._again.setdefault(node.name, []).append(node)
                self.defined[node.name] = node
            elif (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Lambda)
                and isinstance(node.targets[0], ast.Name)
            ):
                self.defined[node.targets[0].id] = node.value
        self.guess = Guess(aliases, self.returned)
        self._aliases = aliases
        self._summaries: dict[str, Summary] = {}
        self._asking: list[str] = []

    def methods(self) -> set[str]:
        """Names of the methods of own classes: they may change what they are called on."""
        return {
            one.name
            for node in self.defined.values()
            if isinstance(node, ast.ClassDef)
            for one in node.body
            if isinstance(one, ast.FunctionDef) and one.name != "__init__"
        }

    def summary(self, name: str) -> Summary:
        """What a call does, with all that it calls in turn."""
        if name not in self._summaries:
            if name in self._asking or name not in self.defined:
                return Summary()
            self._asking.append(name)
            made = [self._summed(node) for node in self._again.get(name, [self.defined[name]])]
            self._summaries[name] = made[-1] if len(made) == 1 else _together(made)
            self._asking.pop()
        return self._summaries[name]

    def _summed(self, node: Definition) -> Summary:
        names = set(free(node))
        body: list[ast.stmt] = [*node.body] if isinstance(node.body, list) else [ast.Expr(node.body)]
        parameters = (
            ()
            if isinstance(node, ast.ClassDef)
            else tuple(one.arg for one in [*node.args.posonlyargs, *node.args.args])
        )
        bodies: list[ast.stmt] = (
            body if not isinstance(node, ast.ClassDef) else [part for one in body for part in getattr(one, "body", [])]
        )
        changed = self._changed(bodies)
        local = set(parameters) | {
            one.id
            for part in bodies
            for one in ast.walk(part)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        }
        deeds = [
            deed for part in bodies for deed in effects(part, self.guess.full, lambda one: self.guess.kind(one, {}))
        ]
        summary = Summary(
            parameters, frozenset(changed & set(parameters)), frozenset(names),
            frozenset((changed - local | made_global(node) | {one for one in changed if one in names}) & (names | made_global(node))), tuple(deeds),
        )  # fmt: skip
        for name in sorted(names & self.defined.keys()):
            inner = self.summary(name)
            summary = replace(
                summary,
                reads=summary.reads | inner.reads,
                touches=summary.touches | inner.touches,
                deeds=(*summary.deeds, *inner.deeds),
            )
        return summary

    def _changed(self, body: list[ast.stmt]) -> set[str]:
        """Names whose values are changed in place, while they are still those that came in: a copy made first is one's own."""
        changed: set[str] = set()
        own: set[str] = set()
        for statement in body:
            changed |= self.changes(statement, {}) - own
            if isinstance(statement, ast.Assign) and isinstance(
                statement.value, (ast.Call, ast.List, ast.Dict, ast.BinOp, ast.ListComp)
            ):
                own |= {one.id for one in statement.targets if isinstance(one, ast.Name)}
        return changed

    def changes(self, node: ast.stmt, env: Mapping[str, str]) -> set[str]:
        """Names whose values a statement changes in place, given what kinds they are."""
        found = {name for one in ast.walk(node) if (name := _stored_into(one)) is not None}
        bare = {id(one.value) for one in ast.walk(node) if isinstance(one, ast.Expr)}
        for call in calls(node):
            found |= self._by_call(call, env, alone=id(call) in bare)
        return {
            name
            for name in found
            if name not in self._aliases and env.get(name, UNKNOWN) not in IMMUTABLE and name not in self.defined
        }

    def _by_call(self, call: ast.Call, env: Mapping[str, str], *, alone: bool) -> set[str]:
        name = dotted(call.func)
        if isinstance(call.func, ast.Name) and call.func.id in self.defined:
            return self._by_own(call, self.summary(call.func.id))
        if name in CHANGES_FIRST or self.guess.full(call.func) in CHANGES_FIRST:
            return {one for argument in call.args[:1] if (one := root(argument)) is not None}
        if (
            isinstance(call.func, ast.Attribute)
            and (of := root(call.func.value)) is not None
            and of not in self._aliases
        ):
            if of in QUIET_MODULES:
                return set()
            return {of} if self._changes_own(call, call.func, env, alone=alone) else set()
        quiet = name in QUIET or name.partition(".")[0] in QUIET_MODULES or name.rpartition(".")[2].startswith("save")
        if not alone or quiet:
            return set()
        return {argument.id for argument in call.args if isinstance(argument, ast.Name)}

    def _by_own(self, call: ast.Call, summary: Summary) -> set[str]:
        given = dict(zip(summary.parameters, call.args, strict=False)) | {
            one.arg: one.value for one in call.keywords if one.arg
        }
        arguments = {
            name for parameter in summary.changes if parameter in given and (name := root(given[parameter])) is not None
        }
        return arguments | set(summary.touches)

    def _changes_own(self, call: ast.Call, func: ast.Attribute, env: Mapping[str, str], *, alone: bool) -> bool:
        method = func.attr
        if is_true(keyword(call, "inplace")):
            return True
        of = self.guess.kind(func.value, env)
        if of in FRAMES or of in {"index", "groups", "groups:one", "lazy"}:
            return method in {
                "insert",
                "pop",
                "update",
                "drop_in_place",
                "insert_column",
                "replace_column",
                "extend",
                "fill",
                "put",
            }
        if of in {"str", "path"} or method in WRITING_METHODS:
            return False
        if method in MUTATES or method in self.methods() or of == "rng":
            return True
        return alone and not (method in SHOWS and of in {UNKNOWN, *FRAMES})

    def returned(self, name: str, call: ast.Call, env: Mapping[str, str]) -> str:
        """The kind that a call of an own function returns; of a class `object`."""
        if name not in self.defined or name in self._asking or len(self._asking) > _DEEP:
            return UNKNOWN
        kinds = {self._by(node, name, call, env) for node in self._again.get(name, [self.defined[name]])}
        return kinds.pop() if len(kinds) == 1 else UNKNOWN

    def _by(self, node: Definition, name: str, call: ast.Call, env: Mapping[str, str]) -> str:
        if isinstance(node, ast.ClassDef):
            return f"own:{name}"
        arguments = [one.arg for one in [*node.args.posonlyargs, *node.args.args]]
        inside = {
            parameter: self._annotated(one.annotation)
            for parameter, one in zip(arguments, node.args.args, strict=False)
        }
        inside |= {
            parameter: kind
            for parameter, one in zip(arguments, call.args, strict=False)
            if (kind := self.guess.kind(one, env))
        }
        inside |= {one.arg: kind for one in call.keywords if one.arg and (kind := self.guess.kind(one.value, env))}
        self._asking.append(name)
        try:
            if isinstance(node, ast.Lambda):
                return self.guess.kind(node.body, inside)
            told = self._annotated(node.returns)
            return told or self._of_body(node.body, {**env, **inside})
        finally:
            self._asking.pop()

    def _annotated(self, node: ast.expr | None) -> str:
        if node is None:
            return UNKNOWN
        full = self.guess.full(node)
        known = {
            "pandas.DataFrame": "pd.DataFrame",
            "pandas.Series": "pd.Series",
            "polars.DataFrame": "pl.DataFrame",
            "polars.LazyFrame": "lazy",
            "numpy.ndarray": "np.ndarray",
        }
        text = ast.unparse(node).strip("'\"")
        plain = {
            "int",
            "float",
            "str",
            "bool",
            "dict[str, float]",
            "dict[str, int]",
            "dict[str, str]",
            "list[str]",
            "list[int]",
            "list[float]",
        }
        return known.get(
            full,
            {"float": "np.float64", "dict[str, float]": "dict[str, np.float64]"}.get(text, text)
            if text in plain
            else UNKNOWN,
        )

    def _of_body(self, body: list[ast.stmt], env: dict[str, str]) -> str:
        kinds: list[str] = []
        self.follow(body, env, kinds)
        return kinds[0] if len(set(kinds)) == 1 else UNKNOWN

    def follow(self, body: list[ast.stmt], env: dict[str, str], returned: list[str] | None = None) -> None:
        """Note in `env` the kinds of the names that statements make, one after the other; and what they return."""
        for node in body:
            if isinstance(node, ast.Return) and returned is not None:
                pair = isinstance(node.value, ast.Tuple)
                kinds = (
                    [self.guess.kind(one, env) for one in node.value.elts]
                    if pair and isinstance(node.value, ast.Tuple)
                    else []
                )
                returned.append(
                    f"tuple[{', '.join(kinds)}]" if pair else self.guess.kind(node.value, env) if node.value else "None"
                )
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    self._bind(target, node.value, env)
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                made = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
                env[node.target.id] = self.guess.kind(made, env)
            elif isinstance(node, ast.Expr):
                self._filled(node.value, env)
            elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self._inside(node, env, returned)

    def _inside(self, node: ast.stmt, env: dict[str, str], returned: list[str] | None) -> None:
        if isinstance(node, (ast.For, ast.AsyncFor)):
            if isinstance(node.target, ast.Name):
                of = self.guess.kind(node.iter, env)
                env[node.target.id] = of.removeprefix("items:") if of == "str" else _element(of)
            else:
                env.update(
                    dict.fromkeys((one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)), UNKNOWN)
                )
        if isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                if item.optional_vars is not None:
                    env.update(
                        dict.fromkeys(
                            (one.id for one in ast.walk(item.optional_vars) if isinstance(one, ast.Name)), UNKNOWN
                        )
                    )
        before = dict(env)
        for part in ("body", "handlers", "orelse", "finalbody", "cases"):
            inner = getattr(node, part, [])
            branch = dict(before) if part in {"orelse", "handlers"} else env
            for one in inner:
                self.follow(
                    one.body if isinstance(one, (ast.ExceptHandler, ast.match_case)) else [one], branch, returned
                )
            if branch is not env and inner:
                env.update({name: kind if kind == env.get(name, kind) else UNKNOWN for name, kind in branch.items()})

    def _bind(self, target: ast.expr, value: ast.expr, env: dict[str, str]) -> None:
        if isinstance(target, ast.Name):
            env[target.id] = self.guess.kind(value, env)
        elif isinstance(target, (ast.Tuple, ast.List)):
            kinds = self._unpacked(value, len(target.elts), env)
            for one, kind in zip(target.elts, kinds, strict=True):
                if isinstance(one, ast.Name):
                    env[one.id] = kind
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self._stored(target, value, env)

    def _stored(self, target: ast.Subscript, value: ast.expr, env: dict[str, str]) -> None:
        """`d["a"] = 1` tells what an empty dict is going to hold."""
        name = target.value.id if isinstance(target.value, ast.Name) else ""
        if env.get(name, UNKNOWN).startswith("dict["):
            made = f"dict[{self.guess.kind(target.slice, env)}, {self.guess.kind(value, env)}]"
            env[name] = made if env[name] in {made, "dict[]"} else "dict[mixed]"

    def _filled(self, value: ast.expr, env: dict[str, str]) -> None:
        """`held.append(1)` tells what an empty list is going to hold; other changes of lists and dicts leave it open."""
        func = value.func if isinstance(value, ast.Call) else None
        if (
            not isinstance(value, ast.Call)
            or not isinstance(func, ast.Attribute)
            or not isinstance(func.value, ast.Name)
        ):
            return
        name, method = func.value.id, func.attr
        held = env.get(name, UNKNOWN)
        if not held.startswith(("list[", "dict[")) or method in {
            "sort",
            "reverse",
            "clear",
            "pop",
            "remove",
            "popitem",
        }:
            return
        made = f"list[{self.guess.kind(value.args[0], env)}]" if method == "append" and value.args else ""
        env[name] = made if made and held in {made, "list[]"} else f"{held[:4]}[mixed]"

    def _unpacked(self, value: ast.expr, count: int, env: Mapping[str, str]) -> list[str]:
        if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == count:
            return [self.guess.kind(one, env) for one in value.elts]
        if isinstance(value, ast.Call):
            if self.guess.full(value.func) == "sklearn.model_selection.train_test_split":
                kinds = [self.guess.kind(one, env) for one in value.args]
                return [kind for one in kinds for kind in (one, one)] if 2 * len(kinds) == count else [UNKNOWN] * count
            kind = self.guess.kind(value, env)
            if kind.startswith("tuple["):
                kinds = [one.strip() for one in kind[6:-1].split(", ")]
                return kinds if len(kinds) == count else [kinds[0]] * count if len(kinds) == 1 else [UNKNOWN] * count
            return [kind] * count if kind == "figure" else [UNKNOWN] * count
        kind = self.guess.kind(value, env)
        return [kind[6:-1]] * count if kind == "tuple[int]" else [UNKNOWN] * count


def _together(summaries: list[Summary]) -> Summary:
    """Of several definitions under one name: what any of them may do."""
    return Summary(
        max((one.parameters for one in summaries), key=len),
        frozenset[str]().union(*(one.changes for one in summaries)),
        frozenset[str]().union(*(one.reads for one in summaries)),
        frozenset[str]().union(*(one.touches for one in summaries)),
        tuple(deed for one in summaries for deed in one.deeds),
    )


def _element(kind: str) -> str:
    return (
        kind[5:-1] if kind.startswith("list[") else "str" if kind.startswith("dict[str") or kind == "index" else UNKNOWN
    )


def _stored_into(node: ast.AST) -> str | None:
    """The name whose value `x[...] = `, `x.a = `, `x += ` or `del x[...]` changes."""
    if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return root(node)
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return None
