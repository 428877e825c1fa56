"""Reads the statements of a text one after the other: what each needs, makes, changes and does."""

import ast
import builtins
import re
from collections import Counter
from collections.abc import Callable, Mapping

from loopline.app.adopting.calls import SHOWS, calls, dotted, is_true, keyword
from loopline.app.adopting.effects import Effect, effects
from loopline.app.adopting.functions import Functions
from loopline.app.adopting.guess import IMMUTABLE
from loopline.app.adopting.params import Param
from loopline.app.adopting.scopes import at_definition, flow, imported
from loopline.app.adopting.source import Source
from loopline.app.adopting.statement import Statement

KNOWN = {
    *dir(builtins),
    "__name__",
    "__file__",
    "__doc__",
    "display",
    "get_ipython",
    "exit",
    "quit",
    "__annotations__",
    "drawn",
}
_SETTINGS = (
    "warnings.", "pandas.set_option", "polars.Config", "seaborn.set", "matplotlib.use", "matplotlib.pyplot.style.use", "matplotlib.rc", "matplotlib.pyplot.rc",
    "numpy.set_printoptions", "numpy.seterr", "logging.", "sys.path.", "dotenv.load_dotenv", "locale.setlocale", "pandas.plotting.register", "matplotlib.pyplot.switch_backend",
    "structlog.", "tqdm.tqdm.pandas", "sklearn.set_config", "locale.", "socket.setdefaulttimeout", "os.environ.setdefault",
)  # fmt: skip
_SET = ("matplotlib.pyplot.rcParams", "matplotlib.rcParams", "pandas.options.", "os.environ")
_PURE = {
    "pathlib.Path", "pathlib.PurePath", "os.path.join", "os.path.dirname", "os.path.abspath", "os.path.basename", "os.path.expanduser", "datetime.date", "datetime.datetime",
    "datetime.timedelta", "pandas.Timestamp", "pandas.Timedelta", "argparse.Namespace", "os.environ.get", "os.getenv", "datetime.datetime.strptime", "datetime.datetime.fromisoformat",
    "datetime.date.fromisoformat", "sqlalchemy.create_engine", "logging.getLogger", "re.compile", "zoneinfo.ZoneInfo", "decimal.Decimal", "pandas.to_datetime", "pandas.DateOffset",
}  # fmt: skip
_PURE_BUILTINS = {
    "len",
    "str",
    "int",
    "float",
    "bool",
    "list",
    "tuple",
    "dict",
    "set",
    "sorted",
    "range",
    "frozenset",
    "min",
    "max",
    "sum",
    "abs",
    "round",
    "zip",
    "enumerate",
}
_PURE_METHODS = {
    "joinpath",
    "with_suffix",
    "format",
    "lower",
    "upper",
    "strip",
    "split",
    "replace",
    "resolve",
    "absolute",
    "strftime",
    "isoformat",
    "join",
    "rstrip",
    "lstrip",
    "date",
    "expanduser",
}


