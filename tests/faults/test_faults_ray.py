"""A node of a Ray cluster, its head or its cable dies in the middle of a fan-out: the result is what it is without, and nothing finished is run again.

The same for a node that dies while the flights loop trains and searches on it.
"""

import json
import shutil
import tempfile
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from loopline.tables.tables import Tables
from loopline.values import digest

COUNT = 12


@pytest.fixture
def site(tmp_path, monkeypatch, request):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    ray_site = import_module("ray_site")
    if find_spec("ray") is None or not ray_site.can_make_namespaces():
        pytest.skip("needs Ray, and the right to make network namespaces")
    short = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))  # Ray's sockets have short paths only
    try:
        with closing(ray_site.RaySite(tmp_path, short, f"on_ray_{request.node.name}")) as made:
            made.start()
            yield made
    finally:
        shutil.rmtree(short, ignore_errors=True)


def _check(site, execution, capsys, fault: datetime, what: str) -> None:
    events = site.events(execution)
    import_module("pipeline_site").check_once(events)
    assert site.result(execution) == sum(number * number for number in range(COUNT))
    lost = [one for one in events if one.kind == "lost"]
    assert lost
    assert not [one for one in events if one.kind in {"failed", "retrying"}]
    begun = Counter(number for word, number, _ in site.lines() if word == "begun")
    assert sum(begun.values()) <= COUNT + len(lost)
    done = {one.step: one.at for one in events if one.kind == "done"}
    told, again, ended = (
        (max(at) - fault).total_seconds()
        for at in ([one.at for one in lost], [done[one.step] for one in lost], [events[-1].at])
    )
    with capsys.disabled():
        print(
            f"\n{what}: {len(lost)} steps lost, told after {told:.1f} s, done after {again:.1f} s, all after {ended:.1f} s"
        )


@pytest.mark.heavy
def test_a_node_that_is_killed_costs_the_steps_it_was_at(site, capsys):
    execution = site.submit(count=COUNT, seconds=1.0)
    site.worker()
    node = site.namespace(site.hosts[1])

    def on_the_node(word: str) -> set[int]:
        return {number for said, number, where in site.lines() if said == word and where == node}

    site.until(lambda: on_the_node("ended") and on_the_node("begun") - on_the_node("ended"))
    fault = datetime.now(UTC)
    assert site.kill(site.hosts[1]) > 2
    site.until(lambda: site.state(execution) == "done")
    _check(site, execution, capsys, fault, "node killed")
    assert len({where for _, _, where in site.lines()}) == 2


@pytest.mark.heavy
def test_a_node_that_is_cut_off_counts_no_more_when_it_is_back(site, capsys):
    execution = site.submit(count=COUNT, seconds=1.0)
    worker = site.worker()
    node = site.namespace(site.hosts[1])
    site.until(lambda: any(said == "begun" and where == node for said, _, where in site.lines()))
    fault = datetime.now(UTC)
    site.cable(up=False)
    site.until(lambda: site.state(execution) == "done")
    before = site.events(execution)
    site.cable(up=True)
    assert worker.wait(120) == 0
    _check(site, execution, capsys, fault, "node cut off")
    assert site.events(execution) == before


@pytest.mark.heavy
def test_a_head_that_is_killed_costs_a_new_start_and_no_finished_step(site, capsys):
    execution = site.submit(count=COUNT, seconds=1.0)
    worker = site.worker()
    site.until(lambda: sum(said == "ended" for said, _, _ in site.lines()) >= 3)
    fault = datetime.now(UTC)
    for host in site.hosts:  # the head with the worker beside it; nodes without a head end by themselves, later
        site.kill(host)
    worker.wait()
    site.start_nodes()
    site.worker()
    site.until(lambda: site.state(execution) == "done")
    _check(site, execution, capsys, fault, "head and worker killed, started again")


@pytest.mark.heavy
def test_a_cluster_that_grows_starts_nodes_that_have_what_steps_declare(site, capsys):
    site.start_growing({"plain": {"CPU": 1}, "recorder": {"CPU": 2, "tape": 1}})
    site.environment["LOOPLINE_RAY_GROWS_TO"] = "4"
    begun, execution = time.monotonic(), site.submit("growing", number=3)
    worker = site.worker()
    site.until(lambda: site.state(execution) == "done")
    took = time.monotonic() - begun
    assert worker.wait(120) == 0
    assert site.result(execution) == 3
    assert [number for _, number, _ in site.lines()] == [3, 3]
    assert not [one for one in site.events(execution) if one.kind in {"failed", "retrying", "lost"}]
    with capsys.disabled():
        print(f"\ngrowing: from no core to a node for each of two steps, done after {took:.1f} s")


FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"
SAY = """

def say(text: str) -> None:
    handle = os.open(os.environ["SEEN"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{text} {os.getpid()} {os.readlink('/proc/self/ns/net')}\\n".encode())
    os.close(handle)


@loop.model("""


