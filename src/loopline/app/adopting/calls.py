"""What well-known calls do beside their value: which change what they are called on, which only show, draw or speak."""

import ast
from collections.abc import Iterator

MUTATES = {
    "append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "update", "setdefault", "add", "discard", "popitem",
    "appendleft", "popleft", "extendleft", "rotate", "fit", "fit_transform", "fit_predict", "fit_resample", "partial_fit", "set_params",
    "write", "writelines", "writerow", "writerows", "read", "readline", "readlines", "seek", "close", "fill", "itemset", "partition",
    "setflags", "execute", "executemany", "executescript", "commit", "rollback", "cursor", "subtract", "intersection_update",
    "difference_update", "train", "backward", "step", "zero_grad", "compile", "load_state_dict", "put", "get_nowait", "send",
    "drop_in_place", "replace_column", "insert_column", "resize", "put_nowait", "register", "shuffle", "random", "normal", "integers",
    "choice", "uniform", "permutation", "standard_normal", "poisson", "binomial", "exponential", "gamma", "beta", "permuted", "randint",
    "randrange", "gauss", "sample_rng", "fetchone", "fetchmany", "fetchall", "move_to_end", "set_index_inplace", "add_argument",
}  # fmt: skip
"""Methods that change what they are called on."""

CHANGES_FIRST = {
    "next", "heapq.heappush", "heapq.heappop", "heapq.heapify", "random.shuffle", "np.random.shuffle", "numpy.random.shuffle",
    "np.copyto", "np.fill_diagonal", "np.put", "np.place", "np.putmask", "setattr", "delattr", "bisect.insort", "rng.shuffle",
}  # fmt: skip
"""Functions that change their first argument."""

SHOWS = {
    "head", "tail", "describe", "info", "sample", "value_counts", "nunique", "isna", "isnull", "sum", "mean", "median", "std", "var", "min",
    "max", "corr", "count", "unique", "glimpse", "schema", "collect_schema", "round", "sort_values", "sort_index", "groupby", "group_by", "agg", "size",
    "to_string", "get_feature_names_out", "get_params", "summary", "duplicated", "any", "all", "null_count", "shape", "mode", "quantile",
    "nlargest", "nsmallest", "items", "keys", "values", "tolist", "to_list", "notna", "notnull", "memory_usage", "pivot_table",
    "crosstab", "apply_style", "style", "format", "reset_index", "select", "filter", "sort", "with_columns", "top_k", "T", "dtypes",
    "transpose", "columns", "index", "reshape", "skew", "kurt", "cumsum", "diff", "pct_change", "rank", "idxmax", "idxmin", "dropna",
    "fillna", "loc", "iloc", "isin", "query", "to_frame", "unstack", "stack", "melt", "drop", "rename", "join", "merge", "abs", "len",
}  # fmt: skip
"""Methods of frames and series whose value alone matters; as a statement they only show it (unless with `inplace=True`)."""

QUIET = {
    "print",
    "display",
    "pprint",
    "len",
    "type",
    "isinstance",
    "help",
    "id",
    "repr",
    "str",
    "sorted",
    "max",
    "min",
    "sum",
    "abs",
}
"""Functions that change nothing they are given."""

QUIET_MODULES = {
    "plt",
    "matplotlib",
    "sns",
    "seaborn",
    "logging",
    "logger",
    "log",
    "warnings",
    "time",
    "os",
    "gc",
    "px",
    "go",
    "sys",
    "json",
    "pickle",
    "joblib",
}
"""Modules whose functions change none of their arguments."""

PLOTS = {"plt", "sns", "px", "alt", "pylab"}
"""What plotting libraries are called."""

FIGURE_METHODS = {"plot", "hist", "boxplot", "bar", "barh", "scatter", "imshow", "heatmap", "pie"}


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a chain of names; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def root(node: ast.AST) -> str | None:
    """The name that attributes, items and methods hang on: `df` of `df.loc[m, "a"].fillna(0)`."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call, ast.Starred, ast.Await)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """Every call that runs when the code runs; not those inside of functions it defines."""
    if isinstance(node, ast.Call):
        yield node
    for part in ast.iter_child_nodes(node):
        if not isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from calls(part)


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """What is given for a keyword."""
    return next((one.value for one in call.keywords if one.arg == name), None)


def is_true(node: ast.expr | None) -> bool:
    """Whether it is the literal True."""
    return isinstance(node, ast.Constant) and node.value is True
