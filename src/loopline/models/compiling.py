"""From an estimator to bytes that serve, in the first format that is proven to score the same."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.models import parity
from loopline.models.boosters.booster import lightgbm_text, xgboost_bytes
from loopline.models.conversion import to_onnx
from loopline.models.estimator import library_of
from loopline.models.network import network_of
from loopline.models.package import Parity
from loopline.models.runtimes import skops
from loopline.models.runtimes.opening import open_model
from loopline.models.runtimes.runtime import Format
from loopline.models.signature import Signature

Rows = npt.NDArray[np.float32]


class Compiled(NamedTuple):
    """The bytes of each part in one format, what the proof found of each, and of formats tried before why they were not taken."""

    format: Format
    contents: list[bytes]
    proofs: list[Parity]
    refused: dict[str, str]


def compiled(
    parts: Sequence[tuple[Any, Output]],
    signature: Signature,
    rows: Rows,
    tolerance: float,
    formats: Sequence[Format] = (),
) -> Compiled:
    """The estimators in `parts`, all in the first of their library's `formats` in which each is proven to score as it does over
    `rows`. Raises `InvalidInput`, the first format's, where there is none.
    """
    refused: dict[str, str] = {}
    first: InvalidInput | None = None
    for name in formats or formats_of(parts[0][0]):
        try:
            contents, proofs = _in_format(name, parts, signature, rows, tolerance)
        except InvalidInput as error:
            first = first or error
            refused[name] = error.message
        else:
            return Compiled(name, contents, proofs, refused)
    raise first or AssertionError("there is always a format to try")


def formats_of(estimator: Any) -> tuple[Format, ...]:
    """The formats to try, the fastest first, the library's own last."""
    library = library_of(estimator)
    return _TRIED.get(library, ("onnx", "skops"))


def _in_format(
    name: Format, parts: Sequence[tuple[Any, Output]], signature: Signature, rows: Rows, tolerance: float
) -> tuple[list[bytes], list[Parity]]:
    contents = [_WRITERS[name](part, len(signature.fields)) for part, _ in parts]
    proofs = [
        parity.prove(
            part,
            open_model(name, content, of),
            signature,
            rows,
            tolerance,
            of,
            graph=content if name == "onnx" else b"",
        )
        for (part, of), content in zip(parts, contents, strict=True)
    ]
    return contents, proofs


_TRIED: dict[str, tuple[Format, ...]] = {
    "lightgbm": ("onnx", "lightgbm"),
    "xgboost": ("onnx", "xgboost"),
    "torch": ("safetensors",),
}
_WRITERS: dict[Format, Callable[[Any, int], bytes]] = {
    "onnx": to_onnx,
    "lightgbm": lambda estimator, _: lightgbm_text(estimator),
    "xgboost": lambda estimator, _: xgboost_bytes(estimator),
    "skops": lambda estimator, _: skops.dump(estimator),
    "safetensors": lambda estimator, _: network_of(estimator).to_safetensors(),
}


def joined(proofs: Sequence[Parity]) -> Parity:
    """One proof for all parts."""
    first = proofs[0]
    return Parity(
        rows=first.rows,
        cases={kind: sum(proof.cases[kind] for proof in proofs) for kind in first.cases},
        thresholds=sum(proof.thresholds for proof in proofs),
        thresholds_checked=sum(proof.thresholds_checked for proof in proofs),
        max_abs_difference=max(proof.max_abs_difference for proof in proofs),
        tolerance=first.tolerance,
        nodes_compared=sum(proof.nodes_compared for proof in proofs),
    )
