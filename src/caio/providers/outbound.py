"""The one client for addresses that a tenant supplied (DESIGN, law 8).

Theory of operation
-------------------
A host is resolved by our own resolver, every address it has is judged (``addresses``), and the
connection is made to exactly those addresses: there is no second look-up between check and use,
so a name that changes its answer gains nothing. One refused address refuses the name. The socket
itself is checked once more where it is made, so that the law does not depend on how aiohttp is built.
The ``Host`` header and the TLS server name stay the name; certificates are always verified.

A connection that is kept for reuse stays with the addresses it was checked for.

Laws (each has a test of the same name)
---------------------------------------
- only_checked_addresses_are_connected_to: also when the resolver changes its answer.
- one_refused_address_refuses_the_name.
- redirects_are_not_followed, the_environment_is_ignored, cookies_are_forgotten.
- answers_are_bounded: status line and headers, body bytes, and time.
- no_library_error_escapes: everything is UpstreamFailed; its chain holds no header.

Not checked: which ports are called, and whether a public host forwards to a private one.
"""

from __future__ import annotations

import asyncio
import io
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from caio._version import __version__
from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.providers.addresses import HostRefused, Network, Refusal, literal, read_address, refusal

T = TypeVar("T")

#: Host and port to addresses, as text. Raises OSError when the name has none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

DRAIN_SECONDS = 0.05
LARGE_BODY = 1 << 20

_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class OutboundLimits:
    """Bounds on every exchange: seconds, bytes and connections."""

    connect_seconds: float = 5.0
    answer_bytes: int = 16 << 20
    header_bytes: int = 8190
    headers: int = 100
    connections: int = 4096
    connections_per_host: int = 2048
    keepalive_seconds: float = 15.0


async def system_addresses(host: str, port: int) -> Sequence[str]:
    """The addresses the operating system knows for ``host``."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def blocked(subject: str, what: str, *, allowable: bool = False) -> UpstreamFailed:
    """The refusal to call ``subject``, with what the operator can do about it."""
    advice = ""
    if allowable:
        advice = (
            "; an operator who trusts that network allows it with --allow-private CIDR"
            " or the setting CAIO_OUTBOUND_ALLOW"
        )
    return UpstreamFailed(f"{subject} was not called: {what}{advice}", UpstreamFault.BLOCKED)


class Answer:
    """An answer whose head has arrived. Reading it raises UpstreamFailed only."""

    def __init__(self, response: aiohttp.ClientResponse, subject: str, most: int) -> None:
        self._response = response
        self._subject = subject
        self._left = most
        self.status = response.status

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)

    @property
    def media_type(self) -> str:
        """The content type in lower case without its parameters; empty when there is none."""
        return (self.header("Content-Type") or "").partition(";")[0].strip().lower()

    async def next_piece(self) -> bytes:
        """Some bytes as they arrived; empty at the end. Too many are GARBAGE, a cut is UPSTREAM."""
        piece = await _translated(self._response.content.readany(), self._subject)
        self._left -= len(piece)
        if self._left < 0:
            raise UpstreamFailed(f"{self._subject} answered more than is accepted", UpstreamFault.GARBAGE)
        return piece

    async def read(self) -> bytes:
        """The whole body."""
        pieces = []
        while piece := await self.next_piece():
            pieces.append(piece)
        return b"".join(pieces)

    async def finish(self) -> None:
        """Read what is left of an answer that is complete in substance, for a moment only, so that
        the connection can be used again. What arrives late, or too much, costs the connection."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self.next_piece():
                    pass
        except (TimeoutError, UpstreamFailed):
            self._response.close()

    def leave(self) -> None:
        """Give the connection back, or cut it when the answer was not read to its end."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


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
        resolve: Resolve = system_addresses,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow = tuple(allow)
        self._limits = limits or OutboundLimits()
        self._resolver = _CheckedResolver(self._allow, resolve, self._limits.connect_seconds)
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; calls that are under way fail. The client cannot be used again."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        subject: str,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> AsyncIterator[Answer]:
        """Send one request and give its answer, whatever its status.

        ``subject`` names the other side in messages; ``seconds`` bounds the whole exchange. Leaving
        the block before the end of the answer cancels the call. Raises UpstreamFailed: BLOCKED,
        UNREACHABLE, TIMEOUT, GARBAGE (not HTTP, oversized) or UPSTREAM (cut).
        """
        if seconds <= 0:
            raise UpstreamFailed(f"{subject} was not called: no time was left", UpstreamFault.TIMEOUT)
        address = self._checked_url(url, subject)
        response = await _translated(self._send(method, address, seconds, _checked(headers, subject), body), subject)
        answer = Answer(response, subject, self._limits.answer_bytes)
        try:
            yield answer
        finally:
            answer.leave()

    async def _send(
        self, method: str, url: URL, seconds: float, headers: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        # aiohttp warns about bodies it writes in one piece; from a file it writes them in parts.
        data = io.BytesIO(body) if body is not None and len(body) > LARGE_BODY else body
        return await self._open_session().request(
            method,
            url,
            data=data,
            headers=headers,
            allow_redirects=False,
            # The threshold beyond which aiohttp rounds deadlines up to whole seconds: never.
            timeout=aiohttp.ClientTimeout(
                total=seconds, sock_connect=self._limits.connect_seconds, ceil_threshold=float("inf")
            ),
        )

    def _checked_url(self, text: str, subject: str) -> URL:
        """``text`` as the very object that is called, so that two parsers cannot disagree."""
        # Silently dropped characters and backslashes are read differently by different parsers.
        if _CONTROL.search(text):
            raise blocked(subject, "its address holds a character that no URL may hold")
        try:
            url = URL(text)
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise blocked(subject, "its address is not an http or https URL with a host")
        if url.raw_user is not None or url.raw_password is not None:
            raise blocked(subject, "its address holds a user name or password; use a secret reference instead")
        try:
            address = literal(url.raw_host)
        except HostRefused as error:
            raise blocked(subject, str(error)) from error
        reason = None if address is None else refusal(address, self._allow)
        if reason is not None:
            raise blocked(subject, f"its address is {reason.what}", allowable=reason.allowable)
        return url

    def _open_session(self) -> aiohttp.ClientSession:
        """The session, made at first use: it belongs to the running loop."""
        if self._closed:
            raise UpstreamFailed("The outbound client is closed", UpstreamFault.UNREACHABLE)
        if self._session is None:
            limits = self._limits
            connector = aiohttp.TCPConnector(
                resolver=self._resolver,
                use_dns_cache=False,  # each new connection is resolved and checked for itself
                limit=limits.connections,
                limit_per_host=limits.connections_per_host,
                keepalive_timeout=limits.keepalive_seconds,
                socket_factory=self._checked_socket,
                ssl=self._tls or True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                # Bodies are taken as sent: a decompressed answer would escape the size limit.
                headers={"User-Agent": f"caio/{__version__}", "Accept-Encoding": "identity"},
                auto_decompress=False,
                trust_env=False,
                max_line_size=limits.header_bytes,
                max_field_size=limits.header_bytes,
                max_headers=limits.headers,
            )
        return self._session

    def _checked_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """The socket for one connection attempt; PermissionError for what slipped past the resolver."""
        family, kind, protocol, _, address = info
        if refusal(read_address(str(address[0])), self._allow) is not None:
            raise PermissionError("the address was refused where the connection is made")
        return socket.socket(family, kind, protocol)


class _CheckedResolver(AbstractResolver):
    """Resolves a name once and passes on its addresses only if every one of them may be called."""

    def __init__(self, allow: Sequence[Network], resolve: Resolve, seconds: float) -> None:
        self._allow = allow
        self._resolve = resolve
        self._seconds = seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        async with asyncio.timeout(self._seconds):
            texts = await self._resolve(host, port)
        if not texts:
            raise OSError("the name has no address")
        results = []
        for text in dict.fromkeys(texts):
            address = read_address(text)
            reason = refusal(address, self._allow)
            if reason is not None:
                raise _NameRefused(reason)
            results.append(
                ResolveResult(
                    hostname=host,
                    host=str(address),
                    port=port,
                    family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                    proto=socket.IPPROTO_TCP,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is held."""


