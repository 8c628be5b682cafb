"""The lines that a request begins with, none of which can be broken out of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

from caio._version import __version__
from caio.foundation.errors import UpstreamFailed, UpstreamFault

_PLAIN = re.compile(r"[A-Za-z0-9!$%&'()*+,/:;=?@\[\]~\-._]*")
_SAFE = "!$%&'()*+,/:;=?@[]~-._"  # what _PLAIN holds beside letters and digits
_HEADERS = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\r\n)*")
_METHOD = re.compile(r"[A-Z]+")

#: Headers that the client sets, or that say where a message ends.
_OWN = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)


def blocked(subject: str, what: str, *, allowable: bool = False) -> UpstreamFailed:
    """The refusal to call ``subject``, with what the operator can do about it."""
    advice = ""
    if allowable:
        advice = (
            "; an operator who trusts that network allows it with --allow-private CIDR"
            " or the setting CAIO_OUTBOUND_ALLOW"
        )
    return UpstreamFailed(f"{subject} was not called: {what}{advice}", UpstreamFault.BLOCKED)


def first_lines(method: str, host: str, path: str, query: str, subject: str) -> str:
    """What a request begins with; ``path`` is quoted."""
    if not _METHOD.fullmatch(method):
        raise blocked(subject, "its method is not one that HTTP knows")
    target = f"{path}?{quoted(query)}" if query else path
    # Bodies are taken as sent: a decompressed answer would escape the size limit.
    return (
        f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: caio/{__version__}\r\nAccept-Encoding: identity\r\n"
    )


def quoted(part: str) -> str:
    return part if _PLAIN.fullmatch(part) else quote(part, safe=_SAFE)


def header_lines(headers: Mapping[str, str] | None, subject: str) -> str:
    """``headers`` as lines, if none can break out of its own. The message holds names only."""
    if not headers:
        return ""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or not _HEADERS.fullmatch(lines):
        raise blocked(subject, "a header or its value holds a character that no header may hold")
    if not _are_free(tuple(headers)):
        raise blocked(subject, "a header was given that only the connection may set")
    return lines


@lru_cache(256)
def _are_free(names: tuple[str, ...]) -> bool:
    """Whether the client sets none of these headers itself."""
    return _OWN.isdisjoint(map(str.lower, names))
