"""The address of a client, and what is stored of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from revetl.config.collector import IpPolicy

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_KEPT_BITS = {4: 24, 6: 48}


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Parse addresses and networks."""
    return tuple(ipaddress.ip_network(each, strict=False) for each in texts)


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """Return the address of the client: the peer's or, if the peer is a trusted proxy, the last address in
    `X-Forwarded-For` that isn't one."""
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",") if hop.strip()]
    found = peer
    while hops and _is_in(found, trusted):
        address = _parse(hops.pop())
        if address is None:
            break
        found = str(address)
    return found


def _is_in(text: str | None, trusted: Sequence[Network]) -> bool:
    address = _parse(text or "")
    return address is not None and any(address in network for network in trusted)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an address, with the port or brackets that some proxies add."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped or found


def stored_address(value: Any, policy: IpPolicy) -> Any:
    """Return what is stored of an address; None if nothing. A value that isn't an address can't be
    truncated, and is dropped then."""
    if policy == "keep" or value is None:
        return value
    address = _parse(value) if isinstance(value, str) else None
    if policy == "drop" or address is None:
        return None
    network = ipaddress.ip_network(f"{address}/{_KEPT_BITS[address.version]}", strict=False)
    return str(network.network_address)
