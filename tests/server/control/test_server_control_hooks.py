"""Webhooks over HTTP: the signature lets in, nothing else does."""

import pytest
from tests.server.control.conftest import NOW, PROJECT

from loopline.clock import SystemClock
from loopline.pipelines.schedules import signal, webhook

PLACE = f"/api/v1/hooks/{PROJECT}/orders"
BODY = b'{"rows": 3}'


@pytest.fixture
def secret(served):
    sealing = served.resources.pseudonyms.secret(webhook.PURPOSE)
    with served.resources.database.transaction() as tx:
        return webhook.make_secret(tx, project=PROJECT, hook="orders", sealing=sealing, at=NOW, actor="ann")


def signed(secret, message_id="msg_1", body=BODY):
    return webhook.headers(secret, message_id=message_id, at=SystemClock().now(), body=body)


def waiting(served):
    with served.resources.database.reading() as tx:
        return [one.subject for one in signal.waiting(tx, PROJECT)]


def test_a_signed_message_is_taken_once(served, secret):
    for new in (True, False):
        answer = served.client.post(PLACE, content=BODY, headers=signed(secret))
        assert (answer.status_code, answer.json()) == (202, {"new": new})
    assert waiting(served) == [{"hook": "orders", "message": "msg_1"}]


def test_neither_a_token_nor_a_wrong_signature_lets_in(served, secret):
    everything = served.token("loop:apply", "tokens:manage")
    forged = signed(secret) | {"webhook-signature": "v1,AAAA"}
    for headers in (everything, forged, {}, signed(secret, body=b"other")):
        answer = served.client.post(PLACE, content=BODY, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "webhook.bad_signature")
    unknown = served.client.post("/api/v1/hooks/nowhere/orders", content=BODY, headers=signed(secret))
    assert unknown.status_code == 401
    assert waiting(served) == []


def test_a_body_that_is_too_large_is_refused(served, secret):
    body = b"x" * ((1 << 20) + 1)
    answer = served.client.post(PLACE, content=body, headers=signed(secret, body=body))
    assert (answer.status_code, answer.json()["code"]) == (413, "http.body_too_large")
    assert waiting(served) == []
