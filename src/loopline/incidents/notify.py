"""Notification channels: tell people. A channel that fails is logged and never stops the loop."""

import ipaddress
import socket
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import msgspec
import structlog

from loopline.errors import InvalidInput

log = structlog.get_logger(__name__)


class Channel(Protocol):
    """Takes one message. Raises nothing: what cannot be told is logged."""

    def send(self, message: dict[str, Any]) -> None: ...


class LogChannel:
    """Writes the message to the structured log."""

    def send(self, message: dict[str, Any]) -> None:
        log.warning("page", **{("text" if key == "event" else key): value for key, value in message.items()})


class WebhookChannel:
    """Posts the message as JSON.

    `allow_private` permits addresses in private and loopback ranges; without it they are refused, so that a webhook
    cannot be made to reach into the network it runs in.
    """

    def __init__(self, url: str, *, allow_private: bool = False, timeout: float = 5.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidInput(
                "webhook.bad_url", f"{url!r} is not an http(s) URL", remedy="Set LOOPLINE_WEBHOOK_URL to one."
            )
        self._url, self._host, self._allow_private, self._timeout = url, parts.hostname, allow_private, timeout

    def send(self, message: dict[str, Any]) -> None:
        try:
            self._check_address()
            answer = httpx.post(
                self._url,
                content=msgspec.json.encode(message),
                headers={"content-type": "application/json"},
                timeout=self._timeout,
                follow_redirects=False,
            )
            answer.raise_for_status()
        except (httpx.HTTPError, OSError, InvalidInput) as error:
            log.error("webhook_failed", url=self._url, error=str(error))  # noqa: TRY400 - the trace says no more

    def _check_address(self) -> None:
        if self._allow_private:
            return
        for *_, address in socket.getaddrinfo(self._host, None):
            if not ipaddress.ip_address(address[0]).is_global:
                raise InvalidInput("webhook.private_address", f"{self._host} is a private address")


class Channels:
    """Sends each message to all channels."""

    def __init__(self, channels: list[Channel]) -> None:
        self._channels = channels

    def send(self, message: dict[str, Any]) -> None:
        for channel in self._channels:
            channel.send(message)
