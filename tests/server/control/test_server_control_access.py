"""Who is let in: every route is enumerated and tried without a token, with the wrong one, and with the right one."""

from collections.abc import Iterator

import pytest
from litestar import Litestar, asgi, get
from litestar.handlers import HTTPRouteHandler
from litestar.testing import TestClient
from litestar.types import Receive, Scope, Send

from loopline.access.permissions import Permission
from loopline.errors import InvalidInput
from loopline.server.control.app import control_app, declared_handlers
from loopline.server.control.edge import Edge
from loopline.server.control.guard import AnyToken, Need, Public, need_of

HOST = "loopline.local"


@asgi("/mounted", is_mount=True, permission=Permission.STATUS_READ, copy_scope=True)
async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


PUBLIC = {"/health/live", "/health/ready", "/login", "/page.css", "/api/v1/hooks/flights/orders"}


def routes(app: Edge) -> Iterator[tuple[str, str, Need]]:
    """Method, a path, and what each handler needs, of everything that is registered."""
    assert isinstance(app.app, Litestar)
    for route in app.app.routes:
        for handler in getattr(route, "route_handlers", None) or [route.route_handler]:
            if getattr(handler, "http_methods", None) == {"OPTIONS"}:
                continue
            methods = handler.http_methods if isinstance(handler, HTTPRouteHandler) else {"GET"}
            yield from ((method, _path(route.path), need_of(handler)) for method in methods)


def _path(template: str) -> str:
    values = {"project:str": "flights", "model:str": "late", "version:int": "1", "name:str": "predictions.flights.late"}
    for name, value in {**values, "subject:str": "late:1", "run_id:str": "run_1", "hook:str": "orders"}.items():
        template = template.replace(f"{{{name}}}", value)
    return template.replace("{incident_id:str}", "inc_x").replace("{token_id:str}", "token_x")


def test_every_route_refuses_without_a_token_and_without_the_permission_and_takes_both(served):
    app = control_app(served.resources, hosts={HOST}, also=[mounted])
    tried = list(routes(app))
    assert len(tried) == len(list(declared_handlers(app.app)))
    assert {path for _, path, need in tried if isinstance(need, Public)} == PUBLIC
    everything = set(Permission)
    with TestClient(app, base_url=f"http://{HOST}") as client:
        for method, path, need in sorted(tried, key=lambda one: one[1] == "/logout"):
            if isinstance(need, Public):
                continue
            assert client.request(method, path).status_code == 401, path
            if isinstance(need, Permission):
                without = served.token(*(everything - {need}))
                refused = client.request(method, path, headers=without, json={})
                assert (refused.status_code, refused.json()["code"]) == (403, "access.not_permitted"), path
            answer = client.request(method, path, headers=served.token(*everything), json={})
            assert answer.status_code in {200, 201, 204, 400, 404, 409}, (path, answer.text)


def test_options_is_for_nobody(shared):
    for path in ("/api/v1/status", "/health/live"):
        assert shared.client.options(path).status_code == 401
        assert shared.client.options(path, headers=shared.token("status:read")).status_code == 403


def test_a_route_that_declares_nothing_keeps_the_server_from_starting(shared):
    @get("/forgotten")
    async def forgotten() -> str:
        return "open"

    with pytest.raises(InvalidInput, match="forgotten") as told:
        control_app(shared.resources, also=[forgotten])
    assert told.value.code == "server.route_without_permission"

    @asgi("/mount", is_mount=True, copy_scope=True, permission="anyone")
    async def mount(scope: Scope, receive: Receive, send: Send) -> None: ...

    with pytest.raises(InvalidInput, match="mount"):
        control_app(shared.resources, also=[mount])


def test_a_route_added_behind_the_check_is_for_nobody(served):
    @get("/late")
    async def late() -> str:
        return "open"

    served.app.app.register(late)
    assert served.client.get("/late").status_code == 401
    refused = served.client.get("/late", headers=served.token(*Permission))
    assert (refused.status_code, refused.json()["code"]) == (403, "access.undeclared")


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Bearer ll_wrong", "Basic YW5uOmFubg==", "ll_x", "Bearer é"]
)
def test_what_is_no_token_is_refused(shared, value):
    answer = shared.client.get("/api/v1/status", headers={"authorization": value.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_revoked_token_is_refused_at_once(served):
    held = served.token("status:read")
    assert served.client.get("/api/v1/status", headers=held).status_code == 200
    listed = served.client.get("/api/v1/tokens", headers=served.token("tokens:manage")).json()
    ids = [one["token_id"] for one in listed if one["scopes"] == ["status:read"]]
    for token_id in ids:
        answer = served.client.delete(f"/api/v1/tokens/{token_id}", headers=served.token("tokens:manage"))
        assert answer.status_code == 204
    assert served.client.get("/api/v1/status", headers=held).json()["code"] == "token.revoked"


def test_a_narrow_token_hands_out_no_more_than_it_has(served):
    narrow = served.token("tokens:manage", "status:read")
    asked = {"name": "more", "principal": "ann"}
    for body in (asked, {**asked, "scopes": ["models:promote"]}):
        refused = served.client.post("/api/v1/tokens", headers=narrow, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "access.beyond_own")
    made = served.client.post(
        "/api/v1/principals", headers=narrow, json={"name": "eve", "kind": "person", "roles": ["admin"]}
    )
    assert made.json()["code"] == "access.beyond_own"
    everyone = served.client.get("/api/v1/principals", headers=narrow).json()
    assert [one["name"] for one in everyone] == ["ann"]
    same = served.client.post("/api/v1/tokens", headers=narrow, json={**asked, "scopes": ["status:read"]})
    assert same.status_code == 201
    held = {"authorization": f"Bearer {same.json()['secret']}"}
    assert served.client.get("/api/v1/status", headers=held).status_code == 200


def test_a_project_or_model_that_is_not_there_is_not_found_on_every_route(shared):
    everything = shared.token(*Permission)
    for method, path, need in routes(shared.app):
        if "/flights" in path and "/projects/" in path:
            answer = shared.client.request(method, path.replace("/flights", "/nowhere"), headers=everything, json={})
            assert (answer.status_code, answer.json()["code"]) == (404, "project.unknown"), (path, need)
        if "/models/late" in path:
            answer = shared.client.request(method, path.replace("/late", "/early"), headers=everything, json={})
            assert (answer.status_code, answer.json()["code"]) == (404, "model.unknown"), path


def test_only_ending_a_token_needs_no_permission(shared):
    needs = [(path, need) for _, path, need in routes(shared.app) if isinstance(need, AnyToken)]
    assert [path for path, _ in needs] == ["/logout"]


def test_a_host_named_with_its_port_is_answered_at_that_port_only(shared):
    app = control_app(shared.resources, hosts={"localhost:8321"})
    with TestClient(app, base_url=f"http://{HOST}") as client:
        asked = [
            client.get("/health/live", headers={"host": host}).status_code
            for host in ("localhost:8321", "LOCALHOST:8321", "localhost", "localhost:9", "evil.example:8321")
        ]
    assert asked == [200, 200, 421, 421, 421]
