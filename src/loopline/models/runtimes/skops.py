"""scikit-learn's own estimators, kept by skops: read without pickle, and only if every type in them is known to be harmless."""

import io
import json
import warnings
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt
import skops.io
from threadpoolctl import ThreadpoolController

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.models.runtimes.runtime import as_output, unreadable

_SCHEMA = "schema.json"

# What skops does not trust by itself and scikit-learn's estimators are made of. Types of other libraries stay out: reading one
# runs its code.
TRUSTED = (
    "functools.partial",
    "sklearn.utils.validation.check_array",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.LogLink",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn._loss._loss.CyHalfSquaredError",
    "sklearn._loss._loss.CyAbsoluteError",
    "sklearn._loss._loss.CyPinballLoss",
    "sklearn._loss._loss.CyHalfPoissonLoss",
    "sklearn._loss._loss.CyHalfGammaLoss",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss.loss.AbsoluteError",
    "sklearn._loss.loss.PinballLoss",
    "sklearn._loss.loss.HalfPoissonLoss",
    "sklearn._loss.loss.HalfGammaLoss",
    "sklearn.tree._tree.Tree",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.EuclideanDistance32",
    "sklearn.neighbors._kd_tree.KDTree64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._ball_tree.BallTree64",
)


def dump(estimator: Any) -> bytes:
    """The fitted estimator as bytes. Raises `InvalidInput` where it holds a type that is not trusted to be read again."""
    content = _canonical(skops.io.dumps(estimator))
    _refuse_untrusted(content)
    return content


def _canonical(content: bytes) -> bytes:
    """The same archive without what differs from one run to the next: memory addresses as names, and times."""
    numbers: dict[str, int] = {}
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as written:
        schema = _renumbered(json.loads(archive.read(_SCHEMA)), numbers)
        members = {_renamed(name, numbers): archive.read(name) for name in archive.namelist() if name != _SCHEMA}
        members[_SCHEMA] = json.dumps(schema, indent=1).encode()
        for name in sorted(members):
            written.writestr(zipfile.ZipInfo(name), members[name], zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _renumbered(node: Any, numbers: dict[str, int]) -> Any:
    """The schema with its addresses replaced by 1, 2, ... in the order in which they come."""
    if isinstance(node, list):
        return [_renumbered(part, numbers) for part in node]
    if not isinstance(node, dict):
        return node
    if "__id__" in node:
        numbers.setdefault(str(node["__id__"]), len(numbers) + 1)
    return {name: _value(name, part, numbers) for name, part in node.items()}


def _value(name: str, part: Any, numbers: dict[str, int]) -> Any:
    if name == "__id__":
        return numbers[str(part)]
    return _renamed(part, numbers) if name == "file" else _renumbered(part, numbers)


def _renamed(name: str, numbers: dict[str, int]) -> str:
    stem, dot, ending = name.partition(".")
    return f"{numbers.get(stem, stem)}{dot}{ending}"


def _refuse_untrusted(content: bytes) -> None:
    try:
        unknown = [name for name in skops.io.get_untrusted_types(data=content) if name not in TRUSTED]
    except Exception as error:  # a zip file made by someone else may fail in any way
        raise unreadable("skops", error, "Save it by skops.io.dump().") from error
    if unknown:
        raise InvalidInput(
            "model.untrusted_type",
            f"the model holds types that are not trusted: {', '.join(sorted(unknown)[:5])}",
            remedy="Use scikit-learn's own estimators, or a native LightGBM or XGBoost model, or export to ONNX.",
            types=sorted(unknown),
        )


class SkopsModel:
    """An estimator of scikit-learn. Raises `Corrupt` for bytes that are none, `InvalidInput` for types that are not trusted."""

    def __init__(self, content: bytes, output: Output) -> None:
        _refuse_untrusted(content)
        self._output = output
        self._threads = ThreadpoolController()  # to look for libraries takes milliseconds, to limit them microseconds
        self.estimator: Any = skops.io.loads(content, trusted=list(TRUSTED))

    def outputs(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """As `Runtime` says."""
        with self._threads.limit(limits=1), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # names of features it was fitted with, which matrices have not
            if self._output.kind in {"binary", "multiclass"}:
                return as_output(self.estimator.predict_proba(matrix), self._output)
            return as_output(np.asarray(self.estimator.predict(matrix)), self._output)
