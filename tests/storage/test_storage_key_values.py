"""The online store's suite on LMDB, and what processes, growth and a kill do to it."""

import os
import signal
import subprocess
import sys

import pytest

from loopline.errors import InvalidInput, NotFound
from loopline.storage.key_values import open_key_values
from loopline.testing.key_values import KeyValueSuite


@pytest.fixture
def key_values(tmp_path):
    opened = open_key_values(tmp_path / "online", durable=False)
    yield opened
    opened.close()


class TestLmdb(KeyValueSuite):
    pass


def run(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_url_and_a_path_name_the_same_store(tmp_path, key_values):
    key_values.put_many({b"a": b"1"})
    other = open_key_values(f"lmdb://{tmp_path}/./online")
    assert other.get(b"a") == b"1"
    other.close()
    other.close()
    assert key_values.get(b"a") == b"1"


@pytest.mark.parametrize("url", ["redis://x", "lmdb://relative/x", "memory://"])
def test_unknown_urls_are_refused(url):
    with pytest.raises(InvalidInput) as raised:
        open_key_values(url)
    assert raised.value.code == "storage.url_invalid"


def test_a_reader_needs_a_store_and_cannot_write(tmp_path, key_values):
    with pytest.raises(NotFound) as raised:
        open_key_values(tmp_path / "none", read_only=True)
    assert raised.value.code == "key_values.not_found"
    assert not (tmp_path / "none").exists()
    reader = open_key_values(tmp_path / "online", read_only=True)
    with pytest.raises(InvalidInput, match="only reads"):
        reader.put_many({b"a": b"1"})
    key_values.put_many({b"a": b"2"})
    assert reader.get(b"a") == b"2"
    reader.close()


def test_a_reader_may_be_opened_before_the_writer(tmp_path):
    open_key_values(tmp_path).close()
    reader = open_key_values(tmp_path, read_only=True)
    writer = open_key_values(tmp_path)
    writer.put_many({b"a": b"1"})
    assert reader.get(b"a") == b"1"
    writer.close()
    reader.close()


def test_it_grows_without_a_size_given(tmp_path):
    store = open_key_values(tmp_path, durable=False)
    for number in range(4):
        store.put_many({f"{number}/{part}".encode(): b"x" * 1_000_000 for part in range(40)})
    assert sum(1 for _ in store.scan(b"")) == 160
    store.close()


_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from loopline.storage.key_values import open_key_values
store = open_key_values(sys.argv[1])
store.put_many({b"a": store.get(b"b")})
"""


def test_it_opens_where_address_space_is_limited(tmp_path):
    store = open_key_values(tmp_path)
    store.put_many({b"b": b"2"})
    limited = run(_LIMITED, tmp_path)
    limited.communicate()
    assert limited.returncode == 0
    assert store.get(b"a") == b"2"
    store.close()


_ANSWER = """
import sys
from loopline.storage.key_values import open_key_values
store = open_key_values(sys.argv[1], read_only=True)
for line in sys.stdin:
    print(len(store.get(line.strip().encode()) or b""), flush=True)
"""


def ask(process, key):
    process.stdin.write(key + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def test_reading_processes_follow_the_writer_also_when_it_grows(tmp_path):
    store = open_key_values(tmp_path, durable=False)
    store.put_many({b"a": b"1"})
    readers = [run(_ANSWER, tmp_path) for _ in range(2)]
    assert [ask(reader, "a") for reader in readers] == [1, 1]
    store.put_many({b"b": b"22"})
    assert [ask(reader, "b") for reader in readers] == [2, 2]
    store.put_many({b"big": b"x" * 100_000_000})
    assert [ask(reader, "big") for reader in readers] == [100_000_000] * 2
    for reader in readers:
        reader.communicate()
    store.close()


_WRITE = """
import sys
from loopline.storage.key_values import open_key_values
store = open_key_values(sys.argv[1])
for number in range(int(sys.argv[3])):
    store.put_many({f"{sys.argv[2]}/{number}/{part}".encode(): b"x" * 500 for part in "ab"})
    print(number, flush=True)
"""


def test_writing_processes_take_turns(tmp_path):
    writers = [run(_WRITE, tmp_path, name, 100) for name in ("p", "q")]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    store = open_key_values(tmp_path, read_only=True)
    assert sum(1 for _ in store.scan(b"")) == 400
    store.close()


@pytest.mark.parametrize("acknowledgements", [1, 60])
def test_what_a_killed_writer_acknowledged_is_there(tmp_path, acknowledgements):
    writer = run(_WRITE, tmp_path, "p", 10**9)
    told = [int(writer.stdout.readline()) for _ in range(acknowledgements)]
    os.kill(writer.pid, signal.SIGKILL)
    told += [int(line) for line in writer.communicate()[0].split()]
    store = open_key_values(tmp_path)
    found = {key.decode() for key, _ in store.scan(b"")}
    assert {f"p/{number}/{part}" for number in told for part in "ab"} <= found
    assert {key[:-1] for key in found if key.endswith("a")} == {key[:-1] for key in found if key.endswith("b")}
    store.put_many({b"next": b"1"})
    store.close()


def test_a_child_opens_it_anew(tmp_path, key_values):
    key_values.put_many({b"a": b"1"})
    code = """
import os, sys
from loopline.storage.key_values import open_key_values
parent = open_key_values(sys.argv[1])
child = os.fork()
if child == 0:
    own = open_key_values(sys.argv[1])
    own.put_many({b"child": own.get(b"a")})
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert parent.get(b"child") == b"1"
"""
    forked = run(code, tmp_path / "online")
    forked.communicate()
    assert forked.returncode == 0
    assert key_values.get(b"child") == b"1"
