"""`loopline erase`: what it takes, what it prints, and that nothing it prints names the person."""

import json
import sys
from datetime import UTC, datetime

import polars as pl
import pytest
import structlog

from loopline.app.home import open_home
from loopline.cli.main import main
from loopline.config import Settings
from loopline.loop.receipt import read_receipt
from loopline.models.signing import load_public_keys
from loopline.tables import TableSchema

AT = datetime(2026, 5, 1, tzinfo=UTC)
GUEST, SEAT = "guest-0815", "seat-planted"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPLINE_DURABLE", "0")
    monkeypatch.setenv("LOOPLINE_HOME", str(tmp_path / "home"))
    resources = open_home(Settings.read())
    schema = TableSchema({"guest": pl.String, "seat": pl.String}, ("seat",), "guest")
    for name in ("flights.guests", "flights.bills"):
        table = resources.tables.create(name, schema)
        row = {
            "_key": f"{name[8]}-1",
            "_event_time": AT,
            "_known_at": AT,
            "_tombstone": False,
            "guest": GUEST,
            "seat": SEAT,
        }
        table.append(pl.DataFrame([row], schema=schema.all_columns), writer="test", sequence=1)
    resources.database.close()
    return tmp_path / "home"


def call(capsys, *arguments: str) -> tuple[int, str]:
    before, sys.argv = sys.argv, ["loopline", *arguments]
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = before
        structlog.reset_defaults()
    told = capsys.readouterr()
    return code, told.out + told.err


def test_a_person_is_planned_and_erased(home, tmp_path, capsys):
    code, told = call(capsys, "erase", f"guest={GUEST}", "--plan")
    assert (code, "Nothing was changed" in told, "flights.bills" in told) == (0, True, True)
    receipt = tmp_path / "receipt.json"
    code, told = call(
        capsys, "erase", GUEST, "--column", "guest", "--reason", f"{GUEST} wrote", "--receipt", str(receipt)
    )
    assert (code, "nothing is left" in told) == (0, True)
    assert GUEST not in told
    done = read_receipt(receipt.read_bytes(), load_public_keys(home / "keys"))
    assert {one.place for one in done.removed} == {"table flights.guests", "table flights.bills"}
    code, told = call(capsys, "erase", f"guest={GUEST}", "--json")
    assert json.loads(told)["erasure"] == done.erasure


def test_a_table_is_kept_only_for_a_reason(home, capsys):
    code, told = call(capsys, "erase", GUEST, "--keep", "flights.bills")
    assert (code, "erasure.no_because" in told) == (2, True)
    code, told = call(capsys, "erase", GUEST, "--keep", "flights.bills", "--because", "tax law", "--json")
    assert code == 0
    assert json.loads(told)["kept"] == [{"table": "flights.bills", "because": "tax law"}]


def test_what_is_left_is_told_with_an_exit_code(home, capsys):
    (home / "a.bin").write_bytes(b"\x00\x01" + GUEST.encode() + b"\x00")
    code, told = call(capsys, "erase", GUEST)
    assert (code, "something is left" in told, "a.bin: 1" in told) == (8, True, True)
    (home / "a.bin").unlink()
    code, told = call(capsys, "erase", GUEST, "--json")
    assert (code, json.loads(told)["complete"]) == (0, True)


def test_tables_show_pseudonyms_unless_asked(home, capsys):
    _, told = call(capsys, "tables", "flights.guests", "--rows", "1")
    assert SEAT not in told
    assert "subject" in told
    _, told = call(capsys, "tables", "flights.guests", "--rows", "1", "--clear", "--reason", "a complaint")
    assert SEAT in told
    _, told = call(capsys, "ledger", "show", "--project", "@access", "--json")
    assert [one["kind"] for one in json.loads(told)] == ["personal.shown"]


def test_nobody_of_that_name(home, capsys):
    assert call(capsys, "erase", "guest-1")[0] == 3
    assert call(capsys, "erase", "seat=x")[0] == 2
