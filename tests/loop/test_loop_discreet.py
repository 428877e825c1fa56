"""Logs, messages and evidence name no person."""

import traceback
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from structlog.testing import capture_logs

import loopline as ll
from loopline.app.home import open_home
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import InvalidInput, Unavailable, told, trace
from loopline.labels.intake import GivenLabel, push_labels
from loopline.loop.declare import Loop
from loopline.loop.ingestion import ingest_each, ingest_until
from loopline.scoring.contract import Contract
from loopline.tables import Tables

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PLANTED = "zoë@planted.example"


def failing(*, personal: bool) -> Loop:
    loop = Loop("shop")

    @loop.source(key="order", event_time="at", known_at="at", personal=["email"] if personal else [])
    def orders(window: ll.Window) -> pl.DataFrame:
        return pl.DataFrame({"email": [PLANTED]}).with_columns(pl.col("email").cast(pl.Int64))

    return loop


@pytest.mark.parametrize("personal", [True, False])
def test_what_a_source_about_persons_says_when_it_fails_is_withheld(tmp_path, personal):
    """Polars quotes the values that it cannot cast."""
    resources = open_home(Settings.read(tmp_path, {"LOOPLINE_DURABLE": "0"}), clock=ReplayClock(NOW), silent=True)
    begin = NOW - timedelta(days=1)
    with capture_logs() as logs:
        intake = ingest_each(resources, failing(personal=personal), NOW, begin=begin)
    with pytest.raises(Unavailable) as caught:
        ingest_until(resources, failing(personal=personal), NOW, begin=begin)
    resources.database.close()
    written = "".join(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    shown = [str(logs), str(caught.value), str(intake.failed["shop.orders"]), written, trace(caught.value)]
    assert [PLANTED in text or PLANTED.encode().decode("latin-1") in text for text in shown] == [
        *[not personal] * 4,
        not personal,
    ]
    assert PLANTED in "".join(traceback.format_exception(caught.value)), "the test plants where it says"


def fail() -> None:
    raise ValueError(PLANTED)


def fail_behind() -> None:
    try:
        fail()
    except ValueError as error:
        raise InvalidInput("a.code", "a message", remedy="Do it.") from error


def test_errors_of_others_are_told_by_type_and_place():
    with pytest.raises(ValueError, match="planted") as theirs:
        fail()
    assert told(theirs.value).startswith("ValueError at ")
    assert told(theirs.value).endswith(" in fail")
    with pytest.raises(InvalidInput) as ours:
        fail_behind()
    assert told(ours.value) == "a message [a.code]\nDo it."
    shown = trace(ours.value)
    assert shown.index("ValueError at") < shown.index("a message")
    assert PLANTED not in shown


def test_messages_about_rows_say_which_and_not_whose(tmp_path):
    contract = Contract(None, key="order", at="at")
    for rows in ([{"order": PLANTED, "at": PLANTED}], [{"order": PLANTED, "at": NOW}] * 2):
        with pytest.raises(InvalidInput) as caught:
            contract.check(contract.read(rows))
        assert PLANTED not in str(caught.value.as_dict())
    with pytest.raises(InvalidInput) as caught:
        push_labels(
            Tables(tmp_path, durable=False),
            "labels",
            [GivenLabel(key=PLANTED, label=1)],
            predictions="p",
            at=NOW,
            actor="ann",
        )
    assert PLANTED not in str(caught.value.as_dict())