class _NameRefused(Exception):
    """Carries a refusal out through aiohttp, which does not know the subject of the call."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.what)
        self.refusal = refusal


def _checked(headers: Mapping[str, str] | None, subject: str) -> Mapping[str, str]:
    """``headers``, if none can break out of its line. The message holds names only."""
    for name, value in (headers or {}).items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise blocked(subject, "a header or its value holds a character that no header may hold")
    return headers or {}


async def _translated(work: Awaitable[T], subject: str) -> T:
    """``work``, with aiohttp's errors as UpstreamFailed."""
    try:
        return await work
    except _NameRefused as error:
        failure = blocked(subject, f"its name stands for {error.refusal.what}", allowable=error.refusal.allowable)
    except HostRefused as error:
        failure = blocked(subject, str(error))
    except (aiohttp.ClientError, OSError, RuntimeError) as error:  # uvloop raises RuntimeError, too
        what, fault = _reading(error)
        failure = UpstreamFailed(f"{subject} {what}", fault)
    # Raised outside the handler: aiohttp's errors hold the request's headers, and so the secret.
    raise failure


def _reading(error: Exception) -> tuple[str, UpstreamFault]:
    """What happened, in words, and its place in the taxonomy. The order is from special to general."""
    match error:
        case TimeoutError():
            return "did not answer in time", UpstreamFault.TIMEOUT
        case aiohttp.ClientConnectorDNSError():
            return "could not be reached: its name has no address", UpstreamFault.UNREACHABLE
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "could not be reached: its TLS certificate or handshake is not valid", UpstreamFault.UNREACHABLE
        case aiohttp.ClientConnectorError():
            return "could not be reached: it accepts no connection", UpstreamFault.UNREACHABLE
        case aiohttp.InvalidURL():
            return "was not called: its address is not valid", UpstreamFault.BLOCKED
        case aiohttp.ClientResponseError():
            return "answered something that is not HTTP, or headers that are too large", UpstreamFault.GARBAGE
        case _:
            return "ended the connection before its answer was complete", UpstreamFault.UPSTREAM
