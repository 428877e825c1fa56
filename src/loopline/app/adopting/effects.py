"""What code does beside computing values: files, network, time, chance, programs; call by call."""

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from loopline.app.adopting.calls import calls, dotted, keyword

Deed = Literal[
    "read",
    "write",
    "folder",
    "network",
    "send",
    "clock",
    "draw",
    "seed",
    "shell",
    "remove",
    "draws",
    "database",
    "asks",
    "folder_change",
]


@dataclass(frozen=True)
class Effect:
    """One deed: `path` is the expression of a file it is done to, `stream` the shared state of chance it draws from."""

    deed: Deed
    line: int
    told: str
    path: ast.expr | None = None
    stream: str = ""


_READERS = {"numpy.load": 0, "numpy.loadtxt": 0, "numpy.genfromtxt": 0, "joblib.load": 0, "glob.glob": 0, "glob.iglob": 0, "os.listdir": 0,
            "os.scandir": 0, "xarray.open_dataset": 0, "matplotlib.pyplot.imread": 0, "PIL.Image.open": 0, "deltalake.DeltaTable": 0}  # fmt: skip
_WRITERS = {"numpy.save": 0, "numpy.savez": 0, "numpy.savez_compressed": 0, "numpy.savetxt": 0, "joblib.dump": 1,
            "matplotlib.pyplot.savefig": 0, "shutil.copy": 1, "shutil.copyfile": 1, "deltalake.write_deltalake": 0}  # fmt: skip
WRITING_METHODS = {
    "to_csv", "to_parquet", "to_json", "to_excel", "to_feather", "to_pickle", "to_html", "to_latex", "to_stata", "write_csv", "write_parquet", "write_json",
    "write_ndjson", "write_excel", "sink_csv", "sink_parquet", "savefig", "write_text", "write_bytes", "write_html", "write_image", "write_delta", "save_model",
}  # fmt: skip
_READING_METHODS = {"read_text", "read_bytes", "iterdir", "glob", "rglob"}
_ON_PATHS = {"write_text", "write_bytes"}
_CLOCKS = {"datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today", "time.time", "time.localtime",
           "pandas.Timestamp.now", "pandas.Timestamp.today", "pandas.Timestamp.utcnow", "time.strftime", "time.time_ns"}  # fmt: skip
_REMOVES = {"os.remove", "os.unlink", "os.rename", "os.replace", "shutil.rmtree", "shutil.move", "os.rmdir"}
_SEEDS = {
    "numpy.random.seed": "<numpy.random>",
    "random.seed": "<random>",
    "torch.manual_seed": "<torch>",
    "tensorflow.random.set_seed": "<tensorflow>",
}
_SENDS = {"post", "put", "patch", "delete"}
_CHANCY = (
    "RandomForest", "ExtraTree", "DecisionTree", "GradientBoosting", "SGD", "MLP", "KMeans", "IsolationForest", "Bagging", "AdaBoost",
    "TSNE", "LinearSVC", "ShuffleSplit", "RandomizedSearch", "GaussianMixture", "NMF", "train_test_split", "shuffle", "resample",
    "make_classification", "make_regression", "make_blobs", "make_moons", "permutation_importance", "SMOTE", "RandomOverSampler", "RandomUnderSampler",
)  # fmt: skip
_REMOTE = ("http://", "https://", "s3://", "gs://", "gcs://", "az://", "abfs://", "ftp://", "hdfs://")
_NETWORKED = {
    "requests",
    "httpx",
    "urllib",
    "aiohttp",
    "boto3",
    "smtplib",
    "ftplib",
    "paramiko",
    "openai",
    "anthropic",
    "yfinance",
    "google",
    "azure",
    "socket",
}
_NOT_NETWORK = {"urllib.parse", "requests.exceptions"}

Full = Callable[[ast.AST], str]
Kind = Callable[[ast.expr], str]


def effects(node: ast.AST, full: Full, kind: Kind) -> Iterator[Effect]:
    """What running the code does, in order; what own functions do that it calls is not in it."""
    for call in calls(node):
        name = full(call.func) or (dotted(call.func) if isinstance(call.func, ast.Name) else "")
        for look in (_files, _opened, _world, _chance):
            yield from look(call, name, kind)
        if isinstance(call.func, ast.Attribute):
            yield from _methods(call, call.func, name, kind)


