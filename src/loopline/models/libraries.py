"""Which versions of libraries a model was made with."""

from importlib.metadata import version

from loopline.models.runtimes.runtime import Format

_LIBRARIES: dict[Format, tuple[str, ...]] = {
    "onnx": ("scikit-learn", "skl2onnx", "onnx", "onnxruntime"),
    "skops": ("scikit-learn", "skops"),
    "lightgbm": ("lightgbm",),
    "xgboost": ("xgboost",),
    "safetensors": ("onnx", "onnxruntime"),
    "python": (),
    "graph": (),
}
_SOURCES: dict[tuple[Format, str], tuple[str, ...]] = {
    ("onnx", "lightgbm"): ("lightgbm", "onnx", "onnxruntime"),
    ("onnx", "xgboost"): ("xgboost", "onnx", "onnxruntime"),
}
_DISTRIBUTIONS = {"xgboost": ("xgboost", "xgboost-cpu")}
_ALWAYS = ("loopline", "numpy")


def libraries_of(name: Format, source: str = "") -> dict[str, str]:
    """The versions of the libraries that a package in this format, made from an estimator of `source`, rests on, as they are
    installed.
    """
    made = _SOURCES.get((name, source), _LIBRARIES[name])
    return {library: _version(library) for library in (*_ALWAYS, *made)}


def _version(name: str) -> str:
    """Of the distribution that is installed: some libraries come under more than one name."""
    for distribution in _DISTRIBUTIONS.get(name, (name,)):
        try:
            return version(distribution)
        except ModuleNotFoundError:
            continue
    return "unknown"
