"""Sealing: bytes that only the home's key opens (AES-256-GCM), for what must lie somewhere while work goes on."""

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from loopline.errors import Corrupt

_NONCE = 12


def seal(key: bytes, content: bytes) -> str:
    """`content` as text that tells nothing without the `key` of 32 bytes."""
    nonce = os.urandom(_NONCE)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, content, None)).decode()


def unseal(key: bytes, text: str) -> bytes:
    """What was sealed. Raises `Corrupt` "sealed.other_key" where it was sealed with another key, or changed."""
    packed = base64.b64decode(text)
    try:
        return AESGCM(key).decrypt(packed[:_NONCE], packed[_NONCE:], None)
    except InvalidTag as error:
        raise Corrupt(
            "sealed.other_key",
            "this was sealed with another key, or was changed",
            remedy="Restore keys/pseudonyms.key from a backup.",
        ) from error
