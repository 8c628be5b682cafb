"""Connecting to exactly the addresses that were checked (DESIGN, law 8).

A host is resolved once, every address it has is judged (``addresses``), and the sockets are connected to those
addresses as numbers: there is no second look-up between check and use. The socket is checked once more where it
is made and, once connected, by whom it is connected to. Of several addresses the next is tried while the one
before has not answered for a moment (RFC 8305), and the first connection is taken.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio import staggered
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from caio.providers.addresses import Address, Network, Refusal, read_address, refusal
from caio.providers.http1 import Connection

#: Host and port to addresses, as text. Raises OSError when the name has none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

#: Seconds after which the next address is tried beside the one before (RFC 8305, section 8).
STAGGER_SECONDS = 0.25


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Origin:
    """Where a connection leads to; each is one object. ``address`` is set when the host is one: judged already."""

    is_tls: bool
    host: str
    port: int
    address: Address | None = None


class NameRefused(Exception):
    """A name stands for an address that may not be called."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.what)
        self.refusal = refusal


class NoAddress(Exception):
    """A name has no address."""


class Dialler:
    """Makes connections; each step of one is given at most ``seconds``."""

    def __init__(self, allow: Sequence[Network], resolve: Resolve, tls: ssl.SSLContext | None, seconds: float) -> None:
        self._allow = allow
        self._resolve = resolve
        self._given_tls = tls
        self._seconds = seconds

    async def dial(self, origin: Origin, made: Callable[[], Connection]) -> Connection:
        """Raises NameRefused, HostRefused, NoAddress, TimeoutError, ssl.SSLError, or another OSError."""
        async with asyncio.timeout(self._seconds):
            addresses = await self._addresses(origin)
        async with asyncio.timeout(self._seconds):
            connected = await self._connected(addresses, origin.port)
            try:
                return await self._spoken_with(origin, connected, made)
            except BaseException:
                connected.close()
                raise

    async def _addresses(self, origin: Origin) -> list[Address]:
        """Every address of the origin, if each of them may be called."""
        if origin.address is not None:
            return [origin.address]
        try:
            texts = await self._resolve(origin.host, origin.port)
        except TimeoutError:
            raise
        except OSError:
            texts = ()
        if not texts:
            raise NoAddress
        addresses = [read_address(text) for text in dict.fromkeys(texts)]
        for address in addresses:
            if (reason := refusal(address, self._allow)) is not None:
                raise NameRefused(reason)
        return addresses

    async def _connected(self, addresses: Sequence[Address], port: int) -> socket.socket:
        if len(addresses) == 1:
            return await self._reached(addresses[0], port)
        attempts = [partial(self._reached, address, port) for address in addresses]
        reached: socket.socket | None
        reached, _, errors = await staggered.staggered_race(attempts, STAGGER_SECONDS)
        if reached is None:
            raise next((error for error in errors if error is not None), OSError("no address answers"))
        return reached

    async def _reached(self, address: Address, port: int) -> socket.socket:
        """A socket that is connected to this very address."""
        made = checked_socket(address, self._allow)
        try:
            await asyncio.get_running_loop().sock_connect(made, (str(address), port))
            if read_address(made.getpeername()[0]) != address:
                raise PermissionError("the connection leads to another address than the one that was checked")
        except BaseException:
            made.close()
            raise
        return made

    async def _spoken_with(
        self, origin: Origin, connected: socket.socket, made: Callable[[], Connection]
    ) -> Connection:
        loop = asyncio.get_running_loop()
        if not origin.is_tls:
            _, connection = await loop.create_connection(made, sock=connected)
            return connection
        name = origin.host.rstrip(".")
        _, connection = await loop.create_connection(made, sock=connected, ssl=self._tls(), server_hostname=name)
        return connection

    def _tls(self) -> ssl.SSLContext:
        """The context for every connection; the system's certificates are read at the first one."""
        if self._given_tls is None:
            self._given_tls = ssl.create_default_context()
            self._given_tls.set_alpn_protocols(["http/1.1"])
        return self._given_tls


def checked_socket(address: Address, allow: Sequence[Network]) -> socket.socket:
    """The socket for one attempt; PermissionError for an address that was not to come as far as this."""
    if refusal(address, allow) is not None:
        raise PermissionError("the address was refused where the connection is made")
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
