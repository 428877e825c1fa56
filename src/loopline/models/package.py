"""What is kept of a model: the digests and facts that together make its scores."""

import msgspec

from loopline.errors import Corrupt, NotFound
from loopline.evaluation.calibrator import Calibrator
from loopline.models.graph import Node
from loopline.models.runtimes.runtime import Format
from loopline.models.signature import Signature
from loopline.values import canonical_json, digest

PAYLOAD_TYPE = "application/vnd.loopline.model-package.v1+json"


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """How the packaged model was shown to score as the estimator does.

    `rows` real rows were given; `cases` counts the scores compared, by kind: `real` rows, rows with a field `missing`,
    rows with every `category` in turn, and rows at the `boundary` of a split (its threshold and the float32 numbers next
    to it). `thresholds` counts the trees' splits, `thresholds_checked` those that a boundary row reached. `nodes_compared` counts the nodes of trees that were read back and found the same.
    """

    rows: int
    cases: dict[str, int]
    thresholds: int
    thresholds_checked: int
    max_abs_difference: float
    tolerance: float
    nodes_compared: int = 0


class ModelPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A model ready to serve.

    `models` are the digests of its bytes in `format`: one, or for quantiles one for each level. Models of
    format "graph" are the several of an ensemble or a chain, and `nodes` says how they go together. `class_places` says which classes
    the columns of a model of several are. What it gives back, calibrated, is the signature's output. `takes_missing` says whether it scores rows with missing values. `libraries` are the versions it was made with, and `refused` says
    of each format that was tried before `format` why it was not taken: facts for people, no part of what it computes.
    """

    format: Format = "onnx"
    models: tuple[str, ...]
    class_places: tuple[int, ...] = ()
    nodes: tuple[Node, ...] = ()
    signature: Signature
    calibrator: Calibrator | None
    takes_missing: bool
    parity: Parity
    libraries: dict[str, str]
    refused: dict[str, str] = {}

    def encoded(self) -> bytes:
        """The package as canonical JSON: what is stored as an artifact, and signed."""
        return canonical_json(self)

    @property
    def digest(self) -> str:
        """The digest of `encoded()`: the name of the package's artifact."""
        return digest(self.encoded())


_ELSEWHERE = b'{"served_elsewhere":'


class Elsewhere(msgspec.Struct, frozen=True):
    """What stands for the package of a version that something else serves: whose it is, and how it is called there."""

    served_elsewhere: str
    version: str

    def encoded(self) -> bytes:
        """As a package is: canonical JSON, to be signed."""
        return canonical_json(self)


def decode_package(content: bytes) -> ModelPackage:
    """The package in `content`. Raises `Corrupt` where there is none, `NotFound` "model.served_elsewhere" for what only stands for one."""
    try:
        return msgspec.json.decode(content, type=ModelPackage)
    except msgspec.DecodeError as error:
        if content.startswith(_ELSEWHERE):
            raise NotFound(
                "model.served_elsewhere",
                "this version is served elsewhere: there is nothing of it here but its predictions",
                remedy="Explain, retrain, deploy or roll it back where it is served.",
            ) from error
        raise Corrupt(
            "model.package_unreadable", f"the model package cannot be read: {error}", remedy="Package the model again."
        ) from error
