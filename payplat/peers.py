"""Who calls: the address at the other end of the socket, or the one that a trusted proxy says stands behind it."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from payplat.addresses import Network

Address = IPv4Address | IPv6Address


def peer_of(socket_ip: str, forwarded_for: str, trusted: Iterable[Network]) -> str:
    """Return the nearest address that is not a trusted proxy's, as text.

    ``forwarded_for`` is ``X-Forwarded-For``: each proxy appends whom it heard, so only what stands to the right of an
    address that nobody trusts is known; the left of it anybody could have written.
    """
    peer, hops = socket_ip, forwarded_for.split(",") if forwarded_for else []
    while hops and is_in(peer, trusted) and _address(hops[-1]):
        peer = hops.pop().strip()
    return peer


@lru_cache(4096)
def household(peer: str) -> str:
    """Return what counts as one caller: an IPv4 address, or the /64 network of an IPv6 one, for one line has it all."""
    address = _address(peer)
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address) >> 64 << 64, 64)))
    return str(address or peer)


def is_in(peer: str, networks: Iterable[Network]) -> bool:
    """Tell whether the address is of one of these networks."""
    address = _address(peer)
    return address is not None and any(address in network for network in networks)


def _address(text: str) -> Address | None:
    """Read an address, None when it is none; sockets for both kinds write one of IPv4 as IPv6."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
