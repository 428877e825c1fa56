"""Whose tokens a scoring process accepts: looked up by digest, so that it costs the same however many there are."""

from collections.abc import Iterable
from datetime import datetime

from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.access.secret import secret_digest
from loopline.errors import NotAuthenticated
from loopline.models.manifest import Manifest, TokenGrant

_KNOWN = frozenset(str(permission) for permission in Permission)


class Grants:
    """The grants of some manifests, without the revoked ones.

    A look-up by digest tells nothing by the time it takes: who can choose digests can choose no secret that has them.
    """

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self._by_digest: dict[str, list[TokenGrant]] = {}
        # By secret, as many as there are tokens: to make a digest with every request would cost more than all else here.
        self._identities: dict[str, tuple[Identity, datetime | None]] = {}
        for manifest in manifests:
            revoked = {_hex(digest) for digest in manifest.revoked}
            for grant in manifest.tokens:
                if _hex(grant.digest) not in revoked:
                    self._by_digest.setdefault(_hex(grant.digest), []).append(grant)

    def identify(self, secret: str, now: datetime) -> Identity:
        """Whose token `secret` is, with what it permits. Raises `NotAuthenticated`: token.missing, token.unknown, token.expired."""
        known = self._identities.get(secret)
        if known is not None and (known[1] is None or now < known[1]):
            return known[0]
        if not secret:
            raise NotAuthenticated("token.missing", "this needs a token", remedy="Send Authorization: Bearer <token>.")
        digest = _hex(secret_digest(secret))
        found = self._by_digest.get(digest)
        if not found:
            raise NotAuthenticated(
                "token.unknown", "the token is not known here", remedy="Check it, or issue a new one."
            )
        live = [grant for grant in found if grant.expires_at is None or now < grant.expires_at]
        if not live:
            raise NotAuthenticated("token.expired", "the token has expired", remedy="Issue a new one.")
        identity = _identity(live)
        self._identities[secret] = identity, min((grant.expires_at for grant in live if grant.expires_at), default=None)
        return identity


def _identity(grants: list[TokenGrant]) -> Identity:
    permitted = {name for grant in grants for name in grant.permissions} & _KNOWN
    return Identity(grants[0].principal, frozenset(Permission(name) for name in permitted), _hex(grants[0].digest)[:12])


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
