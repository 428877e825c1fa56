"""The secret that a request brings: as a bearer token, or as the password of clients that know no other way to send one."""

from base64 import b64decode
from binascii import Error


def secret_of(authorization: bytes) -> str:
    """The secret in an `Authorization` header; empty where there is none.

    With `Basic` the password is the token, whatever the user is called: a client that reads a .netrc file needs no more.
    """
    scheme, _, given = authorization.decode("latin-1").partition(" ")
    match scheme.lower():
        case "bearer":
            return given.strip()
        case "basic":
            return _password(given.strip())
    return ""


def _password(given: str) -> str:
    try:
        return b64decode(given, validate=True).decode().partition(":")[2]
    except (Error, ValueError):
        return ""
