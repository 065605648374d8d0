"""Where the server listens: a TCP port, by default of this machine alone, or a Unix socket of this user's."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
from typing import Any

import grpc

logger = logging.getLogger(__name__)


def listen(server: grpc.aio.Server, host: str, port: int, uds: str | None) -> str:
    """Bind the server and return the address as clients write it. Raises OSError when it can not be had."""
    return _listen_unix(server, uds) if uds else _listen_tcp(server, host, port)


def _listen_tcp(server: grpc.aio.Server, host: str, port: int) -> str:
    if not _is_loopback(host):
        logger.warning("Listening on %s: there is no authentication, whoever reaches this port can do everything", host)
    name = f"[{host}]" if ":" in host else host
    _look_for_room(host, port)
    return f"grpc://{name}:{_bind(server, f'{name}:{port}')}"


def _listen_unix(server: grpc.aio.Server, path: str) -> str:
    path = os.path.abspath(path)
    if _answers(path):
        raise OSError(errno.EADDRINUSE, "another server listens on this socket", path)
    others = os.umask(0o177)
    try:
        _bind(server, f"unix:{path}")  # takes the place of what a server that died has left there
    finally:
        os.umask(others)
    return f"unix:{path}"


def _bind(server: grpc.aio.Server, address: str) -> int:
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(errno.EADDRNOTAVAIL, f"can not listen: {error}", address) from error


def _look_for_room(host: str, port: int) -> None:
    """Raise OSError when a port can not be had: gRPC does not tell why, and prints lines of its own."""
    refusals = []
    addresses = _addresses(host, port)
    for family, address in addresses:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
                probe.listen()
            except OSError as error:
                refusals.append(error)
    if any(refusal.errno == errno.EADDRINUSE for refusal in refusals):
        how = "another program listens there. Choose another with --port, 0 for a free one."
        raise OSError(errno.EADDRINUSE, f"the port is taken: {how}", f"{host}:{port}")
    if len(refusals) == len(addresses):
        raise OSError(refusals[0].errno, f"can not listen: {refusals[0].strerror}", f"{host}:{port}")


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise OSError(errno.EADDRNOTAVAIL, f"can not listen: {error.strerror}", host) from error
    return [(family, address) for family, _, _, _, address in found]


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False  # nothing there, or nobody behind it; what else may be wrong, binding will say
        return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