class Study:
    """The statements with what is known of them; `aliases` are the modules that imported names stand for."""

    def __init__(self, source: Source, params: list[Param]) -> None:
        self.source, self.params = source, params
        self.tree = ast.parse(source.text)
        self.aliases = _aliases(self.tree)
        self.functions = Functions(self.tree, self.aliases)
        self.full = self.functions.guess.full
        self.star = next(
            (one.module for one in ast.walk(self.tree) if isinstance(one, ast.ImportFrom) and one.names[0].name == "*"),
            None,
        )
        self.statements = [
            Statement(node, number, *where)
            for number, (node, where) in enumerate(zip(self.tree.body, self._lines(), strict=True))
        ]
        self._follow()
        self._roles()

    def keep_constants(self) -> None:
        """Constants that became no params stand in the file as they are."""
        for statement in self.statements:
            if statement.role == "constant":
                statement.role = "top"

    def _postponed(self) -> bool:
        imports = [one for one in self.tree.body if isinstance(one, ast.ImportFrom) and one.module == "__future__"]
        return any(alias.name == "annotations" for one in imports for alias in one.names)

    def _lines(self) -> list[tuple[int, int, int]]:
        """First line, with comments above, last line, and cell of each statement; comments at a cell's end go with the one before."""
        found: list[tuple[int, int, int]] = []
        text = self.source.text.split("\n")
        nodes = self.tree.body
        for place, node in enumerate(nodes):
            start = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
            before = found[-1][1] if found else 0
            while (
                start - 1 > before
                and (not text[start - 2].strip() or text[start - 2].lstrip().startswith("#"))
                and self._same_cell(start - 1, node.lineno)
            ):
                start -= 1
            end = node.end_lineno or node.lineno
            following = nodes[place + 1].lineno if place + 1 < len(nodes) else len(text) + 1
            if following > len(text) or not self._same_cell(end, following):
                while (
                    end + 1 < following
                    and end < len(text)
                    and text[end].lstrip().startswith("#")
                    and self._same_cell(end, end + 1)
                ):
                    end += 1
            found.append((start, end, self.source.place(node.lineno)[0]))
        return found

    def _same_cell(self, one: int, other: int) -> bool:
        return self.source.place(one)[0] == self.source.place(other)[0]

    def _follow(self) -> None:
        env = {param.name: param.annotation for param in self.params}
        guess = self.functions.guess
        for statement in self.statements:
            node = statement.node
            found = flow([node])
            statement.before = dict(env)
            statement.reads, statement.sure, statement.perhaps = found.reads, found.sure, found.perhaps
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                statement.reads = dict.fromkeys(at_definition(node, annotations=not self._postponed()))
            statement.changes = self.functions.changes(node, env) - statement.binds
            statement.effects = list(effects(node, guess.full, lambda one, now=dict(env): guess.kind(one, now)))  # type: ignore[misc]
            statement.reads.update(dict.fromkeys(_named_in_text(node, env, self.full)))
            self._called(statement)
            self.functions.follow([node], env)
            if any(isinstance(call.func, ast.Name) and call.func.id in self.functions.defined for call in calls(node)):
                held = [name for name in statement.changes if env.get(name, "").startswith(("list[", "dict["))]
                env.update({name: f"{env[name][:4]}[mixed]" for name in held})
            for name in statement.binds & self.functions.defined.keys():
                env[name] = "function"
            statement.kinds = {name: env.get(name, "") for name in statement.makes}

    def _called(self, statement: Statement) -> None:
        """What own functions need and do that the statement names goes for the statement, too."""
        if isinstance(statement.node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return
        for name in [one for one in statement.reads if one in self.functions.defined]:
            summary = self.functions.summary(name)
            statement.reads.update(dict.fromkeys(sorted(summary.reads - statement.sure)))
            statement.changes |= summary.touches - statement.binds
            for call in calls(statement.node):
                if dotted(call.func) == name:
                    given = dict(zip(summary.parameters, call.args, strict=False)) | {
                        one.arg: one.value for one in call.keywords if one.arg
                    }
                    statement.effects += [_given(effect, given, call.lineno) for effect in summary.deeds]

    def _roles(self) -> None:
        times = Counter(name for one in self.statements for name in one.binds)
        changed = {name for one in self.statements for name in one.changes}
        self._steady = {name for name, count in times.items() if count == 1 and name not in changed}
        used = {name for one in self.statements for name in one.reads}
        used |= {name for one in self.functions.defined for name in self.functions.summary(one).reads}
        pure: set[str] = {param.name for param in self.params}
        for statement in self.statements:
            if self._is_import(statement.node):
                statement.role = "import"
            elif self._is_definition(statement, times):
                statement.role = "define"
            elif self._is_left_out(statement):
                statement.role = "left_out"
            elif (
                (name := self._steady_name(statement)) is not None
                and name in used
                and self._is_pure(statement.node, pure)
            ):
                statement.role = "constant" if _literal(statement.node) else "derive"
                pure.add(name)
            elif self._is_setting(statement, pure):
                statement.role = "top"
            elif self._is_folder(statement, pure):
                statement.role = "folder"
        self._settle()

    def _is_import(self, node: ast.stmt) -> bool:
        if isinstance(node, (ast.Try, ast.If)):
            body = [
                *node.body,
                *node.orelse,
                *(one for handler in getattr(node, "handlers", []) for one in handler.body),
            ]
            simple = all(
                isinstance(one, (ast.Import, ast.ImportFrom, ast.Pass)) or _literal(one) or _says(one) for one in body
            )
            return simple and any(isinstance(one, (ast.Import, ast.ImportFrom)) for one in body)
        return isinstance(node, (ast.Import, ast.ImportFrom))

    def _is_definition(self, statement: Statement, times: Counter[str]) -> bool:
        names = statement.binds & self.functions.defined.keys()
        named = isinstance(statement.node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign))
        return bool(names) and named and all(times[name] == 1 for name in names)

    def _is_left_out(self, statement: Statement) -> bool:
        node = statement.node
        if isinstance(node, ast.Pass) or (
            isinstance(node, ast.Delete) and all(isinstance(one, ast.Name) for one in node.targets)
        ):
            return True
        if not isinstance(node, ast.Expr):
            return False
        return self._only_shows(node.value, statement)

    def _only_shows(self, value: ast.expr, statement: Statement) -> bool:
        """Whether an expression's value alone matters: as a statement it only shows it."""
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            if value.func.attr not in SHOWS or self.full(value.func) or is_true(keyword(value, "inplace")):
                return False
            return not statement.effects and all(not isinstance(one, ast.Lambda) for one in value.args)
        quiet = not any(True for _ in calls(value)) or all(
            (isinstance(one.func, ast.Attribute) and one.func.attr in SHOWS and not self.full(one.func))
            or dotted(one.func) in {"len", "type", "round"}
            for one in calls(value)
        )
        return quiet and not isinstance(value, (ast.Await, ast.Yield)) and not statement.effects

    def _steady_name(self, statement: Statement) -> str | None:
        node = statement.node
        target = (
            node.targets[0]
            if isinstance(node, ast.Assign) and len(node.targets) == 1
            else node.target
            if isinstance(node, ast.AnnAssign)
            else None
        )
        return target.id if isinstance(target, ast.Name) and target.id in self._steady else None

    def _is_pure(self, node: ast.stmt, pure: set[str]) -> bool:
        value = getattr(node, "value", None)
        if value is None or any(
            isinstance(one, (ast.Await, ast.Yield, ast.NamedExpr, ast.Lambda)) for one in ast.walk(value)
        ):
            return False
        if not all(self._pure_call(call) for call in calls(value)):
            return False
        names = flow([node]).reads
        return all(
            name in pure or name in self.aliases or name in _PURE_BUILTINS or name in {"True", "False", "__file__"}
            for name in names
        )

    def _pure_call(self, call: ast.Call) -> bool:
        full = self.full(call.func)
        if full:
            return full in _PURE and not (
                full == "pandas.to_datetime" and call.args and "now" in ast.unparse(call.args[0])
            )
        if isinstance(call.func, ast.Name):
            return call.func.id in _PURE_BUILTINS and call.func.id not in self.functions.defined
        return isinstance(call.func, ast.Attribute) and call.func.attr in _PURE_METHODS

    def _is_setting(self, statement: Statement, pure: set[str]) -> bool:
        node = statement.node
        known = all(
            name in self.aliases or name in pure - {one.name for one in self.params} or name in KNOWN
            for name in statement.reads
        )
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = self.full(node.value.func)
            return (
                known
                and name.startswith(_SETTINGS)
                and not name.startswith(("logging.info", "logging.warning", "logging.error", "logging.debug"))
            )
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        where = target.value if isinstance(target, ast.Subscript) else target
        return (
            known
            and where is not None
            and isinstance(target, (ast.Subscript, ast.Attribute))
            and self.full(where).startswith(_SET)
        )

    def _is_folder(self, statement: Statement, pure: set[str]) -> bool:
        node = statement.node
        inner = (
            node.body[0]
            if isinstance(node, ast.If)
            and len(node.body) == 1
            and not node.orelse
            and "exists" in ast.unparse(node.test)
            else node
        )
        call = inner.value if isinstance(inner, ast.Expr) else None
        if not isinstance(call, ast.Call) or [one.deed for one in statement.effects] != ["folder"]:
            return False
        repeats = is_true(keyword(call, "exist_ok")) or inner is not node
        return repeats and all(name in pure or name in self.aliases or name in KNOWN for name in statement.reads)

    def _settle(self) -> None:
        """What functions and settings of the file read must stand in it; functions that read variables cannot."""
        by_name = {name: one for one in self.statements if one.role in {"constant", "derive"} for name in one.binds}
        given = {param.name for param in self.params}
        moving = given | {name for one in self.statements if one.role == "work" for name in one.binds}
        moving |= {name for name, one in by_name.items() if self._depends(one, by_name, given)}
        definitions = [one for one in self.statements if one.role == "define"]
        needs = {one.number: self._needed(one) for one in definitions}
        for one in definitions:
            one.role = "define" if needs[one.number] & moving else "top"
        waiting = [
            name
            for one in self.statements
            if one.role in {"top", "define", "import"}
            for name in [*one.reads, *needs.get(one.number, ())]
        ]
        while waiting:
            name = waiting.pop()
            if name in by_name and name not in moving and by_name[name].role != "top":
                by_name[name].role = "top"
                waiting += by_name[name].reads

    def _needed(self, statement: Statement) -> set[str]:
        """What a definition reads when it is met and when it is called, with what it calls."""
        names: set[str] = set(statement.reads)
        for name in statement.binds:
            summary = self.functions.summary(name)
            names |= summary.reads | summary.touches
        for name in [*names]:
            if name in self.functions.defined:
                names |= self.functions.summary(name).reads | self.functions.summary(name).touches
        return names

    def _depends(self, statement: Statement, by_name: dict[str, Statement], given: set[str]) -> bool:
        return any(
            name in given
            or (name in by_name and by_name[name] is not statement and self._depends(by_name[name], by_name, given))
            for name in statement.reads
        )


