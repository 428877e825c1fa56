"""Mail through a real server, aiosmtpd, that wants TLS and a login."""

import socket
import ssl
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from loopline.incidents.email import EmailChannel, MailServer

MESSAGE = {"id": "note_1", "event": "step.failed", "project": "shop", "severity": "warning", "to": "ops", "count": 12,
           "text": "sales.read: Verspätung (12 times since 2026-01-01 12:06 UTC)"}  # fmt: skip


class Kept(Message):
    """Keeps what the server took."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def handle_message(self, message):
        self.messages.append(message)


@pytest.fixture
def certificate(tmp_path):
    """A certificate for localhost, and its key, as one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def let_in(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"loop", b"secret"))


@contextmanager
def served(certificate):
    """The port of a server that takes mail only over TLS and with a login, and what it took."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    kept = Kept()
    server = Controller(
        kept, hostname="localhost", port=free_port(), tls_context=context, require_starttls=True, auth_required=True,
        authenticator=let_in,
    )  # fmt: skip
    server.start()
    try:
        yield server.port, kept.messages
    finally:
        server.stop()


def channel(port, password="secret"):
    server = MailServer("localhost", port, "starttls", "loop", password)
    return EmailChannel(server, sender="loop@example.org", addresses={"*": "ops@example.org"}, timeout=5)


def test_mail_goes_over_tls_with_a_login(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with served(certificate) as (port, messages):
        assert channel(port).send(MESSAGE)
    [mail] = messages
    assert (mail["from"], mail["to"], mail["message-id"]) == (
        "loop@example.org",
        "ops@example.org",
        "<note_1@loopline.invalid>",
    )
    body = mail.get_payload(decode=True).decode()
    assert "Verspätung (12 times" in body
    assert "count: 12" in body


def test_neither_an_unknown_certificate_nor_a_wrong_password_gets_mail_through(certificate, monkeypatch):
    with served(certificate) as (port, messages), capture_logs() as logs:
        assert not channel(port).send(MESSAGE)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert not channel(port, password="wrong").send(MESSAGE)
    assert messages == []
    assert [line["event"] for line in logs] == ["email_failed", "email_failed"]
    assert "secret" not in str(logs)
