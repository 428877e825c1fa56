"""The hash chain, against digests computed here with hashlib and json."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.errors import Conflict, Corrupt, InvalidInput, NotFound
from loopline.ledger import chain, store

T0 = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def note(tx, number, **changes):
    fields = {
        "project": "flights",
        "at": T0 + timedelta(hours=number),
        "kind": "promotion" if number % 2 else "alarm",
        "actor": "ada",
        "subject": f"model-{number % 3}",
        "body": {"n": number, "why": "bétter", "loss": 0.1 * number},
        "key": f"k{number}",
    }
    return chain.append(tx, **(fields | changes))


def fill(database, count=5):
    with database.transaction() as tx:
        return [note(tx, number) for number in range(1, count + 1)]


def digest_by_hand(entry):
    at = entry.at.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
    content = [entry.prev, entry.project, entry.seq, at, entry.kind, entry.actor, entry.subject, sha256(entry.body)]
    return sha256(content)


def sha256(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_entries_are_chained_from_genesis(database):
    written = fill(database)
    assert [entry.seq for entry in written] == [1, 2, 3, 4, 5]
    assert [entry.prev for entry in written] == [chain.GENESIS, *(entry.digest for entry in written[:-1])]
    assert [entry.digest for entry in written] == [digest_by_hand(entry) for entry in written]


def test_entries_read_back_as_written(database):
    written = fill(database)
    with database.reading() as tx:
        assert chain.entries(tx, "flights") == written
        assert chain.head(tx, "flights") == chain.Head(5, written[-1].digest) == chain.verify(tx, "flights")
        assert chain.head(tx, "empty") == chain.Head(0, chain.GENESIS) == chain.verify(tx, "empty")


def test_measured_values_and_zones_do_not_touch_the_digest(database):
    local = T0.astimezone(timezone(timedelta(hours=5)))
    with database.transaction() as tx:
        plain = note(tx, 1, project="a", at=T0)
        measured = note(tx, 1, project="b", at=local, measured={"seconds": 1.25})
        assert measured.at == T0
        assert chain.entries(tx, "b")[0].measured == {"seconds": 1.25}
        chain.verify(tx, "b")
    assert digest_by_hand(plain) == plain.digest
    assert digest_by_hand(measured) == measured.digest


def test_entries_are_filtered_paged_and_turned(database):
    fill(database, 9)

    def found(**wanted):
        with database.reading() as tx:
            return [entry.seq for entry in chain.entries(tx, "flights", **wanted)]

    assert found(kind="promotion") == [1, 3, 5, 7, 9]
    assert found(subject="model-0") == [3, 6, 9]
    assert found(kind="alarm", subject="model-0") == [6]
    assert found(after=7) == [8, 9]
    assert found(limit=2, newest_first=True) == [9, 8]
    assert found(limit=2, newest_first=True, before=8) == [7, 6]
    assert found(after=2, limit=3) == [3, 4, 5]


def test_a_retry_returns_the_first_entry(database):
    first = fill(database, 3)[1]
    with database.transaction() as tx:
        assert note(tx, 2, at=T0 + timedelta(days=9), measured={"seconds": 2}) == first
        assert chain.head(tx, "flights").seq == 3


@pytest.mark.parametrize("change", [{"kind": "other"}, {"actor": "bob"}, {"subject": "x"}, {"body": {"n": 2}}])
def test_a_key_cannot_stand_for_two_events(database, change):
    fill(database, 2)
    with database.transaction() as tx:
        with pytest.raises(Conflict) as raised:
            note(tx, 2, **change)
        assert raised.value.code == "ledger.key_reused"
        assert chain.verify(tx, "flights").seq == 2


def test_projects_have_chains_and_keys_of_their_own(database):
    with database.transaction() as tx:
        assert [note(tx, 1, project=name).seq for name in ("a", "b", "a")] == [1, 1, 1]


def test_bad_input_changes_nothing(database):
    with database.transaction() as tx:
        for field in ("project", "kind", "key"):
            with pytest.raises(InvalidInput, match=f"an entry needs a {field}"):
                note(tx, 1, **{field: ""})
        with pytest.raises(InvalidInput):
            note(tx, 1, at=datetime(2026, 1, 1))  # noqa: DTZ001 - a time without a zone is the point
        assert chain.entries(tx, "flights") == []


TAMPERINGS = {
    "body": ("update ledger set body = replace(body, '\"n\":3', '\"n\":4') where seq = 3", 3),
    "white space in the body": ("update ledger set body = body || ' ' where seq = 3", 3),
    "actor": ("update ledger set actor = 'mallory' where seq = 4", 4),
    "kind": ("update ledger set kind = 'x' where seq = 1", 1),
    "subject": ("update ledger set subject = 'x' where seq = 5", 5),
    "time": ("update ledger set at = (select at from ledger where seq = 1) where seq = 2", 2),
    "prev": ("update ledger set prev = digest where seq = 2", 2),
    "digest": ("update ledger set digest = prev where seq = 2", 2),
    "missing": ("delete from ledger where seq = 3", 3),
    "missing first": ("delete from ledger where seq = 1", 1),
    "reordered": ("update ledger set seq = case seq when 2 then 103 when 3 then 102 end where seq in (2, 3)", 2),
    "moved to another project": ("update ledger set project = 'sky' where seq = 2", 2),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_verify_names_the_first_bad_entry(database, what):
    fill(database)
    statement, seq = TAMPERINGS[what]
    with database.transaction() as tx:
        tx.exec_driver_sql(statement)
        tx.exec_driver_sql("update ledger set seq = seq - 100 where seq > 100")
        with pytest.raises(Corrupt, match=f"entry {seq} of the ledger of 'flights'") as raised:
            chain.verify(tx, "flights")
    assert (raised.value.code, raised.value.context["seq"]) == ("ledger.broken", seq)


def test_a_time_that_cannot_be_read_is_broken(database):
    fill(database, 3)
    if database.engine.dialect.name == "postgresql":
        return  # its column type refuses such a value
    with database.transaction() as tx:
        tx.exec_driver_sql("update ledger set at = 'soon' where seq = 2")
        with pytest.raises(Corrupt, match="cannot be read"):
            chain.verify(tx, "flights")


def test_an_anchor_finds_a_cut_and_a_rewritten_chain(database):
    fill(database, 5)
    with database.transaction() as tx:
        anchor = chain.head(tx, "flights")
        note(tx, 6)
        assert chain.verify(tx, "flights", anchor=anchor).seq == 6
        tx.exec_driver_sql("delete from ledger where seq > 3")
        assert chain.verify(tx, "flights").seq == 3
        with pytest.raises(Corrupt, match="entry 4 of the ledger of 'flights' is missing"):
            chain.verify(tx, "flights", anchor=anchor)
        note(tx, 4)
        note(tx, 5, actor="mallory")
        with pytest.raises(Corrupt, match=r"entry 5 .* is not the one that was noted"):
            chain.verify(tx, "flights", anchor=anchor)


def test_verify_reads_more_than_one_batch(database):
    fill(database, 520)
    with database.reading() as tx:
        assert chain.verify(tx, "flights").seq == 520


def test_appends_of_many_threads_make_one_chain(database):
    def work(worker):
        for number in range(25):
            with database.transaction() as tx:
                note(tx, number, key=f"{worker}/{number}")
                note(tx, number, key=f"shared/{number}", subject="all")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    with database.reading() as tx:
        assert chain.verify(tx, "flights").seq == 8 * 25 + 25


def test_an_aborted_transaction_leaves_no_entry(database):
    def note_and_fail():
        with database.transaction() as tx:
            note(tx, 2)
            raise ZeroDivisionError

    fill(database, 1)
    with pytest.raises(ZeroDivisionError):
        note_and_fail()
    with database.reading() as tx:
        assert chain.verify(tx, "flights").seq == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bodies=st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), max_size=4),
    at=st.datetimes(timezones=st.just(UTC)),
)
def test_any_json_body_verifies_after_it_was_stored(database, bodies, at):
    with database.engine.connect().execution_options(loopline_write=True) as tx:
        for number, body in enumerate(bodies):
            chain.append(tx, project="p", at=at, kind="k", actor="a", subject="s", body=body, key=str(number))
            chain.append(tx, project="p", at=at, kind="k", actor="a", subject="s", body=body, key=str(number))
        assert chain.verify(tx, "p").seq == len(bodies)
        tx.rollback()


def test_a_body_is_replaced_and_the_chain_holds(database):
    written = fill(database)
    with database.transaction() as tx:
        for text in ("person:1", "person:2"):
            vouches = chain.redact(tx, "flights", 2, {"n": 2, "why": text}, at=T0, actor="erasure", reason="e1")
    with database.reading() as tx:
        head = chain.verify(tx, "flights", anchor=chain.Head(5, written[-1].digest))
        entries = chain.entries(tx, "flights")
    assert head == chain.Head(7, vouches.digest)
    assert entries[1].body == {"n": 2, "why": "person:2"}
    assert (entries[1].digest, entries[1].redacted) == (written[1].digest, sha256(written[1].body))
    assert vouches.body == {"seq": 2, "was": sha256(written[1].body), "is": sha256(entries[1].body), "reason": "e1"}
    with database.transaction() as tx:  # a retry of what was redacted is still known
        assert note(tx, 2).seq == 2
        with pytest.raises(NotFound):
            chain.redact(tx, "flights", 99, {}, at=T0, actor="erasure", reason="e1")


def test_a_body_that_nobody_vouches_for_breaks_the_chain(database):
    """Neither saying that a body was replaced, nor replacing it again behind the entry that vouched, goes unseen."""
    written = fill(database)
    was = sha256(written[1].body)
    with database.transaction() as tx:
        store.replace_body(tx, "flights", 2, {"n": 200}, was)
    with database.reading() as tx, pytest.raises(Corrupt) as broken:
        chain.verify(tx, "flights")
    assert broken.value.context["seq"] == 2
    with database.transaction() as tx:
        chain.redact(tx, "flights", 2, {"n": 2}, at=T0, actor="erasure", reason="e1")
        chain.verify(tx, "flights")
        store.replace_body(tx, "flights", 2, {"n": 200}, was)
    with database.reading() as tx, pytest.raises(Corrupt):
        chain.verify(tx, "flights")
