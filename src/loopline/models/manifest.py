"""The deployment manifest: all a scoring process needs to know, in one signed file.

A process that has read it scores on without the control plane: models and decisions by value or digest, feature views,
and the digests of the tokens it accepts.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from loopline.decisions.exploration import Exploration
from loopline.errors import Corrupt, NotFound
from loopline.evaluation.kind import BINARY, Output
from loopline.models.contract_terms import FLAGGED, ContractTerms
from loopline.models.ladder_terms import DEFAULT_LADDER, LadderTerms
from loopline.models.rule import Rule
from loopline.models.signing import PublicKeys, SigningKey, sign, verify
from loopline.storage.files import write_file
from loopline.values import canonical_json

PAYLOAD_TYPE = "application/vnd.loopline.deployment-manifest.v1+json"


class PackagedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A model version, the digests of its package and of the envelope that signs it, and that of the signed background its
    explanations compare with (empty: it explains nothing).
    """

    version: int
    package: str
    package_envelope: str
    background: str = ""


SlotSpan = tuple[int, int]
"""Slots [from, to) of the million that keys are shared out on."""


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """Another version at an endpoint, beside its champion.

    A `canary` and a `split` (the other arm of an A/B test) answer the share of the rows whose keys fall to them; a `shadow` answers
    nobody, and scores its share of the rows after they are answered. Keys are shared out by the digest of (salt, key), so a key keeps
    its variant for as long as the salt does, whatever the share grows to. `spans` are the slots that a canary or a split holds of
    the million, none of them another's; all that answer at an endpoint have one salt.
    """

    name: str
    role: Literal["canary", "split", "shadow"]
    served: PackagedVersion
    share: float
    salt: str
    spans: tuple[SlotSpan, ...] = ()


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What serves at one endpoint.

    `background` is as in `PackagedVersion`. `decision` and `views` are the JSON of the decision and of the feature views. `key` and `at` name the fields of a
    request that hold the row's key and its time, `group` that of a ranking's group, `target` that of the time a forecast is for,
    `label_by` those that name its label. `fallback` is the output given when no model can answer, of the kind `output`;
    `previous` the version to fall back on before that. With `fills` a row may come without key or time, and gets its own. `explore` says which share takes another action than the decision's. `variants` are what serves beside the champion; they take the columns it takes, and `views` hold what any of them
    looks up. `contract` says what is done about odd values, `ladder` what steps in when something fails, such as `rule`.
    """

    endpoint: str
    model: str
    version: int
    package: str
    package_envelope: str
    decision: dict[str, Any]
    decision_version: int
    views: list[dict[str, Any]]
    key: str
    at: str
    fallback: float | tuple[float, ...] | None = None
    output: Output = BINARY
    group: str | None = None
    target: str | None = None
    label_by: tuple[str, ...] = ()
    fills: bool = False
    previous: PackagedVersion | None = None
    background: str = ""
    explore: Exploration | None = None
    variants: tuple[Variant, ...] = ()
    contract: ContractTerms = FLAGGED
    ladder: LadderTerms = DEFAULT_LADDER
    rule: Rule | None = None


class TokenGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A token that is accepted until `expires_at` (UTC; None is never): the digest of its secret, whose it is, and what
    it permits.
    """

    digest: str
    principal: str
    permissions: list[str]
    expires_at: datetime | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a project serves, as of `created_at` (UTC). `sequence` grows with every manifest of the project; `revoked`
    lists digests of tokens that are refused whatever else grants them.
    """

    project: str
    sequence: int
    created_at: datetime
    deployments: list[Deployment]
    tokens: list[TokenGrant]
    revoked: list[str] = []


def write_manifest(path: Path, manifest: Manifest, key: SigningKey) -> None:
    """Sign `manifest` and put it at `path`: a reader sees the old file or the new one, also after a power cut."""
    envelope = sign(key, PAYLOAD_TYPE, canonical_json(manifest))
    write_file(path, envelope)


def read_manifest(path: Path, keys: PublicKeys, *, at_least: int = 0) -> Manifest:
    """The manifest at `path`, its signature verified.

    Raises `NotFound` without a file, and `Corrupt` where the signature does not hold, where it is no manifest, and where
    its sequence is below `at_least`: an older manifest, though rightly signed, would bring back what was withdrawn.
    """
    try:
        envelope = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(
            "manifest.not_found", f"there is no manifest at {path}", remedy="Promote a model first, or check the path."
        ) from error
    manifest = _decode(verify(keys, PAYLOAD_TYPE, envelope))
    if manifest.sequence < at_least:
        raise Corrupt(
            "manifest.rolled_back",
            f"the manifest at {path} has sequence {manifest.sequence}, but {at_least} was seen before",
            remedy="Publish the manifest again from the control plane.",
            sequence=manifest.sequence,
        )
    return manifest


def _decode(payload: bytes) -> Manifest:
    try:
        return msgspec.json.decode(payload, type=Manifest)
    except msgspec.DecodeError as error:
        raise Corrupt(
            "manifest.unreadable",
            f"the manifest cannot be read: {error}",
            remedy="Publish it again with the version of Loopline that serves.",
        ) from error
