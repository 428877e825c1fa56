"""Slack's shape, and signatures that a receiver checks, on a real web server."""

import base64
import hashlib
import hmac
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loopline.app.home import open_home
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import InvalidInput
from loopline.incidents.notify import WebhookChannel
from loopline.incidents.slack import SlackChannel

MESSAGE = {
    "id": "note_1", "event": "step.failed", "project": "shop", "pipeline": "sales", "severity": "warning", "to": "ops",
    "text": "read <!channel> & more", "class": "access", "count": 12, "group": "g", "keys": ["k"],
}  # fmt: skip


@contextmanager
def receiver():
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((dict(self.headers.items()), body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/services/x", received
    server.shutdown()
    server.server_close()


def test_slack_gets_a_text_and_blocks_and_no_text_calls_a_channel():
    with receiver() as (url, received):
        assert SlackChannel(url, allow_private=True).send(MESSAGE)
    [(_, body)] = received
    told = json.loads(body)
    assert told["text"] == "[warning] shop/sales: read &lt;!channel&gt; &amp; more"
    assert [one["type"] for one in told["blocks"]] == ["header", "section", "context"]
    assert told["blocks"][0]["text"]["text"] == "🟠 shop/sales"
    assert told["blocks"][2]["elements"][0]["text"] == "*pipeline* sales  *class* access  *count* 12"
    assert b"<!channel>" not in body


def test_slack_gets_digests_and_long_texts_within_its_bounds():
    digest = {**MESSAGE, "text": "x" * 9000, "notifications": [{"text": f"part {number}"} for number in range(50)]}
    with receiver() as (url, received):
        assert SlackChannel(url, allow_private=True).send(digest)
    told = json.loads(received[0][1])
    assert max(len(one["text"]["text"]) for one in told["blocks"][:2]) <= 3000
    assert len(told["text"]) <= 3000


def test_a_signed_message_can_be_checked_with_the_standard_library_alone():
    key, at = b"k" * 24, datetime(2026, 3, 2, tzinfo=UTC)
    secret = "whsec_" + base64.b64encode(key).decode()
    with receiver() as (url, received):
        assert WebhookChannel(url, allow_private=True, secret=secret, clock=ReplayClock(at)).send(MESSAGE)
        assert WebhookChannel(url, allow_private=True).send(MESSAGE)
    (headers, body), (unsigned, _) = received
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("note_1", str(int(at.timestamp())))
    expected = hmac.new(key, b"note_1.%d." % at.timestamp() + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
    assert "webhook-signature" not in unsigned


@pytest.mark.parametrize("secret", ["secret", "whsec_", "whsec_?", "whsec_a"])
def test_a_secret_that_is_none_is_refused(secret):
    with pytest.raises(InvalidInput) as told:
        WebhookChannel("http://hook.example.org/", secret=secret)
    assert told.value.code == "webhook.bad_secret"


def test_settings_name_themselves_where_they_are_wrong():
    with pytest.raises(InvalidInput, match="LOOPLINE_SLACK_URL"):
        SlackChannel("ftp://x")
    with pytest.raises(InvalidInput, match="LOOPLINE_SLACK_SEVERITY"):
        SlackChannel("http://x.example.org/", least="loud")


def test_a_home_tells_slack_where_that_is_set(tmp_path):
    with receiver() as (url, received):
        environment = {"LOOPLINE_DURABLE": "0", "LOOPLINE_SLACK_URL": url, "LOOPLINE_WEBHOOK_PRIVATE": "1"}
        resources = open_home(Settings.read(tmp_path / "home", environment))
        sent, whole = resources.channels.send(MESSAGE)
        resources.database.close()
    assert (sorted(sent), whole, len(received)) == (["log", "slack"], True, 1)
