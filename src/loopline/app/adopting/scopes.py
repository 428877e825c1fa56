"""Which names code reads before it makes them, and which it makes: for statements at the top level and for functions."""

import ast
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef
Inner = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class Flow:
    """Names read before they are made, made for sure, and made perhaps, in the order they are met."""

    reads: dict[str, None] = field(default_factory=dict)
    sure: set[str] = field(default_factory=set)
    perhaps: set[str] = field(default_factory=set)

    def read(self, names: Iterable[str]) -> None:
        """Names are read here."""
        self.reads.update(dict.fromkeys(name for name in names if name not in self.sure))

    def make(self, names: Iterable[str]) -> None:
        """Names are made here, whatever happens."""
        self.sure.update(names)

    def maybe(self, other: "Flow") -> None:
        """Code follows that may not run, or not to its end."""
        self.reads.update(dict.fromkeys(name for name in other.reads if name not in self.sure))
        self.perhaps |= other.sure | other.perhaps


def flow(body: Iterable[ast.stmt]) -> Flow:
    """What the statements read and make, one after the other."""
    found = Flow()
    for statement in body:
        _follow(statement, found)
    found.perhaps -= found.sure
    return found


def _follow(node: ast.stmt, found: Flow) -> None:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        found.read(name for name in loaded(node) if name != node.name)
        found.make([node.name])
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        found.make(imported(node))
    elif isinstance(node, (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.Match)):
        _compound(node, found)
    else:
        _simple(node, found)


def _simple(node: ast.stmt, found: Flow) -> None:
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        found.read([node.target.id])
    found.read(loaded(node))
    if not isinstance(node, ast.Delete):
        found.make(stored(node))


def _compound(node: ast.stmt, found: Flow) -> None:
    if isinstance(node, (ast.For, ast.AsyncFor)):
        found.read(loaded(node.iter))
        found.maybe(_branch(found, stored(node.target), [*node.body]))
        found.maybe(_branch(found, (), node.orelse))
    elif isinstance(node, ast.While):
        found.read(loaded(node.test))
        found.maybe(_branch(found, stored(node.test), [*node.body, *node.orelse]))
    elif isinstance(node, ast.If):
        found.read(loaded(node.test))
        found.make(stored(node.test))
        _either([_branch(found, (), node.body), _branch(found, (), node.orelse)], found)
    elif isinstance(node, (ast.With, ast.AsyncWith)):
        for item in node.items:
            found.read(loaded(item.context_expr))
            found.make(stored(item.optional_vars) if item.optional_vars else ())
        for statement in node.body:
            _follow(statement, found)
    elif isinstance(node, ast.Try):
        _try(node, found)
    elif isinstance(node, ast.Match):
        found.read(loaded(node.subject))
        branches = [_branch(found, _captured(case.pattern), case.body) for case in node.cases]
        last = node.cases[-1]
        covered = isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None and last.guard is None
        _either(branches if covered else [*branches, Flow()], found)


def _branch(found: Flow, made: Iterable[str], body: list[ast.stmt]) -> Flow:
    inner = Flow(sure={*found.sure, *made})
    for statement in body:
        _follow(statement, inner)
    inner.sure -= found.sure
    return inner


def _either(branches: list[Flow], found: Flow) -> None:
    sure = set.intersection(*(branch.sure for branch in branches))
    for branch in branches:
        found.maybe(branch)
    found.make(sure)


def _try(node: ast.Try, found: Flow) -> None:
    body = _branch(found, (), [*node.body, *node.orelse])
    handlers = []
    for handler in node.handlers:
        found.read(loaded(handler.type) if handler.type else ())
        inner = _branch(found, [handler.name] if handler.name else [], handler.body)
        inner.sure.discard(handler.name or "")
        if not leaves(handler.body):
            handlers.append(inner)
        else:
            found.maybe(Flow(reads=inner.reads))
    _either([body, *handlers], found)
    for statement in node.finalbody:
        _follow(statement, found)


def leaves(body: list[ast.stmt]) -> bool:
    """Whether code ends by raising, or by ending the program."""
    last = body[-1] if body else None
    ends = isinstance(last, ast.Expr) and isinstance(last.value, ast.Call) and ast.unparse(last.value.func)
    return isinstance(last, (ast.Raise, ast.Continue, ast.Break)) or ends in {"sys.exit", "exit", "quit", "os._exit"}


def _captured(pattern: ast.pattern) -> Iterator[str]:
    for node in ast.walk(pattern):
        name = getattr(node, "name", None) or getattr(node, "rest", None)
        if isinstance(name, str):
            yield name


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The names that an import makes; none for a star."""
    return [
        alias.asname or (alias.name.split(".")[0] if isinstance(node, ast.Import) else alias.name)
        for alias in node.names
        if alias.name != "*"
    ]


def loaded(node: ast.AST) -> list[str]:
    """Names that are read when the code runs, in order: not those that comprehensions and functions in it make themselves."""
    if isinstance(node, ast.Name):
        return [node.id] if isinstance(node.ctx, (ast.Load, ast.Del)) else []
    if isinstance(node, (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [*at_definition(node), *free(node)]
    if isinstance(node, _COMPREHENSIONS):
        own = {name for part in node.generators for name in stored(part.target)}
        return [name for part in ast.iter_child_nodes(node) for name in loaded(part) if name not in own]
    return [name for part in ast.iter_child_nodes(node) for name in loaded(part)]


def stored(node: ast.AST) -> list[str]:
    """Names that are made when the code runs: targets, walruses, imports, definitions, names after `as`."""
    if isinstance(node, ast.Name):
        return [node.id] if isinstance(node.ctx, ast.Store) else []
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return imported(node)
    if isinstance(node, ast.Lambda):
        return []
    if isinstance(node, _COMPREHENSIONS):
        return [one.target.id for one in ast.walk(node) if isinstance(one, ast.NamedExpr)]
    return [name for part in ast.iter_child_nodes(node) for name in stored(part)]


def at_definition(node: Inner, *, annotations: bool = True) -> list[str]:
    """What a definition reads when it is met: decorators, defaults, bases, and annotations unless they are postponed."""
    if isinstance(node, ast.Lambda):
        parts: list[ast.expr | None] = [*node.args.defaults, *node.args.kw_defaults]
    elif isinstance(node, ast.ClassDef):
        parts = [*node.decorator_list, *node.bases, *(one.value for one in node.keywords)]
    else:
        parts = [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        parts += [node.returns, *(one.annotation for one in arguments)] if annotations else []
    return [name for part in parts if part is not None for name in loaded(part)]


def free(node: Inner) -> list[str]:
    """Names of the module that the inside of a function, a lambda or a class reads."""
    return sorted({name for name, symbol in _globals(node) if symbol.is_referenced() or symbol.is_declared_global()})


def made_global(node: Inner) -> set[str]:
    """Names of the module that the inside of a function binds, as it declares with `global`."""
    return {name for name, symbol in _globals(node) if symbol.is_declared_global() and symbol.is_assigned()}


def _globals(node: Inner) -> Iterator[tuple[str, symtable.Symbol]]:
    table = symtable.symtable(ast.unparse(ast.fix_missing_locations(node)), "<adopted>", "exec")
    waiting = list(table.get_children())
    while waiting:
        one = waiting.pop()
        waiting += one.get_children()
        yield from ((symbol.get_name(), symbol) for symbol in one.get_symbols() if symbol.is_global())
