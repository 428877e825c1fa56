import os
import resource
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import Conflict, Corrupt, InvalidInput, Unavailable
from loopline.scoring.segment import HEADER, frames, read_segment, scan
from loopline.scoring.spool import Spool, claim_spool
from loopline.scoring.spool_folder import OPEN, SEALED, TORN

payloads = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


def contents(spool_folder):
    return [
        payload
        for number in spool_folder.numbers(SEALED)
        for payload in read_segment(spool_folder.segment(number, SEALED))
    ]


def dies(spool):
    """Let go as a killed process would: nothing is sealed."""
    spool._lock.close()


@settings(max_examples=80)
@given(payloads, st.integers(0, 400))
def test_a_cut_segment_gives_a_prefix_and_never_a_wrong_payload(written, cut):
    content = HEADER + frames(written)
    found, end = scan(content[:cut])
    assert found == written[: len(found)]
    assert end <= min(cut, len(content))
    assert scan(content) == (written, len(content))


@settings(max_examples=80)
@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4), st.data())
def test_a_flipped_bit_is_found(tmp_path_factory, written, data):
    content = bytearray(HEADER + frames(written))
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.mktemp("segments") / "0000000001.sealed"
    path.write_bytes(content)
    with pytest.raises(Corrupt) as caught:
        read_segment(path)
    assert caught.value.code == "spool.corrupt"


def test_zeros_in_place_of_a_lost_write_are_no_payloads():
    content = HEADER + frames([b"one"])
    assert scan(content + bytes(64)) == ([b"one"], len(content))


@pytest.mark.parametrize("fsync", [True, False])
def test_what_is_appended_is_read_back_in_order(tmp_path, fsync):
    spool = Spool(tmp_path / "spool", fsync=fsync, segment_bytes=64)
    written = [b"%03d" % number * 5 for number in range(20)]
    for start in range(0, 20, 4):
        spool.append(written[start : start + 4])
    spool.close()
    assert contents(spool.folder) == written
    assert len(spool.folder.numbers(SEALED)) == 5
    assert spool.folder.numbers(OPEN) == []


def test_a_segment_is_sealed_by_age_without_another_append(tmp_path):
    spool = Spool(tmp_path, fsync=False, segment_seconds=0.0)
    spool.append([b"x"])
    assert spool.folder.numbers(SEALED) == []
    spool.seal_if_due()
    assert spool.folder.numbers(SEALED) == [1]
    spool.seal_if_due()
    spool.close()
    assert spool.folder.numbers(SEALED) == [1]


@pytest.mark.parametrize("torn", [b"\x05", b"\x05\x00\x00\x00\x01\x02\x03\x04ab", bytes(40)])
def test_a_torn_tail_is_cut_and_kept_aside(tmp_path, torn):
    spool = Spool(tmp_path, fsync=False)
    spool.append([b"one", b"two"])
    dies(spool)
    with spool.folder.segment(1, OPEN).open("ab") as file:
        file.write(torn)
    again = Spool(tmp_path, fsync=False)
    assert contents(again.folder) == [b"one", b"two"]
    assert again.folder.segment(1, TORN).read_bytes() == torn
    again.append([b"three"])
    again.close()
    assert contents(again.folder) == [b"one", b"two", b"three"]
    assert again.id == spool.id
    assert again.instance != spool.instance


def test_one_process_owns_a_spool_and_the_next_takes_another(tmp_path):
    first = claim_spool(tmp_path, fsync=False)
    second = claim_spool(tmp_path, fsync=False)
    assert first.id != second.id
    with pytest.raises(Conflict) as caught:
        Spool(tmp_path / "0000", fsync=False)
    assert caught.value.code == "spool.in_use"
    first.close()
    assert claim_spool(tmp_path, fsync=False).id == first.id


def test_segment_numbers_are_never_used_again(tmp_path):
    spool = Spool(tmp_path, fsync=False)
    spool.append([b"x"])
    spool.close()
    spool.folder.keep(spool.folder.state().__class__(id=spool.id, shipped=1))
    spool.folder.segment(1, SEALED).unlink()
    again = Spool(tmp_path, fsync=False)
    again.append([b"y"])
    again.close()
    assert again.folder.numbers(SEALED) == [2]


def test_an_empty_payload_is_refused(tmp_path):
    spool = Spool(tmp_path, fsync=False)
    with pytest.raises(InvalidInput):
        spool.append([b"good", b""])
    spool.close()
    assert contents(spool.folder) == []


def test_threads_share_a_spool(tmp_path):
    spool = Spool(tmp_path, fsync=False, segment_bytes=500)
    mine = [[b"%d-%d" % (thread, number) for number in range(100)] for thread in range(4)]
    threads = [threading.Thread(target=lambda own: [spool.append([one]) for one in own], args=(own,)) for own in mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spool.close()
    found = contents(spool.folder)
    assert sorted(found) == sorted(payload for own in mine for payload in own)
    for own in mine:
        assert [payload for payload in found if payload in set(own)] == own


def test_a_full_disk_refuses_and_leaves_the_segment_valid(tmp_path):
    """The limit on a file's size stands in for the disk: the write stops in the middle of a frame as it would there."""
    script = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from loopline.errors import Unavailable
        from loopline.scoring.spool import Spool
        spool = Spool(Path(sys.argv[1]), fsync=False)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        for number in range(30):
            try:
                spool.append([b"%02d" % number * 25])
                print(number, "kept", flush=True)
            except Unavailable as error:
                print(number, error.code, flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        spool.append([b"after"])
        spool.close()
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], check=True, capture_output=True, text=True, env=os.environ
    )
    told = dict(line.split() for line in done.stdout.splitlines())
    kept = [b"%02d" % int(number) * 25 for number, what in told.items() if what == "kept"]
    assert set(told.values()) == {"kept", "spool.full"}
    spool = Spool(tmp_path, fsync=False)
    assert contents(spool.folder) == [*kept, b"after"]
    assert spool.folder.numbers(TORN) == []


def test_a_folder_without_room_for_a_segment_refuses_and_recovers(tmp_path):
    spool = Spool(tmp_path, fsync=False)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        with pytest.raises(Unavailable) as caught:
            spool.append([b"x"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "spool.full"
    spool.append([b"y"])
    spool.close()
    assert contents(spool.folder) == [b"y"]
