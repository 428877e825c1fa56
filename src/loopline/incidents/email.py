"""Mail: notifications to the addresses of those they are for."""

import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.errors import MessageError
from email.message import EmailMessage
from typing import Any, Literal, get_args

import structlog

from loopline.errors import InvalidInput
from loopline.incidents.notify import check_severity, severe_enough

log = structlog.get_logger(__name__)

Security = Literal["starttls", "tls", "none"]
EVERYONE = "*"


@dataclass(frozen=True)
class MailServer:
    """Where mail is handed in. `security` is `"starttls"`, `"tls"` (from the first byte) or `"none"`."""

    host: str
    port: int = 587
    security: str = "starttls"
    user: str = ""
    password: str = ""

    def __post_init__(self) -> None:
        if self.security not in get_args(Security):
            raise InvalidInput(
                "email.unknown_security",
                f"LOOPLINE_SMTP_SECURITY is {self.security!r}",
                remedy=f"Set it to one of {', '.join(get_args(Security))}.",
            )


class EmailChannel:
    """Sends mail from `sender` through `server`.

    `addresses` says where each owner is reached; `"*"` is for everyone else, and for what has no owner. An owner who is an
    address is reached there. `least` is the least severity that is sent. `timeout` is in seconds, for each step.
    """

    name = "email"

    def __init__(
        self,
        server: MailServer,
        *,
        sender: str,
        addresses: Mapping[str, str],
        least: str = "info",
        timeout: float = 10.0,
    ) -> None:
        self._server, self._sender, self._addresses = server, sender, dict(addresses)
        self._least = check_severity(least, "LOOPLINE_SMTP_SEVERITY")
        self._timeout = timeout

    def takes(self, message: dict[str, Any]) -> bool:
        """Whether it is severe enough, and there is an address for whom it is for."""
        return severe_enough(message, self._least) and bool(self._address(str(message.get("to", ""))))

    def send(self, message: dict[str, Any]) -> bool:
        """Hand it to the server; says whether that took it."""
        try:
            mail = self._mail(message)
            with self._connected() as server:
                server.send_message(mail)
        except (OSError, smtplib.SMTPException, MessageError, ValueError) as error:
            self._tell_failure(str(error), message)
            return False
        return True

    def _tell_failure(self, what: str, message: dict[str, Any]) -> None:
        log.error("email_failed", host=self._server.host, error=what, notification=message.get("id"))

    def _address(self, to: str) -> str:
        return self._addresses.get(to) or (to if "@" in to else self._addresses.get(EVERYONE, ""))

    def _connected(self) -> smtplib.SMTP:
        where = self._server
        if where.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                where.host, where.port, timeout=self._timeout, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(where.host, where.port, timeout=self._timeout)
        try:
            if where.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if where.user:
                server.login(where.user, where.password)
        except BaseException:
            server.close()
            raise
        return server

    def _mail(self, message: dict[str, Any]) -> EmailMessage:
        """Receivers can drop what they have by Message-ID: a notification that is sent again has the same."""
        mail = EmailMessage()
        mail["From"], mail["To"] = self._sender, self._address(str(message.get("to", "")))
        text = " ".join(str(message.get("text", message.get("event", ""))).split())
        place = "/".join(str(message[name]) for name in ("project", "model") if message.get(name))
        mail["Subject"] = f"[{message.get('severity', 'critical')}] {place}: {text}"[:200]
        if "id" in message:
            mail["Message-ID"] = f"<{message['id']}@loopline.invalid>"
            mail["X-Loopline-Notification"] = str(message["id"])
        mail.set_content(_body(message))
        return mail


def _body(message: dict[str, Any]) -> str:
    lines = [str(message.get("text", "")), ""]
    lines += [f"- {one.get('text', one.get('event'))}" for one in message.get("notifications", [])]
    lines += [f"{name}: {value}" for name, value in message.items() if name not in {"text", "notifications"} and value]
    return "\n".join(lines) + "\n"


def read_addresses(text: str) -> dict[str, str]:
    """`"team-risk=risk@example.org,*=ops@example.org"` as a mapping; an address alone is for everyone.

    Raises `InvalidInput` for a part without an address.
    """
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, address = part.rpartition("=")
        if "@" not in address or not address.isprintable() or " " in address.strip():
            raise InvalidInput(
                "email.bad_address",
                f"{part!r} names no address",
                remedy='Set LOOPLINE_SMTP_TO to e.g. "team-risk=risk@example.org,*=ops@example.org".',
            )
        found[name.strip() or EVERYONE] = address.strip()
    return found
