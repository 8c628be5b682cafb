"""Which network addresses a tenant may make this process talk to.

Theory of operation
-------------------
Server-side request forgery is this product's largest risk: tenants name the hosts that CAIO calls.
An address is refused when any *view* of it is: the address itself and every IPv4 address that
IPv6 can carry inside (mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP). The tables are
written out here, from the IANA special-purpose registries (RFC 6890 and its updates), because the
standard library's ``is_global`` changes between patch releases.

Outside IPv6's global unicast range 2000::/3 everything is refused; inside, and in IPv4, what the
tables name. The operator's allow list lifts a refusal for the networks it holds, except for cloud
metadata services, whose answers are credentials.

Laws (each has a test of the same name)
---------------------------------------
- special_addresses_are_refused: loopback, private, link-local, shared, multicast, reserved, unspecified.
- embedded_addresses_are_judged_too: no IPv6 form hides an IPv4 address.
- the_allow_list_lifts_refusals: for its own networks only, in every view.
- metadata_is_never_allowed: whatever the allow list holds.
- odd_spellings_are_refused: decimal, octal, hexadecimal and short IPv4 forms, zone ids.
- ports_of_other_protocols_are_refused: a request could be read as that protocol's commands.

Pure: nothing is resolved here, and nothing is known of names or routes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_HOST = 253

#: RFC 1035, section 2.3.4: a label has at most 63 octets. Resolvers fail on longer ones, each in its own way.
_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?", re.IGNORECASE)
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)

_METADATA = tuple(
    map(
        ip_network,
        (
            "169.254.169.0/24",  # AWS, Azure, Google, Oracle, DigitalOcean, and AWS's DNS and time
            "169.254.170.0/24",  # AWS ECS task credentials, EKS Pod Identity
            "169.254.0.23/32",  # Tencent
            "169.254.42.42/32",  # Scaleway
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure's wire server: a public address
            "192.0.0.192/32",  # Oracle, classic
            "fd00:ec2::/32",  # AWS
            "fd20:ce::254/128",  # Google
            "fd00:c1::a9fe:a9fe/128",  # Oracle
            "fd00:42::42/128",  # Scaleway
            "fd00:a9fe:a9fe::1/128",  # Akamai (Linode)
            "fe80::a9fe:a9fe/128",  # OpenStack
        ),
    )
)

_SPECIAL = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "an unspecified address"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a carrier-grade NAT address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a reserved address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("ff00::/8", "a multicast address"),
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "a documentation address"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "a documentation address"),
    )
)

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")

#: Prefixes after which 32 bits are an IPv4 address, at this shift from the right.
_CARRIERS = (
    (IPv6Network("::/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (_NAT64, 0),
    (IPv6Network("64:ff9b:1::/48"), 0),  # as many write it, though the prefix is of 48 bits
    (IPv6Network("2002::/16"), 80),
    (IPv6Network("2001::/32"), 64),
)
#: RFC 6052, section 2.2: within a prefix of 48 bits the address stands around bits 64 to 71, which are zero.
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


#: Ports where something listens that does not speak HTTP and might act on the lines of a request: the "bad ports" of
#: the Fetch standard (https://fetch.spec.whatwg.org/#port-blocking) but those of multiplexing, echo and discard, which
#: act on nothing; and databases and caches that read lines.
# fmt: off
_OTHER_PROTOCOLS = frozenset((
    11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113,
    115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548,
    554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566,
    6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    1433, 1521, 3306, 5432, 6379, 6380, 11211, 26379, 27017,
))
# fmt: on


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an address is not called; ``allowable`` says whether the operator could allow it."""

    what: str
    allowable: bool


class HostRefused(ValueError):
    """A host is neither a plain name nor an address in its plain form; the message says why."""


def literal(host: str) -> Address | None:
    """The address that ``host`` spells, or None for a name.

    Raises HostRefused for every spelling whose reading differs between programs: ``127.1``,
    ``0x7f000001``, ``2130706433``, ``0177.0.0.1``, a trailing dot after an address, zone ids.
    """
    if "%" in host:
        raise HostRefused("a host may not hold a zone id or a percent sign")
    if ":" in host:
        try:
            return IPv6Address(host)
        except ValueError as error:
            raise HostRefused("the host is not an IPv6 address") from error
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        try:
            return IPv4Address(host)
        except ValueError as error:
            raise HostRefused("an IPv4 address is written as four plain decimal numbers") from error
    if len(host) > MAX_HOST or not _NAME.fullmatch(host):
        raise HostRefused("the host is not a valid name")
    return None


def refusal(address: Address, allow: Sequence[Network]) -> Refusal | None:
    """Why ``address`` may not be called, or None when it may; ``allow`` is the operator's list."""
    first: Refusal | None = None
    for view in _views(address):
        if any(view in network for network in _METADATA):
            return Refusal("a cloud metadata address", allowable=False)
        what = _special(view)
        if first is None and what is not None and not any(view in network for network in allow):
            first = Refusal(what, allowable=True)
    return first


def is_callable_port(port: int) -> bool:
    """Whether a port is one where HTTP may be spoken."""
    return 0 < port < 1 << 16 and port not in _OTHER_PROTOCOLS


def _special(address: Address) -> str | None:
    for network, what in _SPECIAL:
        if address in network:
            return what
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST and address not in _NAT64:
        return "an address outside the public ranges"
    return None


def _views(address: Address) -> Iterator[Address]:
    """The address, and what it carries. A mapped address *is* its IPv4 address, so that alone counts."""
    if isinstance(address, IPv4Address):
        yield address
        return
    number = int(address)
    if address in _MAPPED:
        yield IPv4Address(number & 0xFFFF_FFFF)
        return
    yield address
    for network, shift in _CARRIERS:
        if address in network:
            yield IPv4Address(number >> shift & 0xFFFF_FFFF)
    if address in _LOCAL_NAT64:
        yield IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF)
    if address in _TEREDO:
        yield IPv4Address(~number & 0xFFFF_FFFF)
    if number >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFF_FFFF)


def read_address(text: str) -> Address:
    """An address as a resolver returned it; raises HostRefused for zone ids and nonsense."""
    if "%" in text:
        raise HostRefused("an address with a zone id is not called")
    try:
        return ip_address(text)
    except ValueError as error:
        raise HostRefused("the resolver answered something that is no address") from error