def _given(effect: Effect, given: Mapping[str, ast.expr], line: int) -> Effect:
    path = given.get(effect.path.id, effect.path) if isinstance(effect.path, ast.Name) else effect.path
    return Effect(effect.deed, line, effect.told, path, effect.stream)


def _named_in_text(node: ast.stmt, known: Mapping[str, str], full: Callable[[ast.AST], str]) -> list[str]:
    """Names that `df.query("a > @limit")` and `duckdb.sql("from df")` read out of a text."""
    found: list[str] = []
    for call in calls(node):
        texts = [
            one.value
            for one in [*call.args, *(word.value for word in call.keywords)]
            if isinstance(one, ast.Constant) and isinstance(one.value, str)
        ]
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"query", "eval"} and not full(call.func):
            found += [name for text in texts for name in re.findall(r"@([A-Za-z_]\w*)", text)]
        elif full(call.func).startswith(("duckdb.", "polars.sql")) or (
            isinstance(call.func, ast.Attribute) and call.func.attr == "sql"
        ):
            found += [name for text in texts for name in re.findall(r"\b[A-Za-z_]\w*\b", text) if name in known]
    return found


def _aliases(tree: ast.Module) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias, name in zip(node.names, imported(node), strict=True):
                found[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom) and node.names[0].name != "*":
            module = "." * node.level + (node.module or "")
            found |= {name: f"{module}.{alias.name}" for alias, name in zip(node.names, imported(node), strict=True)}
    return found


def _literal(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
    try:
        ast.literal_eval(value) if value is not None else None
    except (ValueError, TypeError, SyntaxError):
        return False
    return value is not None


def _says(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and dotted(node.value.func) in {"print", "warnings.warn"}
    )


def immutable(kind: str) -> bool:
    """Whether values of the kind cannot be changed in place."""
    return kind in IMMUTABLE or kind.startswith("tuple")
