"""Mail against a real SMTP server on a socket, which speaks as much of RFC 5321 as a client needs."""

import socketserver
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import NamedTuple

import pytest
from structlog.testing import capture_logs

from loopline.errors import InvalidInput
from loopline.incidents.email import EmailChannel, MailServer, read_addresses
from loopline.incidents.notify import Channels

MESSAGE = {
    "id": "note_1",
    "event": "incident.opened",
    "project": "flights",
    "model": "late",
    "incident": "inc_1",
    "severity": "critical",
    "to": "team-risk",
    "text": "Verspätung: mehr als\r\nBcc: everyone@example.org",
}


class Mail(NamedTuple):
    sender: str
    recipients: list[str]
    message: EmailMessage


class Post:
    """A mail server in a thread. `refuses` makes it answer 550 to recipients, `hangs_up` end before it takes the text."""

    def __init__(self, *, refuses: bool = False, hangs_up: bool = False) -> None:  # noqa: C901 - one protocol, one place
        self.received: list[Mail] = []
        self.logins: list[bytes] = []
        post = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.say(b"220 post ready")
                sender, recipients = "", []
                while line := self.rfile.readline():
                    verb = line.split(b" ")[0].strip().upper()
                    if verb == b"EHLO":
                        self.say(b"250-post\r\n250-AUTH PLAIN\r\n250 8BITMIME")
                    elif verb == b"AUTH":
                        post.logins.append(line.split()[-1])
                        self.say(b"235 welcome")
                    elif verb == b"MAIL":
                        sender = line.split(b"<")[1].split(b">")[0].decode()
                        self.say(b"250 ok")
                    elif verb == b"RCPT" and refuses:
                        self.say(b"550 nobody here")
                    elif verb == b"RCPT":
                        recipients.append(line.split(b"<")[1].split(b">")[0].decode())
                        self.say(b"250 ok")
                    elif verb == b"DATA" and hangs_up:
                        return
                    elif verb == b"DATA":
                        self.say(b"354 go on")
                        post.received.append(Mail(sender, recipients, self.text()))
                        self.say(b"250 taken")
                    elif verb == b"QUIT":
                        self.say(b"221 bye")
                        return
                    else:
                        self.say(b"250 ok")

            def say(self, line: bytes) -> None:
                self.wfile.write(line + b"\r\n")

            def text(self) -> EmailMessage:
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
                return message_from_bytes(b"".join(lines), policy=policy.default)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def channel(self, addresses: str = "team-risk=risk@example.org,*=ops@example.org", **said) -> EmailChannel:
        server = MailServer("127.0.0.1", self.port, "none", said.pop("user", ""), said.pop("password", ""))
        return EmailChannel(server, sender="loop@example.org", addresses=read_addresses(addresses), timeout=2, **said)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    yield made
    made.stop()


def test_the_owner_gets_it_with_an_id_to_tell_it_by(post):
    channel = post.channel()
    assert channel.takes(MESSAGE)
    assert channel.send(MESSAGE)
    assert channel.send(MESSAGE)
    first, second = post.received
    assert (first.sender, first.recipients) == ("loop@example.org", ["risk@example.org"])
    assert first.message["message-id"] == second.message["message-id"] == "<note_1@loopline.invalid>"
    assert first.message["x-loopline-notification"] == "note_1"
    body = first.message.get_content()
    assert "Verspätung" in body
    assert "incident: inc_1" in body


def test_a_text_cannot_add_headers_or_recipients(post):
    post.channel().send(MESSAGE)
    [mail] = post.received
    assert mail.message["bcc"] is None
    assert mail.recipients == ["risk@example.org"]
    assert mail.message["subject"] == "[critical] flights/late: Verspätung: mehr als Bcc: everyone@example.org"


@pytest.mark.parametrize(
    ("to", "reached"),
    [("team-risk", "risk@example.org"), ("ann@example.org", "ann@example.org"), ("", "ops@example.org")],
)
def test_mail_is_routed_by_owner(post, to, reached):
    post.channel().send({**MESSAGE, "to": to})
    assert post.received[0].recipients == [reached]


def test_what_is_for_nobody_with_an_address_or_not_severe_enough_is_not_taken(post):
    assert not post.channel("team-risk=risk@example.org").takes({**MESSAGE, "to": "team-ops"})
    assert not post.channel(least="critical").takes({**MESSAGE, "severity": "warning"})
    assert post.channel(least="warning").takes({**MESSAGE, "severity": "warning"})


def test_who_logs_in_is_told_to_the_server(post):
    assert post.channel(user="loop", password="secret").send(MESSAGE)
    assert post.logins == [b"AGxvb3AAc2VjcmV0"]


@pytest.mark.parametrize("trouble", [{"refuses": True}, {"hangs_up": True}])
def test_what_the_server_does_not_take_is_logged_and_said(trouble):
    post = Post(**trouble)
    with capture_logs() as logs:
        sent, whole = Channels([post.channel()]).send(MESSAGE)
    post.stop()
    assert (sent, whole, post.received) == ([], False, [])
    assert [line["event"] for line in logs] == ["email_failed"]


def test_a_server_that_is_not_there_or_offers_no_tls_is_no_error(post):
    gone = Post()
    gone.stop()
    with capture_logs():
        assert not gone.channel().send(MESSAGE)
        secure = EmailChannel(
            MailServer("127.0.0.1", post.port, "starttls"), sender="a@example.org", addresses={"*": "b@example.org"}
        )
        assert not secure.send(MESSAGE)
    assert post.received == []


def test_a_channel_that_took_it_is_not_asked_again(post):
    channels = Channels([post.channel()])
    assert channels.send(MESSAGE) == (["email"], True)
    assert channels.send(MESSAGE, already=["email"]) == (["email"], True)
    assert len(post.received) == 1


def test_settings_that_make_no_sense_are_refused():
    assert read_addresses("ops@example.org") == {"*": "ops@example.org"}
    assert read_addresses("") == {}
    for text in ("team-risk", "a=b", "a=x@y\nBcc: z@y"):
        with pytest.raises(InvalidInput):
            read_addresses(text)
    with pytest.raises(InvalidInput):
        MailServer("h", 25, "ssl")
    with pytest.raises(InvalidInput):
        EmailChannel(MailServer("h"), sender="a@b", addresses={}, least="loud")
