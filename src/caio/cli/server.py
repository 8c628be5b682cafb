"""Talking to a running server: requests out, documents or the errors of the tree back.

A problem document becomes the error it was made from, so that what happened there is told, and
exits, exactly as if it had happened here. Redirects are not followed and proxies not used.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from caio.cli import output
from caio.foundation.errors import (
    BudgetExhausted,
    CaioError,
    Conflict,
    DeadlineExceeded,
    Erased,
    InvalidInput,
    LimitExceeded,
    NoServiceSatisfies,
    NotAllowed,
    NotFound,
    NotReady,
    PreconditionFailed,
    Reason,
    TooLarge,
    Unauthenticated,
    UpstreamFailed,
    UpstreamFault,
    Violation,
)

#: Longer than the longest deadline a request may have.
TIMEOUT_SECONDS = 630
PAGE = 200
_PART = 65536
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """A document and the revision it has, where it has one."""

    document: Any
    etag: str | None


class Server:
    """One server, asked with one key; without a key only what is public can be asked for."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        tenant: str | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or not _has_port(parts):
            raise InvalidInput("--url must be a server's URL, such as http://127.0.0.1:8080", code="invalid_url")
        if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key):
            raise Unauthenticated("the API key holds characters that no key has; check CAIO_API_KEY")
        if tenant is not None and not (tenant.isascii() and tenant.isprintable() and tenant):
            raise InvalidInput("CAIO_TENANT is not a tenant's id", code="invalid_tenant")
        self.url = url.rstrip("/")
        self._parts = parts
        self._api_key = api_key
        self._tenant = tenant
        self._timeout_seconds = timeout_seconds

    def get(self, path: str, **query: object) -> Answer:
        """Query parameters that are None are left out."""
        return self.send("GET", path + _query(query))

    def items(self, path: str, cursor: str = "after", **query: object) -> Iterator[Any]:
        """Everything a paginated list holds."""
        after = None
        while True:
            page = self.get(path, **query, limit=PAGE, **{cursor: after}).document
            yield from page["items"]
            after = page[f"next_{cursor}"]
            if after is None:
                return

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        kind: str = "json",
        if_match: str | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Answer:
        """Raises the error that the server answered, or NotReady when there is no server."""
        headers = {**self._headers("application/json"), **headers}
        if body is not None:
            headers["Content-Type"] = f"application/{kind}"
        if if_match is not None:
            headers["If-Match"] = if_match
        waiting = output.waiting(f"Waiting for {self._parts.netloc}")
        with waiting, closing(self._connection()) as connection, self._answering():
            response = self._ask(connection, method, path, body, headers)
            raw = response.read()
        document = self._read(response.status, raw)
        self._raise_for(response, document)
        return Answer(document, response.headers.get("ETag"))

    @contextmanager
    def stream(
        self, path: str, accept: str, headers: Mapping[str, str] = _NO_HEADERS, /, **query: object
    ) -> Iterator[Iterator[bytes]]:
        """A body that is no document, in parts as they come. Raises as ``send``; the iterator raises NotReady
        when the connection breaks."""
        with closing(self._connection()) as connection:
            with self._answering():
                stated = {**self._headers(accept), **headers}
                response = self._ask(connection, "GET", path + _query(query), None, stated)
            if response.status != http.HTTPStatus.OK:
                with self._answering():
                    raw = response.read()
                self._raise_for(response, self._read(response.status, raw))
            yield self._read_in_parts(response)

    def _read_in_parts(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        while True:
            with self._answering():
                part = response.read1(_PART)  # what there is: some streams go on for long
            if not part:
                return
            yield part

    def _headers(self, accept: str) -> dict[str, str]:
        authorized = {} if self._api_key is None else {"Authorization": f"Bearer {self._api_key}"}
        selected = {} if self._tenant is None else {"X-Tenant-ID": self._tenant}
        return {"Accept": accept, **authorized, **selected}

    def _connection(self) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return connect(str(self._parts.hostname), self._parts.port, timeout=self._timeout_seconds)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        connection.request(method, self._parts.path.rstrip("/") + path, body=body, headers=dict(headers))
        return connection.getresponse()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turns what goes wrong with the connection into errors of the tree."""
        try:
            yield
        except TimeoutError as error:
            raise DeadlineExceeded(f"{self.url} did not answer within {self._timeout_seconds:g} seconds") from error
        except ssl.SSLError as error:
            raise self._unreachable(f"has no trustworthy TLS certificate ({error.reason})") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable("does not answer; start a server with: caio serve") from error

    def _raise_for(self, response: http.client.HTTPResponse, document: Any) -> None:
        if response.status >= 400:
            raise error_of(response.status, document, {name.lower(): value for name, value in response.headers.items()})

    def _read(self, status: int, raw: bytes) -> Any:
        try:
            document = json.loads(raw)
        except ValueError:
            document = None
        if not isinstance(document, dict) or status in range(300, 400):
            raise self._unreachable(f"answers (status {status}), but not as a CAIO server does; check the URL")
        return document

    def _unreachable(self, message: str) -> NotReady:
        return NotReady(f"{self.url} {message}", code="server_unreachable")


def _query(parameters: Mapping[str, object]) -> str:
    """A query string; parameters that are None are left out, lists are repeated."""
    stated = {name: value for name, value in parameters.items() if value is not None}
    return f"?{urlencode(stated, doseq=True)}" if stated else ""


def _has_port(parts: SplitResult) -> bool:
    """Whether the port is absent or a number that a port can have."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def asked_with(url: str, api_key: str | None) -> Server:
    """The server for a command that needs a key; raises Unauthenticated when there is none. Whoever belongs to
    several tenants selects one with CAIO_TENANT."""
    if api_key is None:
        raise Unauthenticated("this needs an API key: set CAIO_API_KEY to the one that caio serve printed")
    return Server(url, api_key, os.environ.get("CAIO_TENANT"))


def segment(text: str) -> str:
    """An id as one segment of a path."""
    return quote(text, safe="")


def error_of(status: int, problem: Mapping[str, Any], headers: Mapping[str, str]) -> CaioError:
    """The error behind a problem document, with its own code and message; header names in lower case."""
    error = _error(status, problem, headers)
    error.code = str(problem.get("code", error.code))
    error.retryable = bool(problem.get("retryable", error.retryable))
    if (decision_id := problem.get("decision_id")) is not None:
        error.decision_id = str(decision_id)
    return error


_BY_STATUS: dict[int, type[CaioError]] = {
    401: Unauthenticated,
    402: BudgetExhausted,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    410: Erased,
    412: PreconditionFailed,
    413: TooLarge,
    503: NotReady,
    504: DeadlineExceeded,
}


def _error(status: int, problem: Mapping[str, Any], headers: Mapping[str, str]) -> CaioError:
    message = str(problem.get("detail", f"the server answered with status {status}"))
    if "reasons" in problem:
        return NoServiceSatisfies(message, [Reason(**each) for each in problem["reasons"]])
    if "fault" in problem:
        return UpstreamFailed(message, UpstreamFault(problem["fault"]))
    if status == 429:
        retry_after = int(headers.get("retry-after", "1"))
        return LimitExceeded(
            f"{message}; try again in {retry_after} s",
            window=headers.get("ratelimit-policy", ""),
            limit=int(headers.get("ratelimit-limit", "0")),
            retry_after=retry_after,
        )
    if status in _BY_STATUS:
        return _BY_STATUS[status](message)
    if status < 500:
        violations = [
            Violation(each["pointer"], each["detail"], each.get("line")) for each in problem.get("errors", [])
        ]
        return InvalidInput(message, violations)
    return CaioError(message)
