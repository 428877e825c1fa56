"""A watched model in a home: exactly once, whatever the files hold, and people are told once."""

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import polars as pl
import pytest

from loopline.app.alone.keep import MONITOR, watch_in_home
from loopline.app.alone.shares import shares_of_slices
from loopline.app.home import open_home
from loopline.app.study.fresh import Request
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import Corrupt, InvalidInput
from loopline.incidents import incident
from loopline.ledger import chain
from loopline.loop.budget import budgets
from loopline.loop.status import projects, status
from loopline.monitoring.alarm import list_alarms
from loopline.monitoring.performance import read_performance

_spec = spec_from_file_location("alone_data", Path(__file__).parent / "alone_data.py")
assert _spec is not None
assert _spec.loader is not None
data = module_from_spec(_spec)
_spec.loader.exec_module(data)

HARMED = data.service(days=60, harm=35, kind="concept", hours=6.0)
AT = pl.col("predicted_at")


def day(number):
    return data.START + timedelta(days=number)


def run(home, folder, *, first=0, until=60, name="churn", **asked):
    """A run at the end of day `until`, on predictions from day `first` on and the labels that are known by then."""
    predictions = HARMED.predictions.filter((day(first) <= AT) & (day(until) > AT))
    labels = HARMED.labels.filter(pl.col("labelled_at") < day(until))
    predictions.write_parquet(folder / "p.parquet")
    labels.write_parquet(folder / "l.parquet")
    request = Request(str(folder / "p.parquet"), str(folder / "l.parquet"), name=name, matures="1d", **asked)
    return watch_in_home(home, request, lambda *_: None)


def kept(home, name="churn"):
    """Measured blocks, alarms of rows and of slices, incidents and the length of the ledger."""
    resources = open_home(Settings.read(home))
    with resources.database.reading() as tx:
        return (
            read_performance(tx, name, name, MONITOR),
            list_alarms(tx, name),
            incident.find(tx, name),
            chain.head(tx, name).seq,
        )


def figures(blocks):
    return [(one.block_start, one.block_end, one.labelled, one.loss, one.excess, one.log_evidence) for one in blocks]


def blocks_alarmed(alarms):
    """The blocks at which all rows together alarmed; slices judge the days that a run was given."""
    return [one.block_end for one in alarms if one.monitor == MONITOR]


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """A home that saw 25 days, then three weeks each, with overlaps, one run twice; and the answer of each run."""
    folder = tmp_path_factory.mktemp("steps")
    told = [run(folder / "home", folder, until=25, reference_blocks=12)]
    told += [
        run(folder / "home", folder, first=first, until=until)
        for first, until in ((10, 33), (25, 45), (25, 45), (39, 60))
    ]
    return folder / "home", told


def test_many_runs_count_what_one_run_counts(steps, tmp_path):
    run(tmp_path / "home", tmp_path, reference_blocks=12)
    blocks, alarms, *_ = kept(steps[0])
    expected, expected_alarms, *_ = kept(tmp_path / "home")
    assert [one[:3] for one in figures(blocks)] == [one[:3] for one in figures(expected)]
    assert [one.loss for one in blocks] == pytest.approx([one.loss for one in expected])
    assert blocks_alarmed(alarms) == blocks_alarmed(expected_alarms)
    assert len({one.block_start for one in blocks}) == len(blocks) == 58 - 12


def test_the_same_run_again_changes_nothing(steps, tmp_path):
    before = kept(steps[0])
    again = run(steps[0], tmp_path, first=39)
    assert kept(steps[0]) == before
    assert again.verdict == steps[1][-1].verdict


def test_harm_is_found_as_it_goes_on(steps):
    assert [one.verdict for one in steps[1]][:2] == ["fine", "fine"]
    last = steps[1][-1]
    assert last.verdict == "harm"
    assert abs(last.harm.episodes[-1].since - day(35)) <= timedelta(days=2)
    assert last.why.carriers[0].slice == "region=east"
    assert last.budget.blocks_watched == 58 - 12


def test_a_slice_that_is_harmed_by_itself_is_an_alarm_of_the_incident_once(steps):
    resources = open_home(Settings.read(steps[0]))
    with resources.database.reading() as tx:
        alarms = [one for one in list_alarms(tx, "churn") if one.monitor.startswith("slice:")]
        [found] = incident.find(tx, "churn")
    east = [one for one in alarms if one.monitor == "slice:region=east"]
    assert len(east) == 1, "however many runs see it"
    assert (east[0].kind, east[0].page, east[0].state) == ("harm", True, "taken")
    assert east[0].evidence["sentence"].startswith("Harmed by itself since about 5 February 2024: region=east")
    assert {one.id for one in alarms} < set(found.alarms)


