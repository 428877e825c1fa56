"""A node of a Ray cluster, its head or its cable dies in the middle of a fan-out: the result is what it is without, and nothing finished is run again."""

import shutil
import tempfile
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

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
