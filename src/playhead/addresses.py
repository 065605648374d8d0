"""Addresses of servers."""

from __future__ import annotations


def target_of(api_url: str) -> str:
    """What gRPC calls the server at an address. Raises ValueError for one of another form."""
    if api_url.startswith("unix:") and len(api_url) > len("unix:"):
        return api_url
    scheme, _, host_and_port = api_url.partition("://")
    host, _, port = host_and_port.rstrip("/").rpartition(":")
    if scheme != "grpc" or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f'{api_url!r} is no address: "grpc://host:port" or "unix:/path"')
    return f"{host}:{port}"
