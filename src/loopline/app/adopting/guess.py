"""What kind of value an expression has, as far as the code tells: it decides what can go from one step to another."""

import ast
from collections.abc import Callable, Mapping

from loopline.app.adopting.calls import dotted, keyword
from loopline.app.adopting.libraries import FRAME_METHODS, FUNCTIONS, MODULES, NUMBERS, POLARS_METHODS, SERIES_METHODS

UNKNOWN = ""
FRAMES = {"pd.DataFrame", "pd.Series", "pd.DataFrame | pd.Series", "pl.DataFrame", "pl.Series"}
PANDAS = {"pd.DataFrame", "pd.Series", "pd.DataFrame | pd.Series"}
PLAIN = {"int", "float", "str", "bool", "bytes", "None"}
MEASURED = "np.float64"
CROSSES = {*FRAMES, *PLAIN, "np.ndarray", MEASURED} - {"pl.Series", "None"}
IMMUTABLE = {*PLAIN, MEASURED, "pd.Timestamp", "datetime", "date", "timedelta", "function", "class"}

Call = Callable[[str, ast.Call, Mapping[str, str]], str]


def crosses(kind: str) -> bool:
    """Whether a value of the kind can go from one step to another without pickle."""
    if kind.startswith("list["):
        return kind[5:-1] in {"int", "float", "str", "bool"}
    if kind.startswith("dict[str, "):
        return kind[10:-1] in {"int", "float", "str", "bool", MEASURED}
    return kind in CROSSES


