"""`loopline up` for real: what it answers, what it refuses, and what it survives."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from loopline.features.point_in_time import point_in_time
from loopline.loop.load import load_loop
from loopline.models.manifest import read_manifest
from loopline.models.predictor import load_predictor
from loopline.models.signing import load_public_keys
from loopline.storage.artifacts import open_artifacts
from loopline.tables.tables import Tables

TINY = Path(__file__).parent / "tiny_loop.py"
LOOPLINE = str(Path(sys.executable).parent / "loopline")
QUIET = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "TINY_DRIFT_DAY": "21"}
TABLE = "predictions.tiny.returns"
# Features are answered for two days back from the clock, which goes on from the last turn of the replay.
LAST_SCORED = datetime(2024, 1, 30, tzinfo=UTC)


def wait_until(done: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], other.getsockname()[1]]


def command(home: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [LOOPLINE, *arguments, "--home", str(home), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def token(home: Path, *arguments: str) -> str:
    secret: str = command(home, "tokens", "issue", *arguments)["secret"]
    return secret


@dataclass
class Running:
    """A loop in operation: the process, its scoring child, where both answer."""

    home: Path
    process: subprocess.Popen
    where: dict[str, str]
    scoring_pid: int

    def scoring(self, secret: str | None) -> httpx.Client:
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        return httpx.Client(base_url=self.where["scoring"], headers=headers, timeout=30)

    def control(self) -> httpx.Client:
        return httpx.Client(base_url=self.where["control"], timeout=30)

    def kill(self) -> None:
        """Without a word, both at once."""
        for pid in (self.process.pid, self.scoring_pid):
            os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        wait_until(lambda: not alive(self.scoring_pid))


def start(home: Path, ports: list[int]) -> subprocess.Popen:
    environment = {**os.environ, **QUIET, "LOOPLINE_PORT": str(ports[0]), "LOOPLINE_SCORING_PORT": str(ports[1])}
    with (home / "up.log").open("ab") as log:
        return subprocess.Popen(
            [LOOPLINE, "up", str(TINY), "--home", str(home), "--json"],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )


@contextmanager
def up(home: Path, ports: list[int] | None = None) -> Iterator[Running]:
    process = start(home, ports or free_ports())
    found: list[int] = []
    try:
        printed = b""
        while not printed.endswith(b"}\n"):
            line = process.stdout.readline()
            assert line, (home / "up.log").read_text()
            printed += line
        found = children(process.pid)
        yield Running(home, process, json.loads(printed), found[0])
    finally:
        for pid in {process.pid, *found}:
            if alive(pid):
                os.kill(pid, signal.SIGCONT)
        process.terminate()
        try:
            process.wait(30)
        finally:
            for pid in {process.pid, *found}:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
            process.stdout.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A replay of 30 days, with a second version that is good enough to be promoted by hand."""
    home = tmp_path_factory.mktemp("up") / "home"
    period = ["--from", "2024-01-01", "--until", "2024-01-30", "--home", str(home)]
    subprocess.run(
        [LOOPLINE, "replay", str(TINY), *period], env={**os.environ, **QUIET}, check=True, capture_output=True
    )
    return home


@pytest.fixture
def home(template, tmp_path) -> Path:
    """A copy, the test's own."""
    return Path(shutil.copytree(template, tmp_path / "home"))


@pytest.fixture(scope="module")
def shared(template, tmp_path_factory) -> Iterator[Running]:
    """One loop in operation, for tests that leave it as it is."""
    home = Path(shutil.copytree(template, tmp_path_factory.mktemp("shared") / "home"))
    with up(home) as running:
        yield running


@pytest.fixture(scope="module")
def secret(shared) -> str:
    """A token for asking."""
    return token(shared.home, "asker")


@pytest.fixture(scope="module")
def logged(template) -> pl.DataFrame:
    """What the replay logged on its last scored day, in the order of the keys."""
    rows = Tables(template / "tables").open(TABLE).read(event_after=LAST_SCORED - timedelta(days=1))
    return rows.sort("_key")


