"""Which addresses may be called: the tables of IANA's registries, and every disguise of an address that may not."""

from ipaddress import ip_network

import pytest

from payplat.addresses import is_permitted, is_private

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))
PUBLIC = """
1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.255.255 172.32.0.1 192.167.255.255 223.255.255.254 2400:cb00::1
2606:4700:4700::1111 2a00:1450:4001::1 ::ffff:8.8.8.8 64:ff9b::808:808
""".split()
# Loopback, RFC 1918, CGNAT, documentation, benchmarks, multicast, reserved, unspecified, ULA, site-local, tunnels.
OWN = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 127.0.0.1 127.255.255.254 172.16.0.1 172.31.255.255
192.0.0.8 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 :: ::1 ::7f00:1 ::808:808 100::1 2001::1 2001:db8::1 2002:7f00:1::1 2002:808:808::1 3fff::1 4000::1
5f00::1 64:ff9b:1::1 fc00::1 fd12:3456::1 fec0::1 ff02::1 ff0e::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1
64:ff9b::a00:1
""".split()
NEVER = """
169.254.0.1 169.254.169.254 169.254.170.2 fe80::1 fe80::1%eth0 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe
100.100.100.200 192.0.0.192 168.63.129.16 ::ffff:168.63.129.16 fd00:ec2::254 fd20:ce::254
""".split()


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called(address):
    """Those beside the edges of what is not public, and public ones within IPv6."""
    assert is_permitted(address)


@pytest.mark.parametrize("address", OWN)
def test_all_others_only_where_they_are_opened(address):
    """Each is refused until a network that holds it is opened."""
    assert not is_permitted(address)
    assert is_permitted(address, EVERYTHING)


@pytest.mark.parametrize("address", NEVER)
def test_metadata_may_never_be_called(address):
    """Link-local addresses and those where clouds keep a machine's credentials are refused whatever is opened."""
    assert not is_permitted(address)
    assert not is_permitted(address, EVERYTHING)


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "2130706433", "/run/socket", "1.2.3.4:80"]
)
def test_what_is_no_address_may_not_be_called(text):
    """What was not resolved is not judged by its looks."""
    assert not is_permitted(text, EVERYTHING)


def test_only_the_opened_network_is_opened():
    """Its neighbours stay closed, and an IPv4 address within IPv6 counts as itself."""
    opened = (ip_network("10.20.0.0/16"), ip_network("fd12:3456::/32"))
    for address in ("10.20.255.1", "::ffff:10.20.0.1", "64:ff9b::a14:1", "fd12:3456::1"):
        assert is_permitted(address, opened)
    for address in ("10.21.0.1", "127.0.0.1", "::ffff:10.21.0.1", "fd12:3457::1"):
        assert not is_permitted(address, opened)


@pytest.mark.parametrize(
    ("network", "private"),
    [
        ("10.0.0.0/8", True), ("10.1.2.3/32", True), ("172.16.0.0/12", True), ("192.168.7.0/24", True),
        ("fc00::/7", True), ("fd12::/16", True), ("8.0.0.0/6", False), ("172.0.0.0/8", False),
        ("127.0.0.0/8", False), ("169.254.0.0/16", False), ("100.64.0.0/10", False), ("0.0.0.0/0", False),
        ("::/0", False), ("::1/128", False), ("fe80::/10", False), ("8.8.8.0/24", False),
    ],
)  # fmt: skip
def test_a_private_network_is_wholly_private(network, private):
    """One that reaches beyond RFC 1918 or RFC 4193 is not."""
    assert is_private(ip_network(network)) is private
