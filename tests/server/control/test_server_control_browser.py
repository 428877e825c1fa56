"""A browser: in by a one-time login, kept by a cookie, and safe from pages of other sites."""

from datetime import timedelta

import pytest
from litestar.testing import TestClient

from loopline.access.logins import one_time_login
from loopline.access.principals import set_roles
from loopline.clock import ReplayClock, SystemClock
from loopline.server.control.app import control_app
from loopline.server.control.session import COOKIE, LIFETIME

ORIGIN = "http://loopline.local"
FREEZE = "/api/v1/projects/flights/freeze"
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def login(served, client=None, **headers):
    now = SystemClock().now()
    with served.resources.database.transaction() as tx:
        secret = one_time_login(tx, "ann", now, timedelta(minutes=5))
    client = client or served.client
    answer = client.get("/login", params={"secret": secret}, headers=headers, follow_redirects=False)
    return secret, answer


def test_a_login_opens_once_and_the_session_shows_the_page(served):
    secret, answer = login(served)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=strict", "path=/", f"max-age={int(LIFETIME.total_seconds())}"):
        assert part in cookie
    assert "domain" not in cookie
    page = served.client.get("/", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "&lt;b&gt;a lot&lt;/b&gt;" in page.text
    assert "<script" not in page.text
    again = served.client.get("/login", params={"secret": secret}, follow_redirects=False)
    assert (again.status_code, again.json()["code"]) == (401, "login.used")


def test_behind_https_the_cookie_is_secure(served):
    app = control_app(served.resources, hosts={"loopline.local"}, origin="https://loopline.example.org")
    with TestClient(app, base_url="https://loopline.local") as client:
        _, answer = login(served, client)
        assert "secure" in answer.headers["set-cookie"].lower()
        asked = [
            client.post(FREEZE, json={"reason": "x"}, headers={"origin": origin}).status_code
            for origin in ("https://loopline.local", "https://loopline.example.org")
        ]
        assert asked == [403, 200]


@pytest.mark.parametrize("query", ["", "?secret=", "?secret=ll_wrong", "?secret=%C3%28", "?other=1"])
def test_a_wrong_login_is_refused(shared, query):
    answer = shared.client.get(f"/login{query}", follow_redirects=False)
    assert answer.status_code == 401
    assert answer.json()["code"].startswith("login.")
    assert "set-cookie" not in answer.headers


def test_a_login_is_not_taken_from_another_site(served):
    secret, answer = login(served, **{"sec-fetch-site": "cross-site"})
    assert (answer.status_code, answer.json()["code"]) == (403, "http.cross_site")
    assert served.client.get("/login", params={"secret": secret}, follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": ORIGIN}, 200),
        ({"origin": ORIGIN, "sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://loopline.local:9999"}, 403),
        ({"origin": "https://loopline.local"}, 403),
        ({"origin": "http://loopline.local.evil.example"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"origin": ORIGIN, "sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_a_session_changes_things_only_from_a_page_of_its_own_origin(shared, headers, status):
    login(shared)
    assert shared.client.post(FREEZE, json={"reason": "x"}, headers=headers).status_code == status
    shared.client.cookies.clear()
    may = shared.token("loop:freeze")
    lifted = shared.client.post(FREEZE.replace("freeze", "unfreeze"), json={"reason": "x"}, headers=may).json()
    assert lifted == {"was_frozen": status == 200}


def test_a_bearer_token_needs_no_origin_and_goes_before_a_cookie(served):
    login(served)
    narrow = served.token("status:read")
    assert served.client.post(FREEZE, json={"reason": "x"}, headers=narrow).json()["code"] == "access.not_permitted"
    may = served.token("loop:freeze") | {"origin": "http://evil.example"}
    assert served.client.post(FREEZE, json={"reason": "x"}, headers=may).status_code == 200


def test_logging_out_ends_the_session_for_good(served):
    login(served)
    kept = served.client.cookies[COOKIE]
    assert served.client.post("/logout").status_code == 403
    assert served.client.post("/logout", headers={"origin": ORIGIN}).status_code == 200
    assert COOKIE not in served.client.cookies
    ended = served.client.get("/", headers={"cookie": f"{COOKIE}={kept}"})
    assert (ended.status_code, ended.json()["code"]) == (401, "token.revoked")


def test_a_session_ends_by_the_machines_clock_and_follows_its_principals_roles(served):
    clock = ReplayClock(SystemClock().now())
    with TestClient(
        control_app(served.resources, hosts={"loopline.local"}, clock=clock), base_url="http://loopline.local"
    ) as client:
        login(served, client)
        assert client.get("/").status_code == 200
        with served.resources.database.transaction() as tx:
            set_roles(tx, "ann", ["scorer"])
        assert client.get("/").json()["code"] == "access.not_permitted"
        clock.turn_to(clock.now() + LIFETIME)
        assert client.get("/").json()["code"] == "token.expired"


def test_a_browser_without_a_session_is_told_in_a_page(shared):
    answer = shared.client.get("/", headers={"accept": "text/html,application/xhtml+xml"})
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert "new login URL" in answer.text


@pytest.mark.parametrize("path", ["/health/live", "/page.css", "/nothing", "/api/v1/status", "/login?secret=x"])
def test_every_answer_carries_the_headers(shared, path):
    answer = shared.client.get(path, follow_redirects=False)
    assert HEADERS.items() <= dict(answer.headers).items()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_no_other_origin_is_let_read(shared):
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    answer = shared.client.options("/api/v1/tokens", headers=asked | shared.token("tokens:manage"))
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control-")]
