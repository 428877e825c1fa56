"""Signatures: ECDSA on P-256 over DSSE envelopes, so that what a scoring process loads is what was promoted.

The envelope and its pre-authentication encoding are those of DSSE 1.0 (github.com/secure-systems-lab/dsse), signatures
are ASN.1 DER as Sigstore and in-toto write them, and nonces are derived (RFC 6979): signing again gives equal bytes.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from loopline.errors import Conflict, Corrupt, NotFound
from loopline.storage.files import write_file
from loopline.values import canonical_json, digest

PublicKeys = Mapping[str, ec.EllipticCurvePublicKey]

_PRIVATE_FILE = "signing.pem"
_PUBLIC_SUFFIX = ".pub.pem"
_ALGORITHM = ec.ECDSA(hashes.SHA256())
_DETERMINISTIC = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


@dataclass(frozen=True)
class SigningKey:
    """A private key on P-256; its `id` is the digest of the public key (DER, SubjectPublicKeyInfo)."""

    id: str
    private: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> PublicKeys:
        """The public half, ready for `verify`."""
        return {self.id: self.private.public_key()}


class _Signature(msgspec.Struct):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, rename="camel"):
    payload_type: str
    payload: str
    signatures: list[_Signature]


def create_key(folder: Path) -> SigningKey:
    """Make a key and write it to `folder` (mode 0600): the private half as PKCS #8 PEM, the public half beside it.

    Raises `Conflict` where `folder` holds a private key already. To rotate, move that one away first: its public half
    stays, so what it signed is still trusted.
    """
    path = folder / _PRIVATE_FILE
    if path.exists():
        raise Conflict("signing.key_exists", f"{path} exists already", remedy="Move it away to make a new one.")
    key = _signing_key(ec.generate_private_key(ec.SECP256R1()))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem, spki = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.private.public_key().public_bytes(pem, spki)
    private = key.private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_file(folder / f"{key.id.removeprefix('sha256:')}{_PUBLIC_SUFFIX}", public)
    write_file(path, private)
    return key


def load_signing_key(folder: Path) -> SigningKey:
    """The private key in `folder`. Raises `NotFound` without one and `Corrupt` where it is not a P-256 key."""
    path = folder / _PRIVATE_FILE
    if not path.exists():
        raise NotFound(
            "signing.key_not_found", f"there is no signing key in {folder}", remedy="Make one with create_key."
        )
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise _unreadable(path) from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != ec.SECP256R1.name:
        raise _unreadable(path)
    return _signing_key(private)


def load_public_keys(folder: Path) -> PublicKeys:
    """Every public key in `folder`, by id: those that may have signed what is loaded. Raises `Corrupt` for another file."""
    keys = (_load_public(path) for path in sorted(folder.glob(f"*{_PUBLIC_SUFFIX}")))
    return {_key_id(key): key for key in keys}


def sign(key: SigningKey, payload_type: str, payload: bytes) -> bytes:
    """A DSSE envelope (JSON) around `payload`; equal input gives equal bytes."""
    signature = key.private.sign(pre_authentication(payload_type, payload), _DETERMINISTIC)
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": payload_type,
            "signatures": [{"keyid": key.id, "sig": base64.b64encode(signature).decode()}],
        }
    )


def verify(keys: PublicKeys, payload_type: str, envelope: bytes) -> bytes:
    """The payload of `envelope`, once one of `keys` is shown to have signed it as `payload_type`.

    Raises `Corrupt`: `signature.malformed` where it is no envelope of that type, `signature.unknown_key` where no
    signature names a key of `keys`, `signature.invalid` where none of those holds.
    """
    opened = _open(envelope)
    if opened.payload_type != payload_type:
        raise Corrupt(
            "signature.malformed",
            f"the envelope holds {opened.payload_type!r}, not {payload_type!r}",
            remedy="Check that the right file was given.",
        )
    payload = _base64(opened.payload)
    signed = pre_authentication(payload_type, payload)
    candidates = [signature for signature in opened.signatures if signature.keyid in keys]
    if not candidates:
        raise Corrupt(
            "signature.unknown_key",
            "no key that is trusted here signed this",
            remedy="Copy the signer's public key into the keys folder if you trust it.",
            key_ids=[signature.keyid for signature in opened.signatures],
        )
    if not any(_holds(keys[candidate.keyid], candidate, signed) for candidate in candidates):
        raise Corrupt(
            "signature.invalid",
            "the signature does not fit the content",
            remedy="Someone changed it, or it was damaged: fetch or sign it again.",
        )
    return payload


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed (DSSE's PAE): type and body, each with its length in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _open(envelope: bytes) -> _Envelope:
    try:
        return msgspec.json.decode(envelope, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed() from error


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed() from error


def _malformed() -> Corrupt:
    return Corrupt("signature.malformed", "this is not a DSSE envelope", remedy="Fetch or sign it again.")


def _holds(key: ec.EllipticCurvePublicKey, signature: _Signature, signed: bytes) -> bool:
    try:
        key.verify(_base64(signature.sig), signed, _ALGORITHM)
    except InvalidSignature:
        return False
    return True


def _signing_key(private: ec.EllipticCurvePrivateKey) -> SigningKey:
    return SigningKey(id=_key_id(private.public_key()), private=private)


def _key_id(key: ec.EllipticCurvePublicKey) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return digest(key.public_bytes(serialization.Encoding.DER, spki))


def _load_public(path: Path) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except ValueError as error:
        raise _unreadable(path) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != ec.SECP256R1.name:
        raise _unreadable(path)
    return key


def _unreadable(path: Path) -> Corrupt:
    return Corrupt(
        "signing.key_unreadable",
        f"{path} is not a P-256 key in PEM",
        remedy="Restore the file from a backup, or remove it and make a new key.",
    )
