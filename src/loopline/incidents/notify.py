"""Notification channels: tell people. A channel that fails is logged, tried again later, and never stops the loop."""

import ipaddress
import socket
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Protocol

import httpx
import msgspec
import structlog

from loopline.clock import Clock, SystemClock
from loopline.errors import InvalidInput
from loopline.pipelines.schedules import webhook
from loopline.values import digest

log = structlog.get_logger(__name__)

_LAST_PORT = 65535


class Channel(Protocol):
    """Takes one message and says whether it is told. Raises nothing: what cannot be told is logged."""

    name: str

    def takes(self, message: dict[str, Any]) -> bool:
        """Whether this is for it, by addressee and severity."""
        ...

    def send(self, message: dict[str, Any]) -> bool: ...


SEVERITIES: Sequence[str] = ("info", "warning", "critical")


def severe_enough(message: dict[str, Any], least: str) -> bool:
    """Whether the message is at least that severe; one that says nothing is."""
    return SEVERITIES.index(message.get("severity", SEVERITIES[-1])) >= SEVERITIES.index(least)


def check_severity(name: str, variable: str) -> str:
    """A severity that a setting names. Raises `InvalidInput` for one there is not."""
    if name not in SEVERITIES:
        raise InvalidInput(
            "notify.unknown_severity",
            f"{variable} is {name!r}",
            remedy=f"Set it to one of {', '.join(SEVERITIES)}.",
        )
    return name


class LogChannel:
    """Writes the message to the structured log."""

    name = "log"

    def takes(self, message: dict[str, Any]) -> bool:  # noqa: ARG002 - everything is
        return True

    def send(self, message: dict[str, Any]) -> bool:
        told = {("what" if key == "event" else key): value for key, value in message.items()}
        if severe_enough(message, "critical"):
            log.warning("page", **told)
        else:
            log.info("notice", **told)
        return True


class WebhookChannel:
    """Posts the message as JSON.

    `allow_private` permits addresses in private and loopback ranges; without it they are refused, so that a webhook
    cannot be made to reach into the network it runs in. `timeout`, in seconds, is for each step of the exchange; `least` the
    least severity that is posted. With a `secret` (`whsec_...`) messages are signed as Standard Webhooks has it, by the
    `clock`'s time. Raises `InvalidInput` for what is no http(s) URL, and a secret that is none.
    """

    name = "webhook"
    _variables = ("LOOPLINE_WEBHOOK_URL", "LOOPLINE_WEBHOOK_SEVERITY")

    def __init__(
        self,
        url: str,
        *,
        allow_private: bool = False,
        timeout: float = 5.0,
        least: str = SEVERITIES[0],
        secret: str = "",
        clock: Clock | None = None,
    ) -> None:
        self._url = _http_url(url, self._variables[0])
        self._least = check_severity(least, self._variables[1])
        self._secret, self._clock = secret, clock or SystemClock()
        if secret:
            webhook.check_secret(secret)
        self._host = self._url.raw_host.decode()
        self._allow_private, self._timeout = allow_private, timeout

    def takes(self, message: dict[str, Any]) -> bool:
        return severe_enough(message, self._least)

    def send(self, message: dict[str, Any]) -> bool:
        content = msgspec.json.encode(self._shaped(message))
        signed = self._signed(message, content)
        try:
            status = self._post(content, signed)
        except (httpx.HTTPError, OSError, UnicodeError, InvalidInput) as error:
            self._tell_failure(str(error))
            return False
        if not httpx.codes.is_success(status):
            self._tell_failure(f"it answered {status}")
            return False
        return True

    def _shaped(self, message: dict[str, Any]) -> dict[str, Any]:
        return message

    def _signed(self, message: dict[str, Any], content: bytes) -> dict[str, str]:
        if not self._secret:
            return {}
        message_id = str(message.get("id", digest(content)))
        return webhook.headers(self._secret, message_id=message_id, at=self._clock.now(), body=content)

    def _tell_failure(self, what: str) -> None:
        log.error("webhook_failed", channel=self.name, host=self._host, error=what)  # the whole URL is often a secret

    def _post(self, content: bytes, signed: dict[str, str]) -> int:
        """Post to the first address that takes the connection; gives the status of the answer."""
        *others, last = self._addresses()
        for address in others:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return self._post_to(address, content, signed)
        return self._post_to(last, content, signed)

    def _post_to(self, address: str, content: bytes, signed: dict[str, str]) -> int:
        """Connect to the address that was checked: asked again, the name could give another."""
        url = self._url.copy_with(host=address)
        headers = {"host": self._url.netloc.decode(), "content-type": "application/json", **signed}
        named = {"sni_hostname": self._host}
        with (
            httpx.Client(timeout=self._timeout, follow_redirects=False) as client,
            client.stream("POST", url, content=content, headers=headers, extensions=named) as answer,
        ):
            return answer.status_code

    def _addresses(self) -> list[str]:
        """What the host's name means now. Raises `InvalidInput` where one is private and that is not allowed."""
        found = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        private = [address for address in addresses if not _is_public(ipaddress.ip_address(address))]
        if private and not self._allow_private:
            raise InvalidInput(
                "webhook.private_address",
                f"{self._host} is the private address {private[0]}",
                remedy="Set LOOPLINE_WEBHOOK_PRIVATE=1 where that is meant.",
            )
        return addresses


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast


def _http_url(text: str, variable: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host or (url.port or 0) > _LAST_PORT:
        raise InvalidInput("webhook.bad_url", f"{text!r} is not an http(s) URL", remedy=f"Set {variable} to one.")
    return url


class Channels:
    """Sends each message to the channels that take it."""

    def __init__(self, channels: list[Channel]) -> None:
        self._channels = channels

    def send(self, message: dict[str, Any], *, already: Collection[str] = ()) -> tuple[list[str], bool]:
        """Send to those that are not named in `already`; gives the names of all that have it, and whether none is missing."""
        meant = [channel for channel in self._channels if channel.takes(message)]
        sent = [channel.name for channel in meant if channel.name in already or channel.send(message)]
        return sent, len(sent) == len(meant)
