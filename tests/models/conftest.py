"""What the tests of models share: an artifact store, keys, and small fitted models."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from loopline.models.signature import Signature, infer
from loopline.models.signing import SigningKey, create_key
from loopline.storage.artifacts import ArtifactStore, open_artifacts


class Fitted(NamedTuple):
    frame: pl.DataFrame
    label: np.ndarray
    signature: Signature
    rows: np.ndarray
    estimator: HistGradientBoostingClassifier


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return open_artifacts(str(tmp_path / "artifacts"), durable=False)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return create_key(tmp_path / "keys")


@pytest.fixture(scope="session")
def fitted() -> Fitted:
    """A boosted model on two numbers and a category, each with nulls."""
    frame, label = training_rows(1500)
    signature = infer(frame, label, {"distance", "carrier"})
    rows = signature.encode(frame)
    estimator = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(rows, label)
    return Fitted(frame, label, signature, rows, estimator)


def training_rows(count: int) -> tuple[pl.DataFrame, np.ndarray]:
    random = np.random.default_rng(7)
    carrier = random.choice(["AA", "B6", "DL", "UA", "WN"], size=count)
    delay, distance = random.normal(size=count), random.uniform(80, 5000, size=count)
    odds = delay + 0.6 * (carrier == "B6") - 0.8 * (carrier == "DL") + np.sin(distance / 400)
    label = (odds + random.normal(size=count) > 0).astype(np.int64)
    frame = pl.DataFrame({"delay": delay, "distance": distance, "carrier": carrier})
    gone = [
        pl.when(pl.Series(random.random(count) < 0.05)).then(None).otherwise(pl.col(name)) for name in frame.columns
    ]
    return frame.with_columns(
        expression.alias(name) for expression, name in zip(gone, frame.columns, strict=True)
    ), label
