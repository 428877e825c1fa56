"""Tokens and logins, against sets computed by hand."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.access.identity import Identity, require
from loopline.access.logins import one_time_login, redeem_login
from loopline.access.permissions import Permission
from loopline.access.principals import create_principal, get_principal, principals, set_roles
from loopline.access.roles import ROLES, Role, permissions_of, roles_with
from loopline.access.tokens import Grant, authenticate, grants, issue_token, revoke_token, tokens
from loopline.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, NotPermitted

T0 = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def issue(tx, principal="ada", **changes):
    return issue_token(
        tx, principal, **({"scopes": None, "expires_at": T0 + 30 * DAY, "at": T0, "name": "ci"} | changes)
    )


@pytest.fixture
def tx(database):
    with database.transaction() as opened:
        create_principal(opened, "ada", "person", ["operator"], T0)
        yield opened


def refusal(call, *arguments):
    with pytest.raises(NotAuthenticated) as raised:
        call(*arguments)
    assert raised.value.remedy
    return raised.value.code


def test_a_secret_is_256_bits_and_only_its_digest_is_stored(tx):
    secret, token = issue(tx, entropy=lambda count: bytes(range(count)))
    assert secret == "ll_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert re.fullmatch(r"ll_[A-Za-z0-9_-]{43}", issue(tx)[0])
    assert token.digest == hashlib.sha256(secret.encode()).hexdigest()
    stored = tx.execute(sa.text("select * from token")).all()
    assert secret not in str(stored)
    assert secret[3:] not in str(stored)


def test_a_token_stands_for_its_principal_until_it_ends(tx):
    secret, token = issue(tx)
    identity = authenticate(tx, secret, T0 + 30 * DAY - timedelta(microseconds=1))
    assert identity == Identity("ada", ROLES[Role.OPERATOR], token.token_id)
    assert refusal(authenticate, tx, secret, T0 + 30 * DAY) == "token.expired"


@pytest.mark.parametrize("wrong", ["ll_x", "Bearer ll_x", "é\ud800\x00", "ll_" + "A" * 43, "x" * 100_000])
def test_unknown_secrets_are_refused(tx, wrong):
    issue(tx)
    assert refusal(authenticate, tx, wrong, T0) == "token.unknown"


def test_missing_secrets_are_refused(tx):
    assert refusal(authenticate, tx, "", T0) == refusal(authenticate, tx, None, T0) == "token.missing"


def test_the_digest_is_not_a_secret(tx):
    _, token = issue(tx)
    assert refusal(authenticate, tx, token.digest, T0) == "token.unknown"


def test_a_revoked_token_stays_revoked_since_the_first_time(tx):
    secret, token = issue(tx)
    other, _ = issue(tx)
    for later in (1, 2):
        revoke_token(tx, token.token_id, T0 + later * DAY)
    assert refusal(authenticate, tx, secret, T0 + DAY) == "token.revoked"
    assert authenticate(tx, other, T0 + DAY).principal == "ada"
    assert {listed.token_id: listed.revoked_at for listed in tokens(tx)}[token.token_id] == T0 + DAY
    with pytest.raises(NotFound, match="no token 'nope'"):
        revoke_token(tx, "nope", T0)


def test_taking_a_role_away_narrows_tokens_issued_before(tx):
    secret, _ = issue(tx, scopes=["loop:apply", "ledger:read"])
    assert authenticate(tx, secret, T0).permissions == {"loop:apply", "ledger:read"}
    set_roles(tx, "ada", ["viewer"])
    assert authenticate(tx, secret, T0).permissions == {"ledger:read"}
    set_roles(tx, "ada", [])
    assert authenticate(tx, secret, T0).permissions == frozenset()


def test_a_token_without_scopes_follows_the_roles(tx):
    secret, _ = issue(tx)
    set_roles(tx, "ada", ["scorer", "approver"])
    assert authenticate(tx, secret, T0).permissions == ROLES[Role.SCORER] | ROLES[Role.APPROVER]


def test_bad_tokens_are_not_issued(tx):
    for changes, code in [
        ({"expires_at": T0}, "token.ends_before_it_begins"),
        ({"scopes": ["loop:aply"]}, "permission.unknown"),
        ({"scopes": ["models:promote"]}, "token.scope_beyond_roles"),
        ({"expires_at": datetime(2027, 1, 1)}, "time.without_zone"),  # noqa: DTZ001 - the point
    ]:
        with pytest.raises(InvalidInput) as raised:
            issue(tx, **changes)
        assert raised.value.code == code
    with pytest.raises(NotFound, match="no principal 'bob'"):
        issue(tx, "bob")
    assert tokens(tx) == []


def test_grants_name_every_live_token(tx):
    create_principal(tx, "scores", "service", ["scorer"], T0)
    _, narrow = issue(tx, "scores", scopes=["predictions:create"], expires_at=T0 + 2 * DAY)
    _, wide = issue(tx, "scores")
    _, ended = issue(tx, expires_at=T0 + DAY)
    _, revoked = issue(tx)
    revoke_token(tx, revoked.token_id, T0)
    expected = [
        Grant(narrow.digest, "scores", ("predictions:create",), T0 + 2 * DAY),
        Grant(wide.digest, "scores", ("labels:write", "predictions:create"), T0 + 30 * DAY),
    ]
    assert grants(tx, T0 + DAY) == sorted(expected, key=lambda grant: grant.digest)
    assert ended.digest in {grant.digest for grant in grants(tx, T0)}


def test_tokens_are_listed_as_issued(tx):
    _, first = issue(tx, scopes=["loop:freeze"])
    _, second = issue(tx, at=T0 + DAY, name="laptop")
    assert tokens(tx) == [first, second]


def test_principals_are_made_once_and_listed(tx):
    robot = create_principal(tx, "robot", "service", {"scorer", "viewer"}, T0 + DAY)
    assert robot.roles == (Role.SCORER, Role.VIEWER)
    assert [one.name for one in principals(tx)] == ["ada", "robot"]
    assert get_principal(tx, "robot") == robot
    with pytest.raises(Conflict, match="there is a principal 'robot' already"):
        create_principal(tx, "robot", "person", ["admin"], T0)
    assert get_principal(tx, "robot") == robot


@pytest.mark.parametrize(
    "arguments", [("", "person", []), (" x", "person", []), ("x", "robot", []), ("x", "person", ["root"])]
)
def test_bad_principals_are_refused(tx, arguments):
    with pytest.raises(InvalidInput):
        create_principal(tx, *arguments, T0)
    assert [one.name for one in principals(tx)] == ["ada"]


def test_a_login_is_used_once(tx):
    secret = one_time_login(tx, "ada", T0, timedelta(minutes=5))
    assert refusal(authenticate, tx, secret, T0) == "token.unknown"
    assert refusal(redeem_login, tx, secret, T0 + timedelta(minutes=5)) == "login.expired"
    identity = redeem_login(tx, secret, T0 + timedelta(minutes=4))
    assert (identity.principal, identity.permissions) == ("ada", ROLES[Role.OPERATOR])
    assert refusal(redeem_login, tx, secret, T0 + timedelta(minutes=4)) == "login.used"
    assert refusal(redeem_login, tx, "ll_other", T0) == "login.unknown"
    assert refusal(redeem_login, tx, "", T0) == "login.missing"
    with pytest.raises(InvalidInput, match="some time"):
        one_time_login(tx, "ada", T0, timedelta(0))


def test_a_login_raced_for_is_used_once(database):
    with database.transaction() as tx:
        create_principal(tx, "ada", "person", ["admin"], T0)
        secret = one_time_login(tx, "ada", T0, DAY)

    def race(_):
        try:
            with database.transaction() as tx:
                redeem_login(tx, secret, T0)
        except NotAuthenticated as refused:
            return refused.code
        return "in"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(race, range(8))) == ["in", *["login.used"] * 7]


def test_a_login_of_an_aborted_transaction_can_be_used(database):
    def redeem_and_fail():
        with database.transaction() as tx:
            redeem_login(tx, secret, T0)
            raise ZeroDivisionError

    with database.transaction() as tx:
        create_principal(tx, "ada", "person", ["admin"], T0)
        secret = one_time_login(tx, "ada", T0, DAY)
    with pytest.raises(ZeroDivisionError):
        redeem_and_fail()
    with database.transaction() as tx:
        assert redeem_login(tx, secret, T0).principal == "ada"


def test_require_names_the_permission_and_who_has_it():
    identity = Identity("ada", frozenset({Permission.LEDGER_READ}), "token_1")
    require(identity, Permission.LEDGER_READ)
    with pytest.raises(NotPermitted, match="'models:promote'") as raised:
        require(identity, Permission.MODELS_PROMOTE)
    assert raised.value.code == "access.not_permitted"
    assert raised.value.context == {"permission": "models:promote", "roles": ["approver", "admin"]}
    assert "approver, admin" in raised.value.remedy


def test_roles_divide_the_work():
    assert ROLES[Role.ADMIN] == set(Permission)
    assert all(
        ROLES[Role.VIEWER] == {p for p in ROLES[role] if p.endswith(":read")} for role in ("operator", "approver")
    )
    assert "models:promote" not in ROLES[Role.OPERATOR]
    assert "loop:apply" not in ROLES[Role.APPROVER]
    assert ROLES[Role.SCORER] == {"predictions:create", "labels:write"}
    assert roles_with(Permission.TOKENS_MANAGE) == [Role.ADMIN]


@given(roles=st.sets(st.sampled_from(Role)), permission=st.sampled_from(Permission))
def test_roles_permit_what_one_of_them_permits(roles, permission):
    assert (permission in permissions_of(roles)) == any(role in roles_with(permission) for role in roles)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), before=st.sets(st.sampled_from(Role), min_size=1), after=st.sets(st.sampled_from(Role)))
def test_a_token_never_permits_more_than_its_scopes_and_its_roles(database, data, before, after):
    scopes = data.draw(st.none() | st.sets(st.sampled_from(sorted(permissions_of(before)))))
    with database.engine.connect().execution_options(loopline_write=True) as tx:
        create_principal(tx, "eve", "service", before, T0)
        secret, _ = issue(tx, "eve", scopes=scopes)
        set_roles(tx, "eve", after)
        permitted = {
            p for p in Permission if any(p in ROLES[role] for role in after) and (scopes is None or p in scopes)
        }
        assert authenticate(tx, secret, T0).permissions == permitted
        assert [set(grant.permissions) for grant in grants(tx, T0)] == [permitted]
        tx.rollback()
