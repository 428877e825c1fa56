"""The background of a model: the training rows that its explanations compare with, kept signed beside the package.

They are real rows without their keys: personal data where the features are. Deleting the artifact ends explanations of the
version, and nothing else.
"""

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import Corrupt, NotFound, Unavailable
from loopline.models.signing import PublicKeys, SigningKey, sign, verify
from loopline.storage.artifacts import ArtifactStore
from loopline.values import canonical_json

PAYLOAD_TYPE = "application/vnd.loopline.explanation-background.v1+json"
BACKGROUND = "explanation_background"
"""Under this name a version's lineage has the digest of the signed background."""

ROWS = 100

Rows = npt.NDArray[np.float32]


class Background(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the package's matrix: `cells` are float32, little-endian, row by row, `fields` to a row."""

    package: str
    fields: int
    cells: bytes

    @property
    def rows(self) -> Rows:
        """float32 of shape (rows, fields)."""
        return np.frombuffer(self.cells, dtype="<f4").astype(np.float32).reshape(-1, self.fields)


def keep_background(artifacts: ArtifactStore, key: SigningKey, *, package: str, matrix: Rows, seed: int) -> str:
    """Keep up to 100 rows of `matrix` (n, fields), one drawn from each stretch of equal length; gives the digest of the
    signed background.
    """
    chosen = background_rows(matrix, seed).astype("<f4")
    made = Background(package=package, fields=matrix.shape[1], cells=chosen.tobytes())
    return artifacts.put(sign(key, PAYLOAD_TYPE, canonical_json(made)))


def background_rows(matrix: Rows, seed: int) -> Rows:
    """Those rows of `matrix`."""
    chosen: Rows = matrix[spread(len(matrix), ROWS, seed)]
    return chosen


def spread(length: int, at_most: int, seed: int) -> npt.NDArray[np.intp]:
    """Places in order, one drawn from each of `at_most` stretches of equal length; all, where there are no more."""
    if length <= at_most:
        return np.arange(length)
    edges = np.linspace(0, length, at_most + 1).astype(np.intp)
    rng = np.random.default_rng(seed)
    return rng.integers(edges[:-1], edges[1:])


def read_background(artifacts: ArtifactStore, digest: str, *, package: str, keys: PublicKeys) -> Background:
    """The background of `package`. Raises `Unavailable` "explain.no_background" where it was erased or never made, and
    `Corrupt` where the signature does not hold or it belongs to another package.
    """
    try:
        envelope = artifacts.get(digest) if digest else None
    except NotFound:
        envelope = None
    if envelope is None:
        raise Unavailable(
            "explain.no_background",
            "the rows that explanations compare with are not kept for this version",
            remedy="They were erased, or the model is declared with explain=False. Retrain to have them made again.",
        )
    try:
        found = msgspec.json.decode(verify(keys, PAYLOAD_TYPE, envelope), type=Background)
    except msgspec.DecodeError as error:
        raise Corrupt("explain.unreadable", f"the background cannot be read: {error}") from error
    if found.package != package:
        raise Corrupt("explain.other_package", f"the background belongs to package {found.package}, not {package}")
    return found
