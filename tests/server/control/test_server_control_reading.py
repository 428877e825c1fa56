"""What can be read: models, tables, runs, the ledger, reasons, metrics and the description."""

import polars as pl
import pytest
import sqlalchemy as sa

from loopline.access.permissions import Permission
from loopline.access.pseudonyms import is_pseudonym
from loopline.ledger.chain import GENESIS
from loopline.loop.deployment import publish

PLACE = "/api/v1/projects/flights"
LATE = f"{PLACE}/models/late"


def read(served, path, *permissions, **params):
    return served.client.get(path, headers=served.token(*permissions), params=params)


def test_models_with_their_versions_and_decisions(shared):
    (model,) = read(shared, f"{PLACE}/models", "models:read").json()
    assert model == {"model": "late", "versions": 2, "champion": 1, "since": "2026-05-01T12:00:00Z"}
    versions = read(shared, f"{LATE}/versions", "models:read").json()
    assert [one["version"] for one in versions] == [1, 2]
    assert read(shared, f"{LATE}/versions/2", "models:read").json() == versions[1]
    missing = read(shared, f"{LATE}/versions/3", "models:read")
    assert (missing.status_code, missing.json()["code"]) == (404, "model.version_not_found")
    assert read(shared, f"{LATE}/versions/0", "models:read").status_code == 400
    (decision,) = read(shared, f"{LATE}/decisions", "models:read").json()
    assert decision["body"]["false_negative"] == 4.0


def test_tables_with_their_versions(shared):
    tables = {one["name"]: one for one in read(shared, "/api/v1/tables", "tables:read").json()}
    assert tables["predictions.flights.late"] == {"name": "predictions.flights.late", "version": 5, "rows": 5}
    table = read(shared, "/api/v1/tables/predictions.flights.late", "tables:read", limit=2).json()
    assert [one["version"] for one in table["versions"]] == [5, 4]
    assert table["versions"][0]["writer"] == "spool"
    assert table["columns"]["score"] == "Float64"
    crew = read(shared, "/api/v1/tables/flights.crew", "tables:read").json()
    assert crew["personal"] == ["name"]


@pytest.mark.parametrize(
    ("name", "status"),
    [("nowhere", 404), ("..", 404), ("..%2f..", 404), ("%2e%2e", 400), ("a%5cb", 400), ("a b", 400), ("a%00", 400)],
)
def test_a_table_that_is_none(shared, name, status):
    answer = read(shared, f"/api/v1/tables/{name}", "tables:read")
    assert answer.status_code == status
    assert read(shared, f"/api/v1/tables/{name}/rows", "tables:read").status_code in {status, 404}


def test_the_newest_rows(shared):
    permissions = ("tables:read", "predictions:read")
    path = "/api/v1/tables/predictions.flights.late/rows"
    found = read(shared, path, *permissions, limit=2, columns=["prediction_id", "_event_time"]).json()
    assert [row["prediction_id"] for row in found["rows"]] == ["pr_3", "pr_4"]
    assert found["rows"][1]["_event_time"] == "2026-05-01T08:00:00Z"
    assert found["columns"] == {"prediction_id": "String", "_event_time": str(pl.Datetime("us", "UTC"))}
    assert len(read(shared, path, *permissions).json()["rows"]) == 5
    assert read(shared, path, *permissions, limit=1001).status_code == 400
    assert read(shared, path, *permissions, columns=["nothing"]).json()["code"] == "table.unknown_column"


def test_predictions_take_their_own_permission(shared):
    refused = read(shared, "/api/v1/tables/predictions.flights.late/rows", "tables:read")
    assert (refused.status_code, refused.json()["context"]["permission"]) == (403, "predictions:read")


def test_persons_are_called_by_pseudonyms(shared):
    path = "/api/v1/tables/flights.crew/rows"
    for columns in ([], ["name"], ["hours", "_key"]):
        answer = read(shared, path, *Permission, columns=columns)
        assert answer.status_code == 200
        assert "Ann Other" not in answer.text
        assert "c1" not in [row.get("_key") for row in answer.json()["rows"]]
    assert read(shared, path, "tables:read", columns=["hours"]).json()["rows"] == [{"hours": 7}]
    (row,) = read(shared, path, "tables:read").json()["rows"]
    assert row["name"] == shared.resources.pseudonyms.of("Ann Other")
    assert is_pseudonym(row["name"])


def test_a_clear_read_takes_a_permission_and_is_recorded(shared):
    path = "/api/v1/tables/flights.crew/rows"
    refused = read(shared, path, "tables:read", clear=True)
    assert (refused.status_code, refused.json()["context"]["permission"]) == (403, "personal:show")
    assert "Ann Other" not in refused.text
    for _ in range(2):
        (row,) = read(shared, path, "tables:read", "personal:show", clear=True, reason="a complaint").json()["rows"]
        assert (row["name"], row["_key"]) == ("Ann Other", "c1")
    read(shared, path, "tables:read", "personal:show", clear=True, columns=["hours"])
    entries = read(shared, "/api/v1/access/ledger", "ledger:read").json()["entries"]
    shown = [one for one in entries if one["kind"] == "personal.shown"]
    body = {"table": "flights.crew", "columns": ["_key", "name"], "rows": 1, "reason": "a complaint"}
    assert [(one["actor"], one["body"]) for one in shown] == [("ann", body)] * 2


