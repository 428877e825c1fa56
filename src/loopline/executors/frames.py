"""Frames on a stream: four bytes of length, then so many bytes."""

import socket

_HEAD = 4


def send(channel: socket.socket, content: bytes) -> None:
    """Send one frame. Raises `OSError` where the other end is gone."""
    channel.sendall(len(content).to_bytes(_HEAD, "big") + content)


def receive(channel: socket.socket) -> bytes | None:
    """The next frame; None where the other end is gone."""
    head = _exactly(channel, _HEAD)
    return None if head is None else _exactly(channel, int.from_bytes(head, "big"))


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    parts, left = [], size
    while left:
        try:
            part = channel.recv(min(left, 1 << 20))
        except OSError:
            return None
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