def _flights(folder: Path) -> Path:
    """The example with a search, whose fits say where they begin and end."""
    folder.mkdir()
    shutil.copy(FLIGHTS / "data.py", folder)
    text = (FLIGHTS / "loop.py").read_text()
    for old, new in (
        ("import polars as pl", "import os\n\nimport polars as pl"),
        ("\n@loop.model(", SAY),
        (
            "    label=ll.label(arrivals",
            (
                '    search={"learning_rate": ll.loguniform(0.02, 0.3), "min_samples_leaf": ll.integer(20, 200)},\n'
                "    trials=6,\n    trials_at_once=3,\n    folds=3,\n    label=ll.label(arrivals"
            ),
        ),
        (
            "    return HistGradientBoostingClassifier(**params, random_state=train.seed).fit(train.X, train.y)",
            (
                '    say("begun")\n    made = HistGradientBoostingClassifier(**params, random_state=train.seed).fit(train.X, train.y)\n'
                '    say("ended")\n    return made'
            ),
        ),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "flights_loop.py"
    path.write_text(text)
    return path


def _came_to(home: Path, out: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The ledger's digest of each policy, and the predictions' of each table."""
    policies = json.loads(out.read_text())[0]["comparison"]["policies"]
    tables = Tables(str(home / "tables"))
    names = [name for name in tables.names() if name.startswith("predictions.")]
    rows = {name: tables.open(name).read().sort("_key", "_event_time") for name in names}
    content = {name: frame.select(sorted(frame.columns)).write_ndjson() for name, frame in rows.items()}
    assert len(content) == len(policies) == 3
    return {one["policy"]: one["ledger"] for one in policies}, {
        name: digest(text.encode()) for name, text in content.items()
    }


@pytest.mark.heavy
def test_the_flights_loop_comes_to_the_same_on_two_nodes_of_which_one_dies(site, capsys):
    file, told = _flights(site.folder / "flights"), {}
    period = ("--from", "2013-01-01", "--until", "2013-02-15", "--json")
    begun = time.monotonic()
    alone = site.command("replay", str(file), *period, "--home", str(site.folder / "alone"), log="alone")
    assert alone.wait(1200) == 0, site.logs()
    told["alone"] = time.monotonic() - begun
    site.seen.unlink()
    begun = time.monotonic()
    replay = site.command(
        "replay", str(file), *period, "--home", str(site.folder / "on-ray"), "--executor", "ray", log="on-ray"
    )
    node = site.namespace(site.hosts[1])

    def on_the_node() -> list[tuple[str, int]]:
        return [(word, pid) for word, pid, where in site.lines() if where == node]

    # Amidst a fit of some trial; the first comes after a month of flights.
    site.until(lambda: len(on_the_node()) > 3 and on_the_node()[-1][0] == "begun", within=1200)
    before = len(site.lines())
    fault = time.monotonic()
    assert site.kill(site.hosts[1]) > 2
    site.until(lambda: "job_lost" in (site.folder / "on-ray.log").read_text())
    noticed = time.monotonic() - fault
    assert replay.poll() is None
    site.until(lambda: any(word == "begun" for word, _, _ in site.lines()[before + 1 :]))
    again = time.monotonic() - fault
    assert replay.wait(1200) == 0, site.logs()
    told["on Ray"] = time.monotonic() - begun
    assert {where for _, _, where in site.lines()} == {site.namespace(host) for host in site.hosts}
    assert _came_to(site.folder / "on-ray", site.folder / "on-ray.out") == _came_to(
        site.folder / "alone", site.folder / "alone.out"
    )
    lost = (site.folder / "on-ray.log").read_text().count("job_lost")
    fits = Counter("node" if where == node else "head" for word, _, where in site.lines() if word == "ended")
    with capsys.disabled():
        spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in told.items())
        print(
            f"\nflights: {lost} jobs lost, told after {noticed:.1f} s, fitting again after {again:.1f} s; {spent}; {dict(fits)}"
        )
    _score_on_two_nodes(site, capsys)


def _score_on_two_nodes(site, capsys) -> None:
    """A batch over all flights in both homes: in one process, and on two nodes of which one dies."""
    asked = (
        "score",
        "late_arrival",
        "--from",
        "table:flights.departures",
        "--into",
        "scores.all",
        "--partition-rows",
        "3000",
    )
    alone = site.command(
        *asked, "--project", "flights", "--home", str(site.folder / "alone"), "--json", log="score-alone"
    )
    assert alone.wait(600) == 0, site.logs()
    site.start_nodes()
    home, begun = site.folder / "on-ray", time.monotonic()
    score = site.command(
        *asked, "--project", "flights", "--home", str(home), "--executor", "ray", "--json", log="score"
    )
    site.until(
        lambda: sum(path.read_text().count("\n") for path in home.glob("batch/*/journal.jsonl")) >= 3, within=600
    )
    fault = time.monotonic()
    assert score.poll() is None
    assert site.kill(site.hosts[1]) > 2
    assert score.wait(600) == 0, site.logs()
    ended = time.monotonic()
    tables = [Tables(str(site.folder / name / "tables")).open("scores.all") for name in ("alone", "on-ray")]
    rows = [table.read().drop("_known_at", "scored_at").sort("_key") for table in tables]  # when it was is another time
    assert rows[0].equals(rows[1])
    assert rows[0].height > 30_000
    lost = (site.folder / "score.log").read_text().count("job_lost")
    with capsys.disabled():
        print(
            f"batch: {rows[0].height} rows, {lost} jobs lost, {fault - begun:.0f} s before the death and {ended - fault:.0f} s after"
        )
