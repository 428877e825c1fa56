"""What a version's lineage keeps so that it can be made again."""

import platform
from importlib.metadata import version
from typing import Any

from loopline.loop.code import code_parts
from loopline.loop.lane import Lane
from loopline.training.fingerprint import column_digests
from loopline.training.training_set import LabelledRows

REBUILD = "rebuild"
_LIBRARIES = ("polars", "scipy", "threadpoolctl")


def rebuilt_from(lane: Lane, rows: LabelledRows, *, seed: int) -> dict[str, Any]:
    """The fit's `seed`; digests of the training rows by column; how they were held out; the code by parts; the machine.

    Table versions, the moment, parameters and views stand beside it in the lineage, libraries of the model in its package.
    """
    return {
        "seed": seed,
        "holdout": lane.operation.model.holdout,
        "leave_out": [[start.isoformat(), end.isoformat()] for start, end in rows.pins.get("leave_out", [])],
        "columns": column_digests(rows.frame),
        "code": code_parts(lane.operation.model.fit),
        "environment": environment(),
    }


def environment() -> dict[str, str]:
    """What can change a bit of a fit and is not in the model's package."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: version(name) for name in _LIBRARIES},
    }
