"""Which addresses this installation may call: public ones, and those of the networks that its operator opens."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network

# What one's own network is made of: RFC 1918 and RFC 4193.
PRIVATE: tuple[Network, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("fc00::/7"),
)
# Where clouds tell any process of a machine its credentials, unless those addresses are link-local anyway: AWS, Google,
# Alibaba, Oracle, Azure (which uses a public one).
_METADATA = frozenset(
    map(
        ip_address,
        ["fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"],
    )
)
_LINK_LOCAL = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))
# RFC 4291, 2.4: of IPv6 only this is handed out for the public.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Of IANA's special registries what not every ipaddress module knows: protocols, relays, tunnels, documentation.
_SPECIAL: tuple[Network, ...] = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001::/23"),
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
)
_NAT64 = IPv6Network("64:ff9b::/96")


def is_permitted(address: str, opened: Iterable[Network] = ()) -> bool:
    """Tell whether ``address`` (an IP address as text) may be called: a public one, or one of an ``opened`` network.

    Link-local and metadata addresses are never; an IPv4 address within an IPv6 one counts as itself.
    """
    try:
        found = _plain(ip_address(address))
    except ValueError:
        return False
    if found in _METADATA or any(found in network for network in _LINK_LOCAL):
        return False
    return is_public(found) or any(found in network for network in opened)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether the whole internet reaches this address."""
    found = _plain(address)
    if found.is_multicast or not found.is_global or any(found in network for network in _SPECIAL):
        return False
    return found.version == 4 or found in _GLOBAL_UNICAST


def is_private(network: Network) -> bool:
    """Tell whether all of ``network`` is somebody's own: RFC 1918 or RFC 4193."""
    return any(
        network.version == own.version and network.subnet_of(own)  # type: ignore[arg-type]
        for own in PRIVATE
    )


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv4-mapped or a NAT64 one leads to, any other as it is."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
