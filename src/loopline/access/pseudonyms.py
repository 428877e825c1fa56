"""Pseudonyms: what persons are called wherever their own names have no business: in logs, messages, evidence, the ledger."""

import hmac
from typing import Any

_PREFIX = "person:"
_SHORT = 12
_CODE = 32


class Pseudonyms:
    """Names values by a keyed digest (HMAC-SHA-256): stable, so that joins work, and nobody without the `key` can tell whose.

    A home has one key, 32 random bytes in `keys/pseudonyms.key`. Whoever holds it can try out values they know.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, value: Any) -> str:
        """`person:` and 12 hex digits. Whole numbers are called as their text is."""
        return f"{_PREFIX}{self.code(value)[:_SHORT]}"

    def code(self, value: Any) -> str:
        """32 hex digits, for comparing where a collision would do harm."""
        return hmac.digest(self._key, b"value\x1f" + str(value).encode("utf-8", "surrogatepass"), "sha256").hex()[
            :_CODE
        ]

    def secret(self, purpose: str) -> bytes:
        """A key of 32 bytes for another `purpose`, derived from this one."""
        return hmac.digest(self._key, b"purpose\x1f" + purpose.encode(), "sha256")


def is_pseudonym(text: str) -> bool:
    """Whether this reads as `Pseudonyms.of` writes."""
    code = text.removeprefix(_PREFIX)
    return len(code) == _SHORT and code != text and set(code) <= set("0123456789abcdef")