def requests(logged: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows as a caller sends them."""
    rows = zip(logged["_key"], logged["_event_time"], logged["feature_price"], logged["feature_shop"], strict=True)
    return [{"order": key, "ordered_at": at.isoformat(), "price": price, "shop": shop} for key, at, price, shop in rows]


def tensors(rows: list[dict[str, Any]]) -> dict[str, Any]:
    kinds = {"order": "BYTES", "ordered_at": "BYTES", "price": "FP64", "shop": "BYTES"}
    shape = [len(rows), 1]
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": shape, "data": [row[name] for row in rows]}
            for name, kind in kinds.items()
        ]
    }


def shipped(home: Path) -> pl.DataFrame:
    """The predictions that were asked for over HTTP."""
    return Tables(home / "tables").open(TABLE).read().filter(pl.col("principal").is_not_null())


def offline(home: Path, rows: list[dict[str, Any]]) -> np.ndarray:
    """The answer computed from the tables and the package that the manifest names, without any process."""
    keys = load_public_keys(home / "keys")
    (serving,) = read_manifest(home / "manifests" / "tiny.json", keys).deployments
    artifacts = open_artifacts(str(home / "artifacts"))
    envelope = artifacts.get(serving.package_envelope)
    predictor = load_predictor(artifacts, serving.package, envelope=envelope, keys=keys)
    views = load_loop(TINY).models["returns"].views
    frame = pl.DataFrame(rows).with_columns(pl.col("ordered_at").str.to_datetime(time_unit="us", time_zone="UTC"))
    history = {view.table: Tables(home / "tables").open(view.table).read() for view in views}
    return predictor.predict(frame.hstack(point_in_time(frame, at="ordered_at", views=views, history=history)))


def test_http_gives_the_numbers_of_the_tables_and_of_the_replay(shared, secret, logged):
    rows = requests(logged)
    with shared.scoring(secret) as client:
        plain = client.post("/predict/returns", json={"rows": rows}).json()["predictions"]
        answer = client.post("/v2/models/returns/infer", json=tensors(rows)).json()
    oip = {output["name"]: output["data"] for output in answer["outputs"]}
    scores = [one["score"] for one in plain]
    np.testing.assert_allclose(scores, offline(shared.home, rows), atol=1e-6, rtol=0)
    np.testing.assert_allclose(oip["score"], scores, atol=1e-12, rtol=0)
    np.testing.assert_allclose(scores, logged["score"], atol=1e-6, rtol=0)
    assert [one["decision"] for one in plain] == oip["decision"] == logged["decision"].to_list()
    assert {one["model_version"] for one in plain} == set(logged["model_version"])
    assert all(one["degraded"] == [] for one in plain)


def status(running: Running, secret: str | None, rows: list[dict[str, Any]]) -> tuple[int, str]:
    with running.scoring(secret) as client:
        answer = client.post("/predict/returns", json={"rows": rows})
    return answer.status_code, answer.json().get("code", "")


def test_tokens_count_within_two_seconds_and_no_other_does(shared, logged):
    rows = requests(logged)[:1]
    assert status(shared, None, rows) == (401, "token.missing")
    assert status(shared, "ll_made_up", rows)[0] == 401
    issued = command(shared.home, "tokens", "issue", "short", "--valid", "20s")
    assert status(shared, issued["secret"], rows)[0] == 200
    assert status(shared, token(shared.home, "reader", "--role", "viewer"), rows)[0] in {401, 403}
    reader = token(shared.home, "reader2", "--role", "viewer")
    wait_until(lambda: status(shared, reader, rows) == (403, "access.not_permitted"), seconds=2)
    other = command(shared.home, "tokens", "issue", "other")
    assert status(shared, other["secret"], rows)[0] == 200
    command(shared.home, "tokens", "revoke", other["token"]["token_id"])
    wait_until(lambda: status(shared, other["secret"], rows)[0] == 401, seconds=2)
    ends = datetime.fromisoformat(issued["token"]["expires_at"])
    wait_until(lambda: status(shared, issued["secret"], rows)[0] == 401, seconds=30)
    assert datetime.now(UTC) >= ends


BAD = {
    "scoring.unknown_column": lambda row: {**row, "colour": "red"},
    "scoring.missing_column": lambda row: {name: value for name, value in row.items() if name != "price"},
    "scoring.not_a_number": lambda row: {**row, "price": "dear"},
    "scoring.not_a_category": lambda row: {**row, "shop": 3},
    "scoring.not_finite": lambda row: {**row, "price": 1e39},
    "scoring.bad_time": lambda row: {**row, "ordered_at": "2024-01-29T12:00:00"},
    "scoring.bad_key": lambda row: {**row, "order": ""},
}


@pytest.mark.parametrize("code", BAD)
def test_a_bad_row_is_refused_with_its_code(shared, secret, logged, code):
    good, other = requests(logged)[:2]
    with shared.scoring(secret) as client:
        answer = client.post("/predict/returns", json={"rows": [good, BAD[code](other)]})
        told = answer.json()
        assert (answer.status_code, told["code"]) == (400, code)
        assert "row 1" in told["error"]
        assert told["remedy"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"rows": [', "http.bad_json"),
        (
            b'{"rows": [{"order": "x", "ordered_at": "2024-01-29T12:00:00Z", "price": NaN, "shop": "a"}]}',
            "http.bad_json",
        ),
        (
            b'{"rows": [{"order": "x", "ordered_at": "2024-01-29T12:00:00Z", "price": Infinity, "shop": "a"}]}',
            "http.bad_json",
        ),
        (b'{"rows": 3}', "http.bad_json"),
        (b'{"rows": [3]}', "http.bad_json"),
    ],
    ids=["cut off", "NaN", "infinity", "no rows", "no row"],
)
def test_a_body_that_is_not_what_is_expected_is_refused(shared, secret, body, code):
    with shared.scoring(secret) as client:
        answer = client.post("/predict/returns", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_duplicates_and_unknown_endpoints_are_refused_and_an_unseen_category_is_scored_and_said(shared, secret, logged):
    row = requests(logged)[0]
    with shared.scoring(secret) as client:
        twice = client.post("/predict/returns", json={"rows": [row, row]})
        assert (twice.status_code, twice.json()["code"]) == (400, "scoring.duplicate_key")
        nowhere = client.post("/predict/nothing", json={"rows": [row]})
        assert nowhere.status_code == 404
        (unseen,) = client.post("/predict/returns", json={"rows": [{**row, "shop": "zzz"}]}).json()["predictions"]
    assert "unseen_category:shop" in unseen["degraded"]


@dataclass
class Load:
    """Threads that ask again and again; ids that were answered, and every status."""

    ids: list[str] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)


@contextmanager
def load(running: Running, secret: str, rows: list[dict[str, Any]], threads: int = 3) -> Iterator[Load]:
    seen, stop = Load(), threading.Event()

    def ask() -> None:
        with running.scoring(secret) as client:
            while not stop.is_set():
                try:
                    answer = client.post("/predict/returns", json={"rows": rows})
                except httpx.TransportError:
                    seen.statuses.append(None)
                    stop.wait(0.05)
                    continue
                seen.statuses.append(answer.status_code)
                if answer.status_code == 200:
                    found = answer.json()["predictions"]
                    seen.ids.extend(one["prediction_id"] for one in found)
                    seen.versions.extend(one["model_version"] for one in found)

    asking = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in asking:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in asking:
            thread.join()


def test_what_was_acknowledged_is_in_the_table_once_whatever_is_killed(home, logged):
    ports, rows, acknowledged = free_ports(), requests(logged)[:2], []
    secret = token(home, "asker")
    for kill_both in (True, False):
        with up(home, ports) as running, load(running, secret, rows) as seen:
            wait_until(lambda seen=seen: len(seen.ids) > 100)
            if kill_both:
                running.kill()
            else:
                running.process.kill()  # the child serves on, and the next `up` takes its place
                running.process.wait(30)
                before = len(seen.ids)
                wait_until(lambda seen=seen, before=before: len(seen.ids) > before + 20)
                with up(home, ports) as next_one:
                    wait_until(lambda: not alive(running.scoring_pid))
                    before = len(seen.ids)
                    wait_until(lambda seen=seen, before=before: len(seen.ids) > before + 20)
                    assert next_one.scoring_pid != running.scoring_pid
        acknowledged += seen.ids
    counts = Counter(shipped(home)["prediction_id"])
    assert len(acknowledged) > 240
    assert [one for one in acknowledged if counts[one] != 1] == []
    assert set(counts.values()) == {1}


def test_what_is_answered_is_logged_with_its_features_what_is_refused_is_not_and_a_term_signal_ends_it(home, logged):
    rows = requests(logged)
    with up(home) as running:
        with running.scoring(token(home, "asker")) as client:
            for wrong in BAD.values():
                assert client.post("/predict/returns", json={"rows": [rows[0], wrong(rows[1])]}).status_code == 400
            assert client.post("/predict/returns", json={"rows": [rows[0], rows[0]]}).status_code == 400
            answered = client.post("/predict/returns", json={"rows": rows}).json()["predictions"]
        ends(running)
    ours = shipped(home).sort("_key")
    assert ours["prediction_id"].to_list() == [one["prediction_id"] for one in answered]
    assert ours["_event_time"].to_list() == logged["_event_time"].to_list()
    assert set(ours["principal"]) == {"asker"}
    features = [name for name in logged.columns if name.startswith("feature_")]
    assert len(features) == 3
    for name in features:
        assert ours[name].to_list() == pytest.approx(logged[name].to_list(), abs=1e-9)
    known = ours["_known_at"]
    assert datetime(2024, 1, 31, tzinfo=UTC) <= known.min() <= known.max() < datetime(2024, 1, 31, 1, tzinfo=UTC)


def ends(running: Running) -> None:
    """SIGTERM ends every process within ten seconds, in order."""
    running.process.terminate()
    assert running.process.wait(10) == 0
    assert not alive(running.scoring_pid)
    for address in (running.where["scoring"], running.where["control"]):
        with pytest.raises(httpx.ConnectError):
            httpx.get(address)
    assert list((running.home / "spool").rglob("*.open")) == []


def test_scoring_answers_while_the_control_plane_stands_still(shared, secret, logged):
    os.kill(shared.process.pid, signal.SIGSTOP)
    try:
        with shared.control() as control, pytest.raises(httpx.TimeoutException):
            control.get("/health/live", timeout=0.5)
        with load(shared, secret, requests(logged)[:1]) as seen:
            wait_until(lambda: len(seen.ids) > 30)
        assert set(seen.statuses) == {200}
    finally:
        os.kill(shared.process.pid, signal.SIGCONT)
    with shared.control() as control:
        assert control.get("/health/live").status_code == 200


def test_a_login_opens_the_control_plane_once(shared):
    with shared.control() as browser:
        first = browser.get(shared.where["login"])
        assert first.status_code == 303
        cookie = first.headers["set-cookie"]
        assert "HttpOnly" in cookie
        page = browser.get("/")
        assert page.status_code == 200
        assert "returns" in page.text
    with shared.control() as another:
        again = another.get(shared.where["login"])
        assert again.status_code == 401
        assert "login.used" in again.text
        assert another.get("/").status_code == 401


def test_a_promotion_and_a_rollback_are_served_within_two_seconds_without_a_failed_request(home, logged):
    secret = token(home, "asker")
    with up(home) as running, load(running, secret, requests(logged)[:2], threads=2) as seen:
        wait_until(lambda: seen.versions)
        for change, version in ((["promote", "returns:2"], 2), (["rollback"], 1)):
            command(home, *change)
            wait_until(lambda version=version: seen.versions[-1] == version, seconds=2)
    assert set(seen.statuses) == {200}
    assert set(seen.versions) == {1, 2}
    assert [entry["at"][:10] for entry in command(home, "ledger", "show", "--kind", "rollback")] == ["2024-01-31"]


def refused(home: Path, ports: list[int]) -> dict[str, Any]:
    """How a start that cannot be ends, leaving nothing behind."""
    with start(home, ports) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    return json.loads(out)["error"]


def test_a_second_one_on_the_same_home_or_port_is_refused(shared, home):
    told = refused(shared.home, free_ports())
    assert (told["code"], str(shared.home) in told["message"]) == ("up.running", True)
    scoring = int(shared.where["scoring"].rpartition(":")[2])
    told = refused(home, [free_ports()[0], scoring])
    assert told["code"] == "up.port_taken"
    assert "LOOPLINE_SCORING_PORT" in told["remedy"]
    assert not (home / "log").exists(), "no child was started"
    with shared.control() as client:
        assert client.get("/health/ready").status_code == 200


def test_a_batch_is_answered_as_requests_are(shared, secret, logged, tmp_path):
    rows = requests(logged)
    rows[3] |= {"price": 1e6, "shop": "nowhere"}
    with shared.scoring(secret) as client:
        online = client.post("/predict/returns", json={"rows": rows}).json()["predictions"]
    pl.DataFrame(rows).write_csv(tmp_path / "rows.csv")
    done = command(shared.home, "score", "returns", "--from", str(tmp_path / "rows.csv"), "--into", "scores.returns")
    assert (done["rows"], done["refused"], done["fallen"]) == (len(rows), 0, 0)
    batch = {row["_key"]: row for row in Tables(shared.home / "tables").open("scores.returns").read().to_dicts()}
    assert len(batch) == len(rows)
    for one in online:
        same = ["score", "decision", "model_version", "decision_version", "variant", "degraded"]
        assert [one[name] for name in same] == [batch[one["key"]][name] for name in same]
    assert batch[rows[3]["order"]]["degraded"] != []
    with (tmp_path / "rows.csv").open("a") as file:
        file.write(",".join(["", *list(pl.read_csv(tmp_path / "rows.csv", infer_schema=False).row(0))[1:]]) + "\n")
    refused = subprocess.run(
        [LOOPLINE, "score", "returns", "--from", str(tmp_path / "rows.csv"), "--into", "scores.x", "--home", str(shared.home)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert f"row {len(rows)}: 'order' must be text" in refused.stderr
