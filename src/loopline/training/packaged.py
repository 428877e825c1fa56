"""A fit, packaged with its proof on an even sample of the rows it was fitted on."""

import numpy as np

from loopline.models.package import ModelPackage
from loopline.models.packaging import package
from loopline.storage.artifacts import ArtifactStore
from loopline.training.fit import Fitted

PARITY_ROWS = 2000


def packaged(fitted: Fitted, artifacts: ArtifactStore) -> ModelPackage:
    """The package of `fitted`; the same fit gives the same bytes. Raises `InvalidInput` as `package`."""
    rows = len(fitted.training_set)
    sample = np.linspace(0, rows - 1, min(PARITY_ROWS, rows)).astype(int)
    return package(
        fitted.estimator,
        fitted.signature,
        fitted.training_set.X[sample],
        calibrator=fitted.calibration.calibrator,
        artifacts=artifacts,
    )
