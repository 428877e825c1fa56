"""The secret behind a token: 256 random bits that only its owner keeps. Pure, so that a scoring process can check one."""

import base64
import hashlib
import secrets
from collections.abc import Callable

Entropy = Callable[[int], bytes]

PREFIX = "ll_"
system_entropy: Entropy = secrets.token_bytes


def new_secret(entropy: Entropy = system_entropy) -> str:
    """`ll_` and 43 characters that are safe in a URL. `entropy(n)` gives n bytes that nobody can guess."""
    return PREFIX + base64.urlsafe_b64encode(entropy(32)).rstrip(b"=").decode()


def secret_digest(secret: str) -> str:
    """SHA-256 of the secret, 64 hex digits: all that is ever stored.

    One round is enough, since nobody can try 2^256 secrets; passwords would need a slow hash.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
