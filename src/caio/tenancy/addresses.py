"""Where a call comes from: the peer's address, or the one that a trusted proxy reports.

``X-Forwarded-For`` is a claim. Only the operator's own proxies are believed, and each only about whom it was
called by: read from the right, the first address that is none of theirs is the caller. What stands further
left was sent by the caller and counts for nothing.

Laws (each has a test of the same name)
---------------------------------------
- an_untrusted_peer_is_the_caller: whatever it sends.
- the_rightmost_untrusted_address_is_the_caller: over all headers in their order.
- garbage_ends_the_chain: the last proxy that reported sense is then the caller; nothing is guessed.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

#: Entries of the chain that are read; no deployment has more proxies.
_MOST_HOPS = 32
_LONGEST = 4096


class CallerAddresses:
    """Finds callers' addresses. ``trusted`` are the networks of the operator's proxies."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def of(self, peer: str | None, forwarded: Iterable[bytes]) -> str:
        """The caller's address. ``peer`` is the connection's (None for a local socket), ``forwarded`` the values
        of the X-Forwarded-For headers in their order. Whatever cannot be read is empty or the peer's text."""
        if not self._trusted:
            return peer or ""
        caller = _address(peer or "")
        if caller is None or not self._is_trusted(caller):
            return peer or ""
        for entry in _from_the_right(forwarded):
            reported = _address(entry)
            if reported is None:
                break
            caller = reported
            if not self._is_trusted(caller):
                break
        return str(caller)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _from_the_right(forwarded: Iterable[bytes]) -> list[str]:
    chain = b",".join(forwarded).decode("latin-1")[-_LONGEST:]
    return [entry.strip(" \t") for entry in reversed(chain.split(",")[-_MOST_HOPS:])]


def _address(text: str) -> Address | None:
    """An address as proxies write it: bare, ``[IPv6]``, with a port or without."""
    if text.startswith("["):
        text, closed, port = text[1:].partition("]")
        if not closed or (port and not _is_port(port)):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def _is_port(text: str) -> bool:
    digits = text[1:]
    return text.startswith(":") and digits.isascii() and digits.isdecimal() and len(digits) <= 5
