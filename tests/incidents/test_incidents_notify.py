import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from loopline.errors import InvalidInput
from loopline.incidents.notify import Channels, LogChannel, WebhookChannel

MESSAGE = {"event": "incident.opened", "model": "late", "text": "Verspätung: mehr als versprochen"}
NAME = "hook.test"


class Received(NamedTuple):
    path: str
    host: str
    content_type: str
    message: dict


class Hook:
    """A real web server in a thread that keeps what it was sent; `status` and `location` are what it answers."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, status: int = 204, location: str = "") -> None:
        self.received: list[Received] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.received.append(
                    Received(self.path, self.headers["host"], self.headers["content-type"], json.loads(body))
                )
                self.send_response(status)
                if location:
                    self.send_header("location", location)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def hooked(**answer: object) -> Iterator[Hook]:
    hook = Hook(**answer)
    try:
        yield hook
    finally:
        hook.stop()


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets `hook.test` mean 127.0.0.1 the first time it is asked for, and nothing afterwards; says what was asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        if host != NAME:
            return real(host, port, *args, **kwargs)
        asked.append(host)
        if len(asked) > 1:
            raise socket.gaierror(socket.EAI_NONAME, "asked twice")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port or 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def failures(url: str, **options: object) -> list[dict]:
    with capture_logs() as logs:
        WebhookChannel(url, **options).send(MESSAGE)
    return [entry for entry in logs if entry["event"] == "webhook_failed"]


def test_a_server_receives_the_message_as_json():
    with hooked() as hook:
        assert failures(f"http://127.0.0.1:{hook.port}/services/secret?x=1", allow_private=True) == []
    [received] = hook.received
    assert received == Received("/services/secret?x=1", f"127.0.0.1:{hook.port}", "application/json", MESSAGE)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"]
)
def test_private_addresses_are_refused_by_default(host):
    with hooked() as hook:
        [failed] = failures(f"http://{host}:{hook.port}/", timeout=0.2)
    assert "private address" in failed["error"]
    assert hook.received == []


@pytest.mark.parametrize(
    "url", ["ftp://host/", "file:///etc/passwd", "hook", "http://", "http://host:99999/", "http://host:eighty/"]
)
def test_what_is_no_web_address_is_refused_at_once(url):
    with pytest.raises(InvalidInput) as caught:
        WebhookChannel(url)
    assert caught.value.code == "webhook.bad_url"


def test_the_name_is_asked_once_and_its_address_kept(resolver):
    with hooked() as hook:
        assert failures(f"http://{NAME}:{hook.port}/in", allow_private=True) == []
    assert resolver == [NAME]
    assert [(one.path, one.host) for one in hook.received] == [("/in", f"{NAME}:{hook.port}")]


def test_tls_is_checked_against_the_name(resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    certificate, key = certificate_for(NAME, tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with hooked(tls=context) as hook:
        assert failures(f"https://{NAME}:{hook.port}/", allow_private=True) == []
        [failed] = failures(f"https://localhost:{hook.port}/", allow_private=True)
    assert "certificate" in failed["error"].lower()
    assert names == [NAME, "localhost"]
    assert [one.message for one in hook.received] == [MESSAGE]


def test_another_address_is_tried_where_the_first_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        if host != NAME:
            return real(host, port, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with hooked() as hook:
        assert failures(f"http://{NAME}:{hook.port}/", allow_private=True) == []
    assert len(hook.received) == 1


def test_one_private_address_among_several_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("93.184.216.34", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)
    [failed] = failures("http://both.test/")
    assert "127.0.0.1" in failed["error"]


def test_a_dead_server_does_not_raise_and_the_log_keeps_the_secret():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    [failed] = failures(f"http://127.0.0.1:{port}/services/secret", allow_private=True)
    assert failed["host"] == "127.0.0.1"
    assert "secret" not in repr(failed)


@pytest.mark.parametrize("url", ["http://no-such-host.invalid/", f"http://{'a' * 70}.test/"])
def test_a_name_without_an_address_does_not_raise(url, monkeypatch: pytest.MonkeyPatch):
    def getaddrinfo(host, *_args, **_kwargs):
        host.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert len(failures(url)) == 1


def test_a_redirect_is_not_followed():
    with hooked() as inner, hooked(status=307, location=f"http://127.0.0.1:{inner.port}/inner") as outer:
        [failed] = failures(f"http://127.0.0.1:{outer.port}/", allow_private=True)
    assert "307" in failed["error"]
    assert (len(outer.received), inner.received) == (1, [])


@pytest.mark.parametrize("status", [404, 500])
def test_a_refusal_is_logged(status):
    with hooked(status=status) as hook:
        [failed] = failures(f"http://127.0.0.1:{hook.port}/services/secret", allow_private=True)
    assert str(status) in failed["error"]
    assert "secret" not in repr(failed)


def test_every_channel_is_told_although_one_fails():
    with hooked() as hook, socket.socket() as taken, capture_logs() as logs:
        taken.bind(("127.0.0.1", 0))
        dead, alive = (f"http://127.0.0.1:{port}/" for port in (taken.getsockname()[1], hook.port))
        Channels([WebhookChannel(url, allow_private=True) for url in (dead, alive)] + [LogChannel()]).send(MESSAGE)
    assert [one.message for one in hook.received] == [MESSAGE]
    told = {key: value for key, value in logs[-1].items() if key != "log_level"}
    assert told == {"event": "page", "what": "incident.opened"} | {
        key: value for key, value in MESSAGE.items() if key != "event"
    }


def certificate_for(name: str, folder: Path) -> tuple[Path, Path]:
    """A certificate for `name`, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private