class Guess:
    """Guesses kinds of expressions, given those of names, the modules that names stand for and what own functions return."""

    def __init__(self, aliases: Mapping[str, str], own: Call) -> None:
        self._aliases, self._own = aliases, own

    def full(self, node: ast.AST) -> str:
        """The dotted name with its module spelled out: `pandas.read_csv` of `pd.read_csv`; empty where no import made it."""
        name = dotted(node)
        first, _, rest = name.partition(".")
        module = self._aliases.get(first)
        return "" if not name or module is None else f"{module}.{rest}" if rest else module

    def kind(self, node: ast.expr, env: Mapping[str, str]) -> str:
        """The kind of an expression's value: `pd.DataFrame`, `float`, `list[str]`, ...; empty if the code does not tell."""
        ask = _KINDS.get(type(node))
        return ask(self, node, env) if ask else UNKNOWN

    def constant(self, node: ast.Constant, _env: Mapping[str, str]) -> str:
        """A literal's."""
        return "None" if node.value is None else type(node.value).__name__

    def name(self, node: ast.Name, env: Mapping[str, str]) -> str:
        """A name's, as it was made last."""
        return env.get(node.id, UNKNOWN)

    def sequence(self, node: ast.List | ast.ListComp | ast.GeneratorExp, env: Mapping[str, str]) -> str:
        """A list's, if its elements are of one kind."""
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            return f"list[{self.kind(node.elt, {**env, **self._targets(node, env)})}]"
        kinds = {self.kind(one, env) for one in node.elts}
        return f"list[{kinds.pop()}]" if len(kinds) == 1 else "list[mixed]" if kinds else "list[]"

    def _targets(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp, env: Mapping[str, str]) -> dict[str, str]:
        made = {}
        for part in node.generators:
            if isinstance(part.target, ast.Name):
                made[part.target.id] = element(self.kind(part.iter, env))
        return made

    def mapping(self, node: ast.Dict | ast.DictComp, env: Mapping[str, str]) -> str:
        """A dict's, if its keys are strings and its values of one kind."""
        if isinstance(node, ast.DictComp):
            inside = {**env, **self._targets(node, env)}
            return f"dict[{self.kind(node.key, inside)}, {self.kind(node.value, inside)}]"
        keys = {self.kind(key, env) if key is not None else UNKNOWN for key in node.keys}
        values = {self.kind(value, env) for value in node.values}
        if values == {"float", MEASURED}:
            values = {MEASURED}
        if not keys:
            return "dict[]"
        return f"dict[{keys.pop()}, {values.pop()}]" if len(keys) == 1 and len(values) == 1 else "dict[mixed]"

    def choice(self, node: ast.IfExp, env: Mapping[str, str]) -> str:
        """That of both branches."""
        first, second = self.kind(node.body, env), self.kind(node.orelse, env)
        return first if first == second else UNKNOWN

    def comparison(self, node: ast.Compare, env: Mapping[str, str]) -> str:
        """A truth, or one for each row."""
        left = self.kind(node.left, env)
        right = self.kind(node.comparators[0], env)
        return next(
            (kind for kind in (left, right) if kind in FRAMES or kind == "np.ndarray"), self._truth(left, right)
        )

    def _truth(self, left: str, right: str) -> str:
        return "bool" if {left, right} <= PLAIN else UNKNOWN

    def arithmetic(self, node: ast.BinOp, env: Mapping[str, str]) -> str:
        """The widest of both sides."""
        left, right = self.kind(node.left, env), self.kind(node.right, env)
        for wide in (
            "pd.DataFrame",
            "pl.DataFrame",
            "pd.Series",
            "pl.Series",
            "pd.DataFrame | pd.Series",
            "np.ndarray",
        ):
            if wide in {left, right}:
                return wide
        if left == "path" and isinstance(node.op, ast.Div):
            return "path"
        if left == right and left in {"str", "int"} and not isinstance(node.op, (ast.Div, ast.Pow)):
            return left
        if left == "str" and isinstance(node.op, ast.Mod):
            return "str"
        if {left, right} <= {"int", "float", "bool", MEASURED}:
            return MEASURED if MEASURED in {left, right} else "float"
        return left if left == right and left.startswith("list[") else UNKNOWN

    def unary(self, node: ast.UnaryOp, env: Mapping[str, str]) -> str:
        """That of what it is applied to; `not` makes a truth."""
        return "bool" if isinstance(node.op, ast.Not) else self.kind(node.operand, env)

    def attribute(self, node: ast.Attribute, env: Mapping[str, str]) -> str:
        """Attributes of frames, series and arrays."""
        of = self.kind(node.value, env)
        if of in FRAMES or of == "np.ndarray":
            known = {
                "T": of,
                "values": "np.ndarray",
                "shape": "tuple[int]",
                "size": "int",
                "columns": "index",
                "index": "index",
            }
            known |= {"str": "accessor:str", "dt": "accessor:dt", "loc": f"loc:{of}", "iloc": f"loc:{of}"}
            column = "pd.Series" if of == "pd.DataFrame" and node.attr not in FRAME_METHODS else UNKNOWN
            return known.get(node.attr, column)
        if of == "accessor:dt":
            return "pd.Series"
        return (
            "np.ndarray"
            if of == "index" and node.attr == "values"
            else MEASURED
            if node.attr.endswith("_score_")
            else UNKNOWN
        )

    def item(self, node: ast.Subscript, env: Mapping[str, str]) -> str:  # noqa: PLR0911 - one for each kind
        """Columns, rows and elements."""
        of = self.kind(node.value, env)
        key = node.slice
        if of == "pd.DataFrame":
            return "pd.Series" if self.kind(key, env) == "str" else of if self._many(key, env) else UNKNOWN
        if of == "pd.Series":
            return of if self._many(key, env) else UNKNOWN
        if of == "pl.DataFrame":
            return "pl.Series" if self.kind(key, env) == "str" else of if self._many(key, env) else UNKNOWN
        if of.startswith("loc:"):
            return self._located(of[4:], key, env)
        if of.startswith("groups"):
            return "groups:one" if self.kind(key, env) == "str" else of
        if of == "np.ndarray":
            return of if isinstance(key, (ast.Slice, ast.Tuple)) or self._many(key, env) else UNKNOWN
        return element(of)

    def _many(self, key: ast.expr, env: Mapping[str, str]) -> bool:
        kind = self.kind(key, env)
        if isinstance(key, (ast.UnaryOp, ast.BinOp)) and not isinstance(key, ast.Constant):
            inner = key.operand if isinstance(key, ast.UnaryOp) else key.left
            return self._many(inner, env) or kind in FRAMES
        return (
            kind in FRAMES
            or kind == "np.ndarray"
            or kind.startswith("list[")
            or isinstance(key, (ast.Slice, ast.Compare))
        )

    def _located(self, of: str, key: ast.expr, env: Mapping[str, str]) -> str:
        if isinstance(key, ast.Tuple) and len(key.elts) == 2:  # noqa: PLR2004 - rows, columns
            rows, columns = (self._many(one, env) for one in key.elts)
            return of if rows and columns else "pd.Series" if rows or columns else UNKNOWN
        return of if self._many(key, env) else UNKNOWN

    def call(self, node: ast.Call, env: Mapping[str, str]) -> str:
        """Of well-known functions and methods, of own functions by what they return."""
        full = self.full(node.func)
        if full:
            return self._function(full, node, env)
        if isinstance(node.func, ast.Name):
            own = self._own(node.func.id, node, env)
            return own or self._builtin(node.func.id, node, env)
        if isinstance(node.func, ast.Attribute):
            return self._method(self.kind(node.func.value, env), node.func.attr, node, env)
        return UNKNOWN

    def _function(self, full: str, node: ast.Call, env: Mapping[str, str]) -> str:
        last = full.rpartition(".")[2]
        if full == "pandas.concat":
            of = element(self.kind(node.args[0], env)) if node.args else UNKNOWN
            return "pd.DataFrame" if keyword(node, "axis") is not None else of or "pd.DataFrame | pd.Series"
        if full.startswith("pandas.read_") and (keyword(node, "chunksize") or keyword(node, "iterator")):
            return "chunks"
        if full in {"pandas.to_datetime", "pandas.to_numeric", "pandas.cut", "pandas.qcut"}:
            of = self.kind(node.args[0], env) if node.args else UNKNOWN
            return of if of in PANDAS else "pd.Timestamp" if full.endswith("datetime") and of == "str" else UNKNOWN
        if full.startswith("sklearn.metrics") and last in NUMBERS:
            return MEASURED
        if full.startswith(("numpy.", "scipy.")) and last in {
            "mean",
            "sum",
            "std",
            "median",
            "sqrt",
            "abs",
            "log",
            "max",
            "min",
            "exp",
            "log1p",
            "var",
        }:
            of = self.kind(node.args[0], env) if node.args else UNKNOWN
            return (
                (of if last in {"sqrt", "abs", "log", "exp", "log1p"} and of in {*FRAMES, "np.ndarray"} else MEASURED)
                if of
                else UNKNOWN
            )
        return FUNCTIONS.get(full, MODULES.get(full.partition(".")[0], UNKNOWN) if last[:1].isupper() else UNKNOWN)

    def _builtin(self, name: str, node: ast.Call, env: Mapping[str, str]) -> str:  # noqa: PLR0911 - one for each kind
        if name in {"len", "int", "id", "ord", "hash"}:
            return "int"
        if name == "range":
            return "list[int]"
        if name == "drawn":
            return "bytes"
        if name in {"float", "str", "bool", "repr", "bytes"}:
            return "str" if name == "repr" else name
        of = self.kind(node.args[0], env) if node.args else UNKNOWN
        if name in {"list", "sorted"}:
            return f"list[{element(of)}]"
        if name in {"sum", "max", "min", "round", "abs"}:
            inner = element(of) if name in {"sum", "max", "min"} and len(node.args) == 1 else of
            return (
                "int"
                if name == "round" and of == "float" and len(node.args) == 1
                else inner
                if inner in {"int", "float", MEASURED}
                else UNKNOWN
            )
        return UNKNOWN

    def _method(self, of: str, method: str, node: ast.Call, env: Mapping[str, str]) -> str:  # noqa: PLR0911 - one for each kind
        if keyword(node, "inplace") is not None:
            return "None"
        if of == "pd.DataFrame":
            return _frame(method, node, FRAME_METHODS)
        if of in {"pd.Series", "pd.DataFrame | pd.Series"}:
            found = SERIES_METHODS.get(method, UNKNOWN)
            return found if of == "pd.Series" or found != MEASURED else UNKNOWN
        if of.startswith("pl.") or of in {"lazy", "pl.groups"}:
            return POLARS_METHODS.get((of, method), UNKNOWN)
        if of.startswith("accessor:"):
            return "pd.DataFrame" if method in {"extractall", "get_dummies"} or keyword(node, "expand") else "pd.Series"
        if of.startswith("groups"):
            return _grouped(of, method, node)
        if of == "index":
            return {"tolist": "list[str]", "to_list": "list[str]"}.get(method, "index")
        return self._of_object(of, method, node, env)

    def _of_object(self, of: str, method: str, node: ast.Call, env: Mapping[str, str]) -> str:  # noqa: PLR0911 - one for each kind
        first = self.kind(node.args[0], env) if node.args else UNKNOWN
        if of == "np.ndarray":
            return {"mean": MEASURED, "sum": MEASURED, "std": MEASURED, "min": MEASURED, "max": MEASURED, "tolist": UNKNOWN}.get(method, of) \
                if not (node.args or node.keywords) or method in {"reshape", "astype", "copy", "ravel", "clip", "dot"} else UNKNOWN  # fmt: skip
        if of in {"estimator", "fitted"}:
            arrays = {"predict", "predict_proba", "decision_function", "fit_predict", "predict_log_proba"}
            known = {"fit": "estimator", "score": MEASURED} | dict.fromkeys(arrays, "np.ndarray")
            return known.get(method, "np.ndarray" if "transform" in method and of == "estimator" and first else UNKNOWN)
        if of == "path" and method in {"read_text", "read_bytes"}:
            return "str" if method == "read_text" else "bytes"
        if of == "rng":
            return "np.ndarray" if keyword(node, "size") or len(node.args) > 1 else UNKNOWN
        if not of and method in {"upper", "lower", "title", "capitalize", "strip", "strftime", "isoformat"}:
            return "str"
        if of == "str":
            return "list[str]" if method in {"split", "splitlines"} else "bytes" if method == "encode" else "str"
        if of.startswith("dict[str") and method in {"get", "pop"}:
            return UNKNOWN
        return (
            {"items": f"items:{of}", "keys": "list[str]", "values": f"list[{element(of)}]"}.get(method, UNKNOWN)
            if of.startswith("dict[str")
            else UNKNOWN
        )


