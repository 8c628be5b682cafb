"""The one client for addresses that a tenant supplied (DESIGN, law 8).

Theory of operation
-------------------
An address is read by one strict parser, and what that read is what is called. A host is resolved by our own
resolver, every address it has is judged (``addresses``), and the connection is made to exactly those addresses
(``dialling``): there is no second look-up between check and use, so a name that changes its answer gains
nothing. One refused address refuses the name. The ``Host`` header and the TLS server name stay the name;
certificates are always verified.

A connection that is kept for reuse (``pool``) stays with the addresses it was checked for. When the service
has closed it in the meantime, the request is sent once more on a new one: where nothing of it had left, or where
it may be done twice and the connection was gone within STALE_SECONDS. Later than that a service was at work.

Laws (each has a test of the same name)
---------------------------------------
- only_checked_addresses_are_connected_to: also when the resolver changes its answer.
- one_refused_address_refuses_the_name.
- redirects_are_not_followed, the_environment_is_ignored, cookies_are_forgotten.
- answers_are_bounded: status line and headers, body bytes, and time.
- a_stale_connection_costs_a_second_try: one, and only while nothing was answered.
- what_may_not_be_done_twice_is_not_sent_twice.
- a_service_that_was_at_work_is_not_asked_again: that is a new attempt, to be admitted and recorded.
- no_library_error_escapes: everything is UpstreamFailed; its chain holds no header.

Not checked: whether a public host forwards to a private one.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.providers.addresses import Address, HostRefused, Network, is_callable_port, literal, refusal
from caio.providers.answers import Answer
from caio.providers.dialling import Dialler, NameRefused, NoAddress, Origin, Resolve
from caio.providers.http1 import Connection
from caio.providers.pool import Pool
from caio.providers.request_lines import blocked, first_lines, header_lines, quoted
from caio.providers.resolving import Resolver

#: Addresses whose reading is kept.
_PLACES_KEPT = 4096

_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/]+)(?P<path>.*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.%]*:[0-9a-f:.%]*\]|[^\[\]:]+)(:(?P<port>[0-9]{0,5}))?", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True, slots=True)
class OutboundLimits:
    """Bounds on every exchange: seconds, bytes and connections. ``connect_seconds`` is for the look-up of the
    name, and as much again for the connection."""

    connect_seconds: float = 5.0
    answer_bytes: int = 16 << 20
    header_bytes: int = 8190
    headers: int = 100
    connections: int = 4096
    connections_per_host: int = 2048
    keepalive_seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class _Place:
    """A checked address without its query, and the beginnings of the requests to it, by method."""

    origin: Origin
    host: str
    path: str
    heads: dict[str, str] = field(default_factory=dict)


class OutboundClient:
    """Calls http and https addresses that passed the policy, over a bounded pool of connections.

    ``allow`` is the operator's list of networks that may be called although they are special;
    ``resolve`` and ``tls`` replace the system's resolver and its default certificates.
    """

    def __init__(
        self,
        allow: Sequence[Network] = (),
        *,
        limits: OutboundLimits | None = None,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow = tuple(allow)
        self._limits = limits or OutboundLimits()
        self._dialler = Dialler(self._allow, resolve or Resolver().addresses, tls, self._limits.connect_seconds)
        self._places: dict[str, _Place] = {}
        self._origins: WeakValueDictionary[tuple[bool, str, int], Origin] = WeakValueDictionary()
        self._closed = False
        self.pool = Pool(
            self._dial,
            self._limits.connections,
            self._limits.connections_per_host,
            self._limits.keepalive_seconds,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; calls that are under way fail. The client cannot be used again."""
        self._closed = True
        await self.pool.close()

    def request(
        self,
        method: str,
        url: str,
        *,
        subject: str,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        twice: bool = False,
    ) -> Answer:
        """One request, to be sent by ``async with``.

        ``subject`` names the other side in messages; ``seconds`` bounds the whole exchange, from now on; ``twice``
        says that the service may be asked again although it may have done what it was asked, which is so for GET.
        Raises UpstreamFailed, here or when entered: BLOCKED, UNREACHABLE, TIMEOUT, GARBAGE (not HTTP, oversized) or
        UPSTREAM (cut).
        """
        if seconds <= 0:
            raise UpstreamFailed(f"{subject} was not called: no time was left", UpstreamFault.TIMEOUT)
        if self._closed:
            raise UpstreamFailed("The outbound client is closed", UpstreamFault.UNREACHABLE)
        place, query = self._places.get(url), ""
        if place is None:
            if _CONTROL.search(url):
                # Silently dropped characters and backslashes are read differently by different parsers.
                raise blocked(subject, "its address holds a character that no URL may hold")
            base, _, query = url.partition("#")[0].partition("?")
            place = self._places.get(base) or self._place(base, subject)
        head = None if query else place.heads.get(method)
        if head is None:
            head = first_lines(method, place.host, place.path, query, subject)
            if not query:  # queries hold what is asked
                place.heads[method] = head
        raw = head + header_lines(headers, subject)
        if body is None:
            sent = f"{raw}\r\n".encode("ascii")
        else:
            sent = b"%bContent-Length: %d\r\n\r\n%b" % (raw.encode("ascii"), len(body), body)
        deadline = asyncio.get_running_loop().time() + seconds
        most = self._limits.answer_bytes
        twice = twice or method == "GET"
        return Answer(self, place.origin, sent, subject, deadline, most, bodiless=method == "HEAD", twice=twice)

    async def connected(self, origin: Origin, subject: str, deadline: float, *, new: bool = False) -> Connection:
        """A connection for a call of ``subject``, a ``new`` one or whichever is free first."""
        try:
            async with asyncio.timeout_at(deadline):
                return await (self.pool.opened(origin) if new else self.pool.freed(origin))
        except NameRefused as error:
            reason = error.refusal
            raise blocked(subject, f"its name stands for {reason.what}", allowable=reason.allowable) from None
        except HostRefused as error:
            raise blocked(subject, str(error)) from None
        except NoAddress:
            what, fault = "could not be reached: its name has no address", UpstreamFault.UNREACHABLE
        except TimeoutError:
            what, fault = "did not answer in time", UpstreamFault.TIMEOUT
        except ssl.SSLError:
            what = "could not be reached: its TLS certificate or handshake is not valid"
            fault = UpstreamFault.UNREACHABLE
        except (OSError, RuntimeError):  # uvloop raises RuntimeError, too
            what, fault = "could not be reached: it accepts no connection", UpstreamFault.UNREACHABLE
        raise UpstreamFailed(f"{subject} {what}", fault)

    async def _dial(self, origin: Origin, lost: Callable[[Connection], None]) -> Connection:
        limits = self._limits
        return await self._dialler.dial(origin, lambda: Connection(limits.headers, limits.header_bytes, lost))

    def _place(self, base: str, subject: str) -> _Place:
        """The reading of an address without its query, if it may be called."""
        url = _URL.fullmatch(base)
        authority = None if url is None else url["authority"]
        if authority is not None and "@" in authority:
            raise blocked(subject, "its address holds a user name or password; use a secret reference instead")
        where = None if authority is None else _AUTHORITY.fullmatch(authority)
        if url is None or where is None:
            raise blocked(subject, "its address is not an http or https URL with a host")
        if not where["host"].isascii():  # before it is lowered: there are letters whose lower case is ASCII
            raise blocked(subject, "its host has letters beyond ASCII; write it in its ASCII form, xn--…")
        scheme, host = url["scheme"].lower(), where["host"].lower()
        port = int(where["port"] or _PORTS[scheme])
        if not is_callable_port(port):
            raise blocked(subject, "its address names a port that there is not, or that of another protocol than HTTP")
        origin = self._origin(scheme == "https", host.strip("[]"), port, subject)
        place = _Place(origin, host if port == _PORTS[scheme] else f"{host}:{port}", quoted(url["path"] or "/"))
        if len(self._places) >= _PLACES_KEPT:
            self._places.clear()
        self._places[base] = place
        return place

    def _origin(self, is_tls: bool, host: str, port: int, subject: str) -> Origin:
        try:
            address = literal(host)
        except HostRefused as error:
            raise blocked(subject, str(error)) from None
        self._check(address, subject)
        origin = self._origins.get((is_tls, host, port))
        if origin is None:
            origin = self._origins[is_tls, host, port] = Origin(is_tls, host, port, address)
        return origin

    def _check(self, address: Address | None, subject: str) -> None:
        reason = None if address is None else refusal(address, self._allow)
        if reason is not None:
            raise blocked(subject, f"its address is {reason.what}", allowable=reason.allowable)
