"""One-time logins: a secret in a URL that opens the UI once, so that no lasting token stands in a browser's history."""

import hmac
from datetime import datetime, timedelta

from loopline.access import store
from loopline.access.identity import Identity
from loopline.access.principals import get_principal
from loopline.access.roles import Role, permissions_of
from loopline.access.secret import Entropy, new_secret, secret_digest, system_entropy
from loopline.errors import InvalidInput, NotAuthenticated
from loopline.storage.database import Transaction
from loopline.values import derive_id, utc


def one_time_login(
    tx: Transaction, principal: str, at: datetime, valid_for: timedelta, *, entropy: Entropy = system_entropy
) -> str:
    """A secret that `redeem_login` takes once within `valid_for`. It is no token: `authenticate` does not know it.

    Raises `NotFound` for an unknown principal and `InvalidInput` "login.never_valid" for a time that is not positive.
    """
    get_principal(tx, principal)
    if valid_for <= timedelta(0):
        raise InvalidInput(
            "login.never_valid", "a login needs some time to be used", remedy="Give a positive `valid_for`."
        )
    secret = new_secret(entropy)
    begins = utc(at)
    values = {"principal": principal, "created_at": begins, "expires_at": begins + valid_for}
    store.insert_login(tx, {"digest": secret_digest(secret), **values})
    return secret


def redeem_login(tx: Transaction, secret: str | None, now: datetime) -> Identity:
    """Use the login up, in this transaction, and say whose it was; issue a token for the session in the same one.

    Raises `NotAuthenticated` with "login.missing", "login.unknown", "login.expired" or "login.used".
    """
    if not secret:
        raise _refused("missing", "a login secret is needed")
    digest = secret_digest(secret)
    row = store.login_with_digest(tx, digest)
    if row is None or not hmac.compare_digest(row["digest"], digest):
        raise _refused("unknown", "this login is not known")
    if row["expires_at"] <= utc(now):
        raise _refused("expired", "this login has expired")
    if not store.use_login(tx, digest, utc(now)):
        raise _refused("used", "this login was used already")
    permissions = permissions_of(Role(role) for role in row["roles"])
    return Identity(row["principal"], permissions, derive_id("login", 0, digest))


def _refused(what: str, message: str) -> NotAuthenticated:
    return NotAuthenticated(f"login.{what}", message, remedy="Ask for a new login URL.")
