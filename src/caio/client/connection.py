"""Where a client calls, and as whom. The key is kept where no representation, log or error shows it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from caio._version import __version__
from caio.client.errors import Misused
from caio.client.patience import Patience

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_SECONDS = 60.0
CONNECT_SECONDS = 5.0
CONNECTIONS = 100
USER_AGENT = f"caio-python/{__version__} python/{platform.python_version()}"


@dataclass(frozen=True, slots=True)
class Connection:
    """``timeout`` is the whole time of a call in seconds, attempts and waits together."""

    url: str
    api_key: str | None = field(repr=False)
    tenant: str | None
    timeout: float
    patience: Patience

    def headers(self) -> dict[str, str]:
        authorized = {} if self.api_key is None else {"authorization": f"Bearer {self.api_key}"}
        selected = {} if self.tenant is None else {"x-tenant-id": self.tenant}
        return {"user-agent": USER_AGENT, "accept": "application/json", **authorized, **selected}


def connection_to(
    url: str | None,
    api_key: str | None,
    tenant: str | None,
    timeout: float,
    retries: int,
    *,
    allow_http: bool,
) -> Connection:
    """What the arguments say, and the environment where they are None: ``CAIO_URL``, ``CAIO_API_KEY`` and
    ``CAIO_TENANT``. Raises Misused for what cannot work, and for a key that would travel in the clear."""
    url = (url or os.environ.get("CAIO_URL") or DEFAULT_URL).rstrip("/")
    api_key = api_key or os.environ.get("CAIO_API_KEY") or None
    tenant = tenant or os.environ.get("CAIO_TENANT") or None
    host, secure = _host(url)
    if not secure and not allow_http and not _is_loopback(host):
        raise Misused(f"{url} has no TLS, so that others could read the key and the payloads: use https://")
    if api_key is not None and not _is_word(api_key):
        raise Misused("the API key holds characters that no key has; check CAIO_API_KEY")
    if tenant is not None and not _is_word(tenant):
        raise Misused("the tenant is not a tenant's id; check CAIO_TENANT")
    if not 0 < timeout < float("inf"):
        raise Misused("timeout must be a positive number of seconds")
    if retries < 0:
        raise Misused("retries must not be negative")
    return Connection(url, api_key, tenant, timeout, Patience(retries))


def _host(url: str) -> tuple[str, bool]:
    """The URL's host, and whether it has TLS."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise Misused("url must be a server's address, such as https://caio.example.com")
    return str(parts.hostname), parts.scheme == "https"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