def test_the_budget_that_was_stated_is_shared_by_rows_and_slices_and_all_of_it_is_told(steps):
    last = steps[1][-1].budget
    assert (last.false_pages_per_year, last.of_slices) == (1.0, 0.5)
    assert last.expected_at_most == pytest.approx((58 - 12) / 365.25)
    assert "0.5 of them for slices" in last.sentences[0]
    then = open_home(Settings.read(steps[0]), clock=ReplayClock(day(61)))
    told = budgets(then, "churn", shares_of_slices(steps[0]))[0]
    assert {one.monitor: one.false_pages_per_year for one in told.monitors} == {"harm": 0.5, "slices": 0.5}
    assert (told.false_pages_per_year, told.expected) == (1.0, pytest.approx((58 - 12) / 365.25))


def test_alarms_are_one_incident_with_its_causes(steps):
    _, alarms, [found], entries = kept(steps[0])
    assert found.alarms == sorted(one.id for one in alarms)
    assert found.state == "open"
    assert any("region=east" in cause["sentence"] for cause in found.diagnosis)
    assert entries == len(alarms) + 1
    resources = open_home(Settings.read(steps[0]))
    with resources.database.reading() as tx:
        assert projects(tx) == ["churn"]
        chain.verify(tx, "churn")
    [project] = status(resources)
    assert [one.monitors[0].name for one in project.models] == [MONITOR]


def test_labels_that_come_later_do_not_change_what_was_counted(tmp_path):
    home = tmp_path / "home"
    run(home, tmp_path, until=30, reference_blocks=12)
    before = kept(home)[0]
    turned = HARMED.labels.with_columns(label=1 - pl.col("label"))
    HARMED.predictions.filter(day(30) > AT).write_parquet(tmp_path / "p.parquet")
    turned.filter(pl.col("labelled_at") < day(30)).write_parquet(tmp_path / "l.parquet")
    watch_in_home(
        home, Request(str(tmp_path / "p.parquet"), str(tmp_path / "l.parquet"), name="churn"), lambda *_: None
    )
    assert figures(kept(home)[0]) == figures(before)


def test_who_dies_before_the_monitor_is_there_begins_again(tmp_path, monkeypatch):
    """The files are written first; a run that finds them without a monitor writes them anew."""
    home = tmp_path / "home"
    with monkeypatch.context() as patch:
        patch.setattr("loopline.monitoring.watch.start_monitor", _dies)
        with pytest.raises(KeyboardInterrupt):
            run(home, tmp_path, until=40)
    assert kept(home)[0] == []
    assert (home / "alone" / "churn.json").exists()
    run(home, tmp_path, until=40)
    assert len(kept(home)[0]) > 20


def _dies(*_, **__):
    raise KeyboardInterrupt


class Listener(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.messages.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_the_webhook_is_told_once(tmp_path, monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Listener)
    server.messages = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("LOOPLINE_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("LOOPLINE_WEBHOOK_PRIVATE", "1")
    try:
        for until in (60, 60):
            run(tmp_path / "home", tmp_path, until=until)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    [message] = server.messages
    assert (message["event"], message["model"], message["kind"]) == ("incident.opened", "churn", "harm")
    assert "Harmed since about" in message["text"]


def test_what_is_kept_says_what_was_used(steps):
    record = json.loads((steps[0] / "alone" / "churn.json").read_text())
    assert record["command"] == "watch"
    assert record["columns"]["features"] == ["amount", "region"]
    assert record["kind"] == "binary"
    reference = pl.read_parquet(steps[0] / "alone" / "churn.parquet")
    assert "prediction_id" not in " ".join(reference.columns)


def test_options_of_later_runs_do_not_change_what_was_begun(steps, tmp_path):
    told = run(steps[0], tmp_path, first=39, tolerance=5.0)
    assert any("as it began" in notice for notice in told.notices)
    assert told.setup.risk.tolerance < 1


@pytest.mark.parametrize("name", ["", "a/b", "../up", "a b", "a.b"])
def test_a_name_that_is_none_is_refused_before_anything_is_made(tmp_path, name):
    with pytest.raises(InvalidInput, match="cannot name"):
        run(tmp_path / "home", tmp_path, name=name)
    assert not (tmp_path / "home").exists()


def test_without_times_there_is_nothing_to_go_on_from(tmp_path):
    HARMED.predictions.drop("predicted_at").write_parquet(tmp_path / "p.parquet")
    HARMED.labels.drop("labelled_at").write_parquet(tmp_path / "l.parquet")
    request = Request(str(tmp_path / "p.parquet"), str(tmp_path / "l.parquet"), name="churn")
    with pytest.raises(InvalidInput, match="without times"):
        watch_in_home(tmp_path / "home", request, lambda *_: None)


def test_a_record_that_is_lost_is_said(tmp_path):
    run(tmp_path / "home", tmp_path, until=30)
    (tmp_path / "home" / "alone" / "churn.json").unlink()
    with pytest.raises(Corrupt, match="cannot be read"):
        run(tmp_path / "home", tmp_path, until=31)
