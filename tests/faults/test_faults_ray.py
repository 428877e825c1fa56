"""A node of a Ray cluster dies or is cut off in the middle of a fan-out: the result is what it is without, and nothing finished is run again."""

import shutil
import tempfile
import time
from collections import Counter
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

COUNT = 12


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    ray_site = import_module("ray_site")
    if find_spec("ray") is None or not ray_site.can_make_namespaces():
        pytest.skip("needs Ray, and the right to make network namespaces")
    short = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))  # Ray's sockets have short paths only
    try:
        with closing(ray_site.RaySite(tmp_path, short)) as made:
            made.start()
            yield made
    finally:
        shutil.rmtree(short, ignore_errors=True)


def _check(site, execution, capsys, took: float, what: str) -> None:
    events = site.events(execution)
    import_module("pipeline_site").check_once(events)
    assert site.result(execution) == sum(number * number for number in range(COUNT))
    lost = [one for one in events if one.kind == "lost"]
    assert lost
    assert not [one for one in events if one.kind in {"failed", "retrying"}]
    begun = Counter(number for word, number, _ in site.lines() if word == "begun")
    assert sum(begun.values()) <= COUNT + len(lost)
    again = [
        min((one.at for one in events if one.kind == "done" and one.step == gone.step), default=None) for gone in lost
    ]
    recovery = max(at - gone.at for at, gone in zip(again, lost, strict=True) if at is not None)
    with capsys.disabled():
        print(  # noqa: T201 - for whoever measures
            f"\n{what}: {len(lost)} lost, run again {recovery.total_seconds():.1f} s after; all done after {took:.1f} s"
        )


@pytest.mark.slow
def test_a_node_that_is_killed_costs_the_steps_it_was_at(site, capsys):
    execution = site.submit(count=COUNT, seconds=1.0)
    site.worker()
    node = site.namespace(site.hosts[1])

    def on_the_node(word: str) -> set[int]:
        return {number for said, number, where in site.lines() if said == word and where == node}

    site.until(lambda: on_the_node("ended") and on_the_node("begun") - on_the_node("ended"))
    begun = time.monotonic()
    assert site.kill(site.hosts[1]) > 2
    site.until(lambda: site.state(execution) == "done")
    _check(site, execution, capsys, time.monotonic() - begun, "node killed")
    assert len({where for _, _, where in site.lines()}) == 2


@pytest.mark.slow
def test_a_node_that_is_cut_off_counts_no_more_when_it_is_back(site, capsys):
    execution = site.submit(count=COUNT, seconds=1.0)
    worker = site.worker()
    node = site.namespace(site.hosts[1])
    site.until(lambda: any(said == "begun" and where == node for said, _, where in site.lines()))
    begun = time.monotonic()
    site.cable(up=False)
    site.until(lambda: site.state(execution) == "done")
    took, before = time.monotonic() - begun, site.events(execution)
    site.cable(up=True)
    assert worker.wait(120) == 0
    _check(site, execution, capsys, took, "node cut off")
    assert site.events(execution) == before