def test_runs(shared):
    (run,) = read(shared, "/api/v1/runs", "models:read", project="flights").json()
    assert (run["run_id"], run["metrics"]) == ("run_1", {"log_loss": None})
    assert read(shared, "/api/v1/runs/run_1", "models:read").json() == run
    assert read(shared, "/api/v1/runs", "models:read", project="flights", experiment="other").json() == []
    assert read(shared, "/api/v1/runs", "models:read").status_code == 400
    assert read(shared, "/api/v1/runs", "models:read", project="flights", order_by="x").json()["code"] == "run.order"
    assert read(shared, "/api/v1/runs/none", "models:read").json()["code"] == "run.not_found"


def test_the_ledger_page_by_page(shared):
    whole = read(shared, f"{PLACE}/ledger", "ledger:read").json()
    assert [one["kind"] for one in whole["entries"]] == ["loop.applied", "promotion", "incident.opened"]
    assert whole["next"] is None
    assert whole["entries"][0]["prev"] == GENESIS
    pages, after = [], 0
    while after is not None:
        page = read(shared, f"{PLACE}/ledger", "ledger:read", after=after, limit=1).json()
        pages += page["entries"]
        after = page["next"]
    assert pages == whole["entries"]
    some = read(shared, f"{PLACE}/ledger", "ledger:read", kind="promotion").json()
    assert [one["subject"] for one in some["entries"]] == ["late:1"]
    assert read(shared, f"{PLACE}/ledger", "ledger:read", after=-1).status_code == 400


def test_the_ledger_is_verified_also_against_a_head_noted_earlier(served):
    head = read(served, f"{PLACE}/ledger/verify", "ledger:read").json()
    assert head == read(served, f"{PLACE}/ledger", "ledger:read").json()["head"]
    assert read(served, f"{PLACE}/ledger/verify", "ledger:read", **head).json() == head
    assert read(served, f"{PLACE}/ledger/verify", "ledger:read", seq=3).json()["code"] == "ledger.half_anchor"
    with served.resources.database.transaction() as tx:
        tx.execute(sa.text("DELETE FROM ledger WHERE seq = 3"))
    assert read(served, f"{PLACE}/ledger/verify", "ledger:read").status_code == 200
    broken = read(served, f"{PLACE}/ledger/verify", "ledger:read", **head)
    assert (broken.status_code, broken.json()["code"], broken.json()["context"]["seq"]) == (500, "ledger.broken", 3)


def test_why_takes_the_permission_of_what_is_asked_about(shared):
    (incident,) = read(shared, f"{PLACE}/incidents", "incidents:read").json()
    subjects = {"pr_2": "predictions:read", incident["id"]: "incidents:read", "late:1": "models:read"}
    for subject, permission in subjects.items():
        refused = read(shared, f"/api/v1/why/{subject}", "ledger:read")
        assert (refused.status_code, refused.json()["context"]["permission"]) == (403, permission)
        told = read(shared, f"/api/v1/why/{subject}", "ledger:read", permission)
        assert told.json()["subject"] == subject
    assert read(shared, "/api/v1/why/nothing", "ledger:read").json()["code"] == "why.unknown"


def test_metrics_in_the_text_format(shared):
    answer = read(shared, "/metrics", "status:read")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'loopline_champion_version{project="flights",model="late"} 1' in lines
    assert 'loopline_open_incidents{project="flights"} 1' in lines
    assert 'loopline_frozen{project="flights"} 0.0' in lines
    names = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    assert names <= {line.split(" ")[2] for line in lines if line.startswith("# TYPE")}


def test_the_description_lists_the_api_and_nothing_of_the_rest(shared):
    described = read(shared, "/openapi.json", "status:read").json()
    assert described["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    promote = described["paths"]["/api/v1/projects/{project}/models/{model}/promote"]["post"]
    assert {one["name"] for one in promote["parameters"]} == {"project", "model"}
    body = described["components"]["schemas"]["Promotion"]
    assert set(body["required"]) == {"version", "reason"}
    assert "/login" not in described["paths"]


def test_health_says_when_the_database_is_gone(served):
    assert served.client.get("/health/ready").json() == {"status": "ready"}
    publish(served.resources, "flights", at=served.resources.clock.now())
    with served.resources.database.transaction() as tx:
        tx.execute(sa.text("DROP TABLE applied_loop"))
    gone = served.client.get("/health/ready")
    assert (gone.status_code, gone.json()["code"]) == (503, "database.unavailable")
    assert "applied_loop" not in gone.text
    assert served.client.get("/health/live").status_code == 200