def _frame(method: str, node: ast.Call, methods: Mapping[str, str]) -> str:
    if method in {"groupby", "resample", "rolling", "expanding", "ewm"}:
        return (
            "groups:flat"
            if isinstance(flat := keyword(node, "as_index"), ast.Constant) and flat.value is False
            else "groups"
        )
    if method in {"to_csv", "to_json", "to_html"} and not node.args:
        return "str"
    if method == "to_dict":
        return UNKNOWN
    if method in {"apply", "agg", "aggregate", "squeeze", "stack", "unstack", "iterrows"}:
        return "pd.DataFrame | pd.Series" if method not in {"iterrows", "squeeze"} else UNKNOWN
    return methods.get(method, UNKNOWN)


def _grouped(of: str, method: str, node: ast.Call) -> str:
    if method in {"size", "ngroup", "cumcount"}:
        return "pd.Series" if of != "groups:flat" else "pd.DataFrame"
    if method in {"transform", "shift", "diff", "cumsum", "rank", "ffill", "bfill", "pct_change", "cumprod"}:
        return "pd.Series" if of == "groups:one" else "pd.DataFrame"
    if method in {"rolling", "resample", "expanding", "groupby", "ewm"}:
        return of
    if method in {"apply", "pipe"}:
        return "pd.DataFrame | pd.Series"
    if method in {"agg", "aggregate"}:
        several = (bool(node.args) and isinstance(node.args[0], (ast.List, ast.Dict))) or bool(node.keywords)
        return "pd.DataFrame" if several or of != "groups:one" else "pd.Series"
    return "pd.Series" if of == "groups:one" else "pd.DataFrame"


def element(kind: str) -> str:
    """The kind of what a list or dict holds."""
    if kind.startswith(("list[", "tuple[")):
        return kind[kind.index("[") + 1 : -1]
    if kind.startswith("dict["):
        return kind[:-1].partition(", ")[2]
    return "str" if kind in {"index", "str"} else UNKNOWN


_KINDS: dict[type[ast.expr], Callable[..., str]] = {
    ast.Constant: Guess.constant,
    ast.Name: Guess.name,
    ast.List: Guess.sequence,
    ast.ListComp: Guess.sequence,
    ast.GeneratorExp: Guess.sequence,
    ast.Dict: Guess.mapping,
    ast.DictComp: Guess.mapping,
    ast.IfExp: Guess.choice,
    ast.Compare: Guess.comparison,
    ast.BinOp: Guess.arithmetic,
    ast.UnaryOp: Guess.unary,
    ast.Attribute: Guess.attribute,
    ast.Subscript: Guess.item,
    ast.Call: Guess.call,
    ast.JoinedStr: lambda _guess, _node, _env: "str",
    ast.Lambda: lambda _guess, _node, _env: "function",
}
