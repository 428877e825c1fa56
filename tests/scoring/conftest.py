"""A small model without a runtime, so that these tests say what the scoring path does and nothing of ONNX."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from loopline.clock import ReplayClock
from loopline.models.manifest import Deployment, PackagedVersion
from loopline.models.signature import Field, Signature

SIGNATURE = Signature(
    fields=(
        Field(name="distance", kind="number", given=True, minimum=10.0, maximum=5000.0, nulls=False),
        Field(name="carrier", kind="category", given=True, categories=("UA", "AA", "DL"), nulls=False),
        Field(name="dewpoint", kind="number", given=True, minimum=-30.0, maximum=30.0, nulls=True),
        Field(name="delay_3h", kind="number", given=False, minimum=-60.0, maximum=600.0, nulls=False),
    )
)
DECISION = {
    "false_positive": 1.0,
    "false_negative": 4.0,
    "review": 0.5,
    "type": "threshold",
    "threshold": 0.2,
    "abstain_low": 0.15,
    "abstain_high": 0.3,
}


class Sum:
    """Scores the logistic of a weighted sum, NaN counted as 0; fails when told to."""

    def __init__(self, signature: Signature = SIGNATURE, weight: float = 1e-3) -> None:
        self.signature = signature
        self.weight = weight
        self.fails = False

    def outputs(self, matrix: np.ndarray) -> np.ndarray:
        if self.fails:
            raise RuntimeError("out of order")
        assert matrix.dtype == np.float32
        assert matrix.flags.c_contiguous
        return 1 / (1 + np.exp(-self.weight * np.nan_to_num(matrix.astype(np.float64)).sum(axis=1)))


@pytest.fixture
def scorer() -> type[Sum]:
    return Sum


@pytest.fixture
def signature() -> Signature:
    return SIGNATURE


@pytest.fixture
def clock() -> ReplayClock:
    return ReplayClock(datetime(2026, 5, 1, 12, tzinfo=UTC))


@pytest.fixture
def deployment() -> Deployment:
    previous = PackagedVersion(version=3, package="p", package_envelope="e")
    return Deployment(
        endpoint="late",
        model="late_arrival",
        version=4,
        package="p",
        package_envelope="e",
        decision=DECISION,
        decision_version=2,
        views=[],
        key="flight_id",
        at="departs",
        fallback=0.25,
        previous=previous,
    )


@pytest.fixture
def rows() -> pl.DataFrame:
    """Rows with every oddity: an unseen category, out of range, null with and without nulls in training, missing feature."""
    return pl.DataFrame(
        {
            "flight_id": ["a", "b", "c", "d", "e", "f"],
            "departs": [datetime(2026, 5, 1, 10 + hour, 30, tzinfo=UTC) for hour in range(6)],
            "distance": [100.0, 9000.0, 250.5, None, 0.1, 4999.9],
            "carrier": ["UA", "DL", "ZZ", "AA", None, "UA"],
            "dewpoint": [None, 3.0, -31.0, 0.25, 7.0, None],
            "delay_3h": [4.5, 600.0, None, 601.0, -60.0, 0.0],
        }
    )
