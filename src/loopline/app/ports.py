"""Ports that are to be listened on."""

import socket

from loopline.errors import Conflict


def check_port(host: str, port: int, variable: str) -> None:
    """Raise `Conflict` "up.port_taken" where something listens there: whoever asked it would take its answers for ours. `variable` is
    what chooses another.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise Conflict(
                "up.port_taken",
                f"{host}:{port} cannot be listened on: {error.strerror}",
                remedy=f"Stop what listens there, or choose another port with {variable}.",
            ) from error