def _files(call: ast.Call, name: str, _kind: Kind) -> Iterator[Effect]:
    if name.startswith(("pandas.read_", "polars.read_", "polars.scan_")):
        path = _argument(call, 0, "path", "filepath_or_buffer", "source", "io", "path_or_buf")
        if "sql" in name or "database" in name:
            source = _argument(call, 1, "con", "connection")
            yield Effect("database", call.lineno, name, source)
        elif remote(path):
            yield Effect("network", call.lineno, f"{name} from an address", path)
        else:
            yield Effect("read", call.lineno, name, path)
    elif name in _READERS:
        yield Effect("read", call.lineno, name, _argument(call, _READERS[name]))
    elif name in _WRITERS:
        yield Effect("write", call.lineno, name, _argument(call, _WRITERS[name]))
    elif name in {"os.makedirs", "os.mkdir"}:
        yield Effect("folder", call.lineno, name, _argument(call, 0, "name"))
    elif name == "os.chdir":
        yield Effect("folder_change", call.lineno, name)
    elif name in _REMOVES:
        yield Effect("remove", call.lineno, name, _argument(call, 0))


def _opened(call: ast.Call, name: str, _kind: Kind) -> Iterator[Effect]:
    on_path = isinstance(call.func, ast.Attribute) and call.func.attr == "open" and not name
    if name not in {"open", "io.open", "gzip.open", "bz2.open"} and not on_path:
        return
    mode = _argument(call, 0 if on_path else 1, "mode")
    path = call.func.value if on_path and isinstance(call.func, ast.Attribute) else _argument(call, 0, "file")
    written = isinstance(mode, ast.Constant) and isinstance(mode.value, str) and set(mode.value) & set("wax+")
    yield Effect("write" if written else "read", call.lineno, "open", path)


def _methods(call: ast.Call, func: ast.Attribute, name: str, kind: Kind) -> Iterator[Effect]:
    method = func.attr
    if method in WRITING_METHODS and not name and (call.args or call.keywords):
        path = (
            func.value
            if method in _ON_PATHS
            else _argument(call, 0, "path", "path_or_buf", "fname", "file", "excel_writer", "buf")
        )
        if path is not None:
            yield Effect("write", call.lineno, method, path)
    elif method == "to_sql":
        yield Effect("send", call.lineno, "to_sql writes into a database", None)
    elif method in _READING_METHODS and kind(func.value) in {"path", ""} and not name:
        yield Effect("read", call.lineno, method, func.value)
    elif method == "mkdir" and not name:
        yield Effect("folder", call.lineno, method, func.value)
    elif method == "unlink" and not name:
        yield Effect("remove", call.lineno, method, func.value)
    elif method == "sample" and not name and keyword(call, "random_state") is None and keyword(call, "seed") is None:
        of = kind(func.value)
        stream = "<numpy.random>" if of.startswith(("pd.", "groups")) else "<polars>"
        yield from (
            [Effect("draw", call.lineno, ".sample()", stream=stream)] if of.startswith(("pd.", "pl.", "groups")) else []
        )


def _world(call: ast.Call, name: str, _kind: Kind) -> Iterator[Effect]:
    top, _, last = name.partition(".")[0], "", name.rpartition(".")[2]
    if name in _CLOCKS or (name == "pandas.to_datetime" and _says(call, "now", "today")):
        yield Effect("clock", call.lineno, f"{last}()")
    elif name in {"os.system", "os.popen"} or top == "subprocess":
        yield Effect("shell", call.lineno, name)
    elif name in {"input", "getpass.getpass"}:
        yield Effect("asks", call.lineno, f"{name}()")
    elif top in _NETWORKED and "." in name and not name.startswith(tuple(_NOT_NETWORK)):
        yield Effect("send" if last in _SENDS or top == "smtplib" else "network", call.lineno, name)
    elif name == "drawn":
        yield Effect("draws", call.lineno, "drawn.show")
    elif last in {"urlopen", "urlretrieve"}:
        yield Effect("network", call.lineno, name)
    elif name.startswith(("matplotlib.pyplot.", "seaborn.", "pylab.")) and last not in {
        "set",
        "set_theme",
        "set_style",
        "switch_backend",
        "use",
    }:
        yield Effect("draws", call.lineno, name)
    elif (
        isinstance(call.func, ast.Attribute)
        and call.func.attr in {"plot", "hist", "boxplot"}
        and not name
        and _kind(call.func.value).startswith("pd.")
    ):
        yield Effect("draws", call.lineno, f".{call.func.attr}()")
    elif (
        isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Attribute)
        and call.func.value.attr == "plot"
    ):
        yield Effect("draws", call.lineno, f".plot.{call.func.attr}()")


