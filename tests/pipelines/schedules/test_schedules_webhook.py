"""Signed messages: the specification's own example, forged, late, repeated and rotated ones."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pipelines.schedules.conftest import HandClock

import loopline as ll
from loopline.errors import Corrupt, InvalidInput, NotAuthenticated, NotFound
from loopline.pipelines.schedules import signal, webhook

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
SEALING = b"k" * 32
BODY = b'{"rows": 3}'


def make(home, *, at=T0, entropy=None, hook="orders"):
    said = {"entropy": entropy} if entropy else {}
    with home.transaction() as tx:
        return webhook.make_secret(tx, project="p", hook=hook, sealing=SEALING, at=at, actor="ann", **said)


def receive(home, told, *, body=BODY, at=T0, hook="orders", sealing=SEALING):
    with home.transaction() as tx:
        return webhook.receive(tx, project="p", hook=hook, told=told, body=body, sealing=sealing, machine=at, at=at)


def signed(secret, *, message_id="msg_1", at=T0, body=BODY):
    return webhook.headers(secret, message_id=message_id, at=at, body=body)


def waiting(home):
    with home.reading() as tx:
        return signal.waiting(tx, "p")


def refused(home, told, code="webhook.bad_signature", **said):
    with pytest.raises(NotAuthenticated) as raised:
        receive(home, told, **said)
    assert raised.value.code == code
    return raised.value


def test_the_example_of_the_specification():
    """standardwebhooks.com: secret, id, timestamp and payload with the signature they give."""
    told = webhook.headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=datetime.fromtimestamp(1614265330, UTC),
        body=b'{"test": 2432232314}',
    )
    assert told == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_signed_message_fires_what_waits_for_it_once(home, scheduler, declare):
    declare(ll.on_webhook("orders"), at=T0)
    declare(ll.on_webhook("other"), at=T0, pipeline="other")
    told = signed(make(home))
    assert receive(home, told) is True
    assert receive(home, told) is False  # sent again
    [tick] = scheduler(HandClock(T0)).step()
    assert receive(home, told) is False  # also after it was taken
    assert scheduler(HandClock(T0)).step() == []
    assert (tick.state, tick.fire_at, tick.window_end) == ("started", T0, None)


@settings(max_examples=60, deadline=None)
@given(
    place=st.integers(0, 2**10), bit=st.integers(0, 7), part=st.sampled_from(["body", "id", "timestamp", "signature"])
)
def test_a_changed_bit_is_refused(place, bit, part):
    key, stamp, body = b"s" * 32, str(int(T0.timestamp())), BODY
    parts = {"id": b"msg_1", "timestamp": stamp.encode(), "body": body}
    parts["signature"] = base64.b64encode(hmac.digest(key, b"%b.%b.%b" % tuple(parts.values()), hashlib.sha256))
    content = bytearray(parts[part])
    content[place % len(content)] ^= 1 << bit
    changed = parts | {part: bytes(content)}
    told = {
        "webhook-id": changed["id"].decode("latin-1"),
        "webhook-timestamp": changed["timestamp"].decode("latin-1"),
        "webhook-signature": "v1," + changed["signature"].decode("latin-1"),
    }
    assert webhook.signed_by([key], told, changed["body"]) is (changed == parts)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_is_missing_is_refused(home, missing):
    told = signed(make(home))
    del told[missing]
    refused(home, told)
    assert waiting(home) == []


def test_a_hook_that_is_not_there_is_told_from_none(home):
    told = signed(make(home))
    unknown, forged = refused(home, told, hook="unknown"), refused(home, told, body=b"x")
    assert str(unknown) == str(forged)
    refused(home, signed("whsec_" + base64.b64encode(b"\x00" * 32).decode()), hook="unknown")


@pytest.mark.parametrize("seconds", [-301, 301, 86_400])
def test_what_was_signed_long_ago_or_ahead_is_refused(home, seconds):
    secret = make(home)
    refused(home, signed(secret), "webhook.out_of_time", at=T0 + timedelta(seconds=seconds))
    assert receive(home, signed(secret), at=T0 + timedelta(seconds=299))


@pytest.mark.parametrize("stamp", ["", "soon", "-5", "9" * 40, "²"])
def test_a_time_that_is_none_is_refused_however_well_it_is_signed(home, stamp):
    secret = make(home)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = hmac.digest(key, f"msg_1.{stamp}.".encode() + BODY, "sha256")
    told = {
        "webhook-id": "msg_1",
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
    }
    refused(home, told, "webhook.out_of_time")


def test_an_earlier_secret_is_valid_for_a_day(home):
    old = make(home)
    new = make(home, at=T0 + timedelta(minutes=1))
    assert old != new
    soon, late = T0 + timedelta(hours=23), T0 + timedelta(hours=25)
    assert receive(home, signed(old, at=soon), at=soon)
    assert receive(home, signed(new, at=late, message_id="msg_2"), at=late)
    refused(home, signed(old, at=late, message_id="msg_3"), at=late)


def test_several_signatures_stand_side_by_side(home):
    told = signed(make(home))
    told["webhook-signature"] = f"v1a,xxx v1,{'A' * 43}= {told['webhook-signature']}"
    assert receive(home, told)


def test_a_secret_is_kept_sealed_and_goes_with_its_hook(home, database_url):
    secret = make(home, entropy=lambda count: b"z" * count)
    assert base64.b64decode(secret.removeprefix("whsec_")) == b"z" * 32
    with home.reading() as tx:
        row = str(tx.execute(webhook.store.hook.select()).one())
    assert secret.removeprefix("whsec_") not in row
    with pytest.raises(Corrupt):
        receive(home, signed(secret), sealing=b"x" * 32)
    with home.transaction() as tx:
        webhook.remove(tx, project="p", hook="orders", at=T0, actor="ann")
    refused(home, signed(secret))
    with home.transaction() as tx, pytest.raises(NotFound):
        webhook.remove(tx, project="p", hook="orders", at=T0, actor="ann")


@pytest.mark.parametrize(
    ("body", "given"),
    [(b'{"rows": 3}', {"rows": 3}), (b"[1, null]", [1, None]), (b"plain \xc3\xa9", "plain \u00e9"), (b"", "")],
)
def test_what_a_message_says_is_given_to_the_pipeline(home, scheduler, declare, body, given):
    secret, told = make(home), []
    declare(ll.on_webhook("orders", body="message", params={"region": "west"}), at=T0)
    declare(ll.on_webhook("orders"), at=T0, pipeline="deaf")

    def start(tx, pipeline, params, window, at, *, tick):
        told.append((pipeline, params))
        return tick

    assert receive(home, signed(secret, body=body), body=body)
    assert not receive(home, signed(secret, body=body), body=body)
    scheduler(HandClock(T0), start=start).step()
    assert sorted(told) == [("deaf", {}), ("sales", {"region": "west", "message": given})]


def test_a_message_that_nobody_reads_is_not_kept(home, declare):
    secret = make(home)
    declare(ll.on_webhook("orders"), at=T0)
    declare(ll.on_webhook("other", body="message"), at=T0, pipeline="other")
    receive(home, signed(secret))
    assert [one.subject for one in waiting(home)] == [{"hook": "orders", "message": "msg_1"}]


@pytest.mark.parametrize(
    ("body", "code"), [(b"\xff", "webhook.body_not_text"), (b"x" * 1_000_001, "webhook.body_too_long")]
)
def test_a_message_that_no_pipeline_can_be_given_is_refused_and_may_come_again(home, declare, body, code):
    secret = make(home)
    declare(ll.on_webhook("orders", body="message"), at=T0)
    with pytest.raises(InvalidInput) as raised:
        receive(home, signed(secret, body=body), body=body)
    assert raised.value.code == code
    assert waiting(home) == []
    assert receive(home, signed(secret))
