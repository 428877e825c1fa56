"""A model as it scores: signature, runtime and calibrator together."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import Corrupt, Unavailable
from loopline.evaluation.kind import Output
from loopline.models import package as packages
from loopline.models.estimator import widened
from loopline.models.graph import GraphModel
from loopline.models.package import ModelPackage
from loopline.models.runtimes.opening import open_model
from loopline.models.runtimes.python import NOT_ALLOWED, PythonModels
from loopline.models.runtimes.runtime import Runtime
from loopline.models.signature import Signature
from loopline.models.signing import PublicKeys, verify
from loopline.storage.artifacts import ArtifactStore
from loopline.values import digest


class Predictor:
    """Scores rows. Holds nothing that changes; safe to share between threads."""

    def __init__(self, package: ModelPackage, models: Sequence[Runtime]) -> None:
        self.package = package
        self.signature = package.signature
        self._models = tuple(models)
        self._calibrator = package.calibrator

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """The outputs for each row of `frame`, as the signature's `output` says: for two classes the calibrated probability of
        the positive one, float64 of shape (n,).

        Raises `InvalidInput` as `Signature.encode` does.
        """
        return self.outputs(self.signature.encode(frame))

    def outputs(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The same for rows encoded already: float32 of shape (n, k), fields in the signature's order.

        Raises `Unavailable` (`model.missing_values`) for NaN where the estimator took none: the compiled model would give a
        number that means nothing, and a value that was looked up may be missing without any fault of the caller.
        """
        if not self.package.takes_missing and np.isnan(matrix).any():
            raise _missing_values(self.signature, matrix)
        raw = self._raw(matrix)
        made = raw if self._calibrator is None else self._calibrator.apply(raw)
        # Levels are fitted apart and may cross; sorted they are nearer to the truth (Chernozhukov et al., 2010).
        return np.sort(made, axis=1) if self.signature.output.kind == "quantile" else made

    def _raw(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        output = self.signature.output
        if output.kind == "quantile":
            return np.column_stack([model.outputs(matrix) for model in self._models])
        return widened(self._models[0].outputs(matrix), self.package.class_places, output)


def _missing_values(signature: Signature, matrix: npt.NDArray[np.float32]) -> Unavailable:
    fields = [name for name, values in zip(signature.names, matrix.T, strict=True) if np.isnan(values).any()]
    return Unavailable(
        "model.missing_values",
        f"this model takes no missing values, but {', '.join(fields)} has some",
        remedy="Train it in a pipeline with an imputer, or use an estimator that takes missing values.",
        fields=fields,
    )


def load_predictor(
    artifacts: ArtifactStore,
    package_digest: str,
    *,
    envelope: bytes,
    keys: PublicKeys,
    python: PythonModels = NOT_ALLOWED,
) -> Predictor:
    """The predictor of the package `package_digest`, once a key of `keys` is shown to have signed that very package.

    `python` says whether models of users' own code may run. Nothing of the model is read before the signature and the digests hold. Raises `Corrupt` where one does not,
    `NotFound` where an artifact is missing, and `Unavailable` for code that may not run or does not start.
    """
    content = verify(keys, packages.PAYLOAD_TYPE, envelope)
    if digest(content) != package_digest:
        raise Corrupt(
            "model.other_package",
            f"the envelope signs package {digest(content)}, not {package_digest}",
            remedy="Sign the package again, or give the envelope that belongs to it.",
        )
    package = packages.decode_package(content)
    return Predictor(package, opened(package, artifacts.get, python))


def opened(package: ModelPackage, read: Callable[[str], bytes], python: PythonModels = NOT_ALLOWED) -> list[Runtime]:
    """The models of a package, whose bytes `read` gives by digest; of a graph the one that it is as a whole."""
    output = package.signature.output
    if package.nodes:
        models = [node for node in package.nodes if node.model is not None]
        found = [open_model(node.format, read(package.models[node.model or 0]), node.output, python) for node in models]
        return [GraphModel(package.nodes, found)]
    part = Output("regression") if output.kind == "quantile" else output
    return [open_model(package.format, read(found), part, python) for found in package.models]