def _chance(call: ast.Call, name: str, _kind: Kind) -> Iterator[Effect]:
    last = name.rpartition(".")[2]
    if name in _SEEDS:
        yield Effect("seed", call.lineno, name, stream=_SEEDS[name])
    elif name in {"numpy.random.default_rng", "numpy.random.RandomState", "random.Random"}:
        if not call.args and not call.keywords:
            yield Effect("draw", call.lineno, f"{last}() without a seed")
    elif name.startswith("numpy.random."):
        yield Effect("draw", call.lineno, name, stream="<numpy.random>")
    elif name.startswith("random.") and name.count(".") == 1:
        yield Effect("draw", call.lineno, name, stream="<random>")
    elif name.startswith(("torch.rand", "torch.nn.")):
        yield Effect("draw", call.lineno, name, stream="<torch>")
    elif name.startswith(("uuid.uuid1", "uuid.uuid4", "secrets.")):
        yield Effect("draw", call.lineno, name)
    elif _chancy(call, name, last):
        yield Effect("draw", call.lineno, f"{last} without random_state", stream="<numpy.random>")


def _chancy(call: ast.Call, name: str, last: str) -> bool:
    if not name.startswith(("sklearn.", "imblearn.")) or keyword(call, "random_state") is not None:
        return False
    if any(one.arg is None for one in call.keywords):  # **params may hold it
        return False
    shuffled = last in {"KFold", "StratifiedKFold"} and keyword(call, "shuffle") is not None
    kept = (
        (shuffle := keyword(call, "shuffle")) is not None
        and isinstance(shuffle, ast.Constant)
        and shuffle.value is False
    )
    plain = last.startswith("HistGradientBoosting")  # draws only to subsample for its bins, or with early stopping
    return (shuffled or last.startswith(_CHANCY) or plain) and not kept


def _says(call: ast.Call, *words: str) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value in words


def _argument(call: ast.Call, place: int, *names: str) -> ast.expr | None:
    if len(call.args) > place and not any(isinstance(one, ast.Starred) for one in call.args[: place + 1]):
        return call.args[place]
    return next((value for name in names if (value := keyword(call, name)) is not None), None)


def remote(path: ast.expr | None) -> bool:
    """Whether a path is an address elsewhere."""
    text = path.value if isinstance(path, ast.Constant) else ""
    if isinstance(path, ast.JoinedStr) and path.values and isinstance(path.values[0], ast.Constant):
        text = path.values[0].value
    return isinstance(text, str) and text.startswith(_REMOTE)


def folded(  # noqa: PLR0911 - one for each kind of expression
    node: ast.expr | None, known: Mapping[str, ast.expr], full: Full, *, depth: int = 6
) -> str:
    """The path an expression makes, as far as the code tells: `*` stands for what is not known."""
    if node is None or depth == 0:
        return "*"
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return folded(known.get(node.id), known, full, depth=depth - 1)
    again: Callable[[ast.expr], str] = lambda one: folded(one, known, full, depth=depth - 1)  # noqa: E731
    if isinstance(node, ast.JoinedStr):
        return "".join(again(one.value if isinstance(one, ast.FormattedValue) else one) for one in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Div)):
        return (
            again(node.left).rstrip("/" if isinstance(node.op, ast.Div) else "")
            + ("/" if isinstance(node.op, ast.Div) else "")
            + again(node.right)
        )
    if isinstance(node, ast.Call):
        return _folded_call(node, full(node.func), again)
    return "*"


def _folded_call(node: ast.Call, name: str, again: Callable[[ast.expr], str]) -> str:
    if name in {"os.path.join", "pathlib.Path", "pathlib.PurePath"} and node.args:
        return "/".join(again(one).rstrip("/") for one in node.args)
    if isinstance(node.func, ast.Name) and node.func.id == "str" and node.args:
        return again(node.args[0])
    if isinstance(node.func, ast.Attribute) and node.func.attr == "joinpath":
        return "/".join([again(node.func.value), *(again(one) for one in node.args)])
    if name in {"os.path.expanduser", "os.path.abspath"} and node.args:
        return again(node.args[0])
    return "*"


def same_file(one: str, other: str) -> bool:
    """Whether two paths may be of one file, or one of a folder that holds the other; `*` may be anything."""
    first, second = (text.removeprefix("./").partition("*") for text in (one, other))
    if not first[1] and not second[1]:
        return first[0] == second[0] or first[0].startswith(f"{second[0]}/") or second[0].startswith(f"{first[0]}/")
    if first[1] and second[1]:
        return first[0].startswith(second[0]) or second[0].startswith(first[0])
    fixed, (before, _, after) = (second[0], first) if first[1] else (first[0], second)
    ending = after.rpartition("*")[2]
    return (fixed.startswith(before) and fixed.endswith(ending)) or before.startswith(f"{fixed}/")
