"""``caio ops smoke``: does this deployment work, seen from where its callers are?

Asks any CAIO by its URL for what a load balancer, a stranger and a caller would: transport, probes, closed doors,
and with a key a decision whose receipt is verified here. Nothing but decisions is left behind. Exits 0 when every check
passed, 10 when one did not.

Not checked: that TLS versions older than 1.2 are refused, and what needs more than one call to show, such as limits.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

import typer

from caio.cli import exits, output
from caio.cli.files import read_file
from caio.cli.parameters import ApiKey, Json
from caio.cli.requests import request_body
from caio.cli.server import Server
from caio.cli.trust import PUBLISHED_AT, pinned
from caio.foundation.errors import CaioError, NoServiceSatisfies, NotReady, Unauthenticated

#: For each request, in seconds; and how long a receipt may take to show its place in the log.
_PATIENCE = 15.0
_LOGGED_WITHIN = 20.0
#: A certificate that ends sooner is not renewed by whatever should.
_DAYS_LEFT = 14

#: What no service offers: it is refused, and the refusal is a decision like any other.
_NOBODY = b'{"request":{"capability":"caio.smoke-test","payload":{}}}'


class _Wrong(Exception):
    """A check found what must not be."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one check found: it holds, it does not, or (None) it could not be made."""

    name: str
    holds: bool | None
    detail: str
    milliseconds: float


def smoke(
    url: Annotated[str, typer.Argument(metavar="URL", help="The deployment, as its callers reach it.")],
    api_key: ApiKey = None,
    request: Annotated[
        str | None,
        typer.Option("--request", metavar="FILE", help="A request that some service must answer; it is paid for."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Try a deployment: probes, closed doors, a decision and its receipt. With a key it tries more."""
    body = None if request is None else request_body(read_file(request), [])
    found = []
    for each in _Smoke(url, api_key, body).checks():
        found.append(each)
        if not as_json:
            output.check(each.holds, each.name, f"{each.detail} ({each.milliseconds:,.0f} ms)")
    failed = [each.name for each in found if each.holds is False]
    if as_json:
        told = [
            {"check": each.name, "holds": each.holds, "detail": each.detail, "milliseconds": each.milliseconds}
            for each in found
        ]
        output.print_json({"ok": not failed, "url": url, "checks": told})
    else:
        output.say()
        output.say(f"Not well: {', '.join(failed)}." if failed else "All is well.")
        if api_key is None:
            output.next_step(f"export CAIO_API_KEY=…; caio ops smoke {url}")
    if failed:
        raise typer.Exit(exits.ExitCode.NOT_READY)


class _Smoke:
    """One run against one deployment."""

    def __init__(self, url: str, api_key: str | None, body: bytes | None) -> None:
        self._stranger = Server(url, timeout_seconds=_PATIENCE)
        self._caller = None if api_key is None else Server(url, api_key, timeout_seconds=_PATIENCE)
        self._parts = urlsplit(url)
        self._host = str(self._parts.hostname)
        self._secure = self._parts.scheme == "https"
        self._body = body
        self._keys: dict[str, bytes] = {}
        self._decision_id = ""

    def checks(self) -> Iterator[Found]:
        transport: list[tuple[str, Callable[[], str]]] = [
            ("certificate", self._certificate),
            ("plain HTTP", self._plain),
        ]
        public: list[tuple[str, Callable[[], str]]] = [
            ("live", self._live),
            ("ready", self._ready),
            ("published keys", self._published),
            ("closed to strangers", self._closed),
            ("metrics not public", self._metrics),
        ]
        asked: list[tuple[str, Callable[[], str]]] = [
            ("caller", self._whoami),
            ("answer" if self._body else "decision", self._answer if self._body else self._refusal),
            ("receipt", self._receipt),
        ]
        for name, check in [*(transport if self._secure else []), *public]:
            yield _made(name, check)
        for name, check in asked:
            yield Found(name, None, "needs a key", 0.0) if self._caller is None else _made(name, check)

    def _certificate(self) -> str:
        """Trusted here, for this very name, and not about to end."""
        context = ssl.create_default_context()
        address = (self._host, self._parts.port or 443)
        with (
            socket.create_connection(address, _PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=self._host) as secured,
        ):
            certificate = secured.getpeercert() or {}
            version = secured.version()
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
        days = (ends - datetime.now(UTC)).days
        if days < _DAYS_LEFT:
            raise _Wrong(f"ends in {days} days")
        return f"{version}, ends in {days} days"

    def _plain(self) -> str:
        """Port 80 sends to https, or is closed."""
        if self._parts.port not in (None, 443):
            return "not looked at: the deployment is on a port of its own"
        connection = http.client.HTTPConnection(self._host, 80, timeout=_PATIENCE)
        try:
            with closing(connection):
                connection.request("GET", "/health/live")
                answer = connection.getresponse()
                location = answer.headers.get("Location", "")
        except OSError:
            return "closed"
        if answer.status not in (301, 308) or not location.startswith("https://"):
            raise _Wrong(f"answers {answer.status} without TLS; it must send to https")
        return "sends to https"

    def _live(self) -> str:
        return str(self._stranger.get("/health/live").document["status"])

    def _ready(self) -> str:
        _, raw = self._get("/health/ready")
        document = json.loads(raw)
        parts = {name: each["status"] for name, each in document["components"].items()}
        unwell = [f"{name} is {status}" for name, status in parts.items() if status != "healthy"]
        if document["status"] != "healthy":
            raise _Wrong(": ".join(filter(None, [document["status"], ", ".join(unwell)])))
        return ", ".join(parts)

    def _published(self) -> str:
        from caio.audit.signing import read_key_set

        self._keys = read_key_set(self._stranger.get(PUBLISHED_AT).document)
        return ", ".join(self._keys)

    def _closed(self) -> str:
        try:
            self._stranger.send("POST", "/api/v1/orchestrate", _NOBODY)
        except Unauthenticated:
            return "refused without a key"
        except CaioError as error:
            raise _Wrong(f"a call without a key was answered with {error.code}, not refused as a stranger's") from error
        raise _Wrong("a call without a key was answered")

    def _metrics(self) -> str:
        status, _ = self._get("/metrics")
        if status < 400:
            raise _Wrong("/metrics answers to everybody")
        return f"status {status}"

    def _get(self, path: str) -> tuple[int, bytes]:
        """What a stranger gets, whatever the status."""
        connect = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        with closing(connect(self._host, self._parts.port, timeout=_PATIENCE)) as connection:
            connection.request("GET", self._parts.path.rstrip("/") + path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _whoami(self) -> str:
        me = self._asked.get("/api/v1/me").document
        return f"{me['principal_id']} of {me['tenant']['tenant_id']}"

    def _refusal(self) -> str:
        try:
            self._asked.send("POST", "/api/v1/route", _NOBODY)
        except NoServiceSatisfies as refused:
            if refused.decision_id is None:
                raise _Wrong("a refusal was not recorded") from None
            self._decision_id = refused.decision_id
            return f"refused with reasons, as it must be: {refused.decision_id}"
        raise _Wrong("a request for what nobody offers was not refused")

    def _answer(self) -> str:
        answer = self._asked.send("POST", "/api/v1/orchestrate", self._body).document
        self._decision_id = answer["decision_id"]
        service = answer["service"]
        return f"{service['id']}@{service['version']} in {answer['latency_ms']} ms: {self._decision_id}"

    def _receipt(self) -> str:
        """Signed by a key that is pinned here, or else by one that the deployment publishes; and in the log."""
        from caio.audit.verify import verify_receipt

        if not self._decision_id:
            raise _Wrong("there is no decision to have one of")
        known = {key_id: key for key_id, key in pinned().items() if key_id in self._keys}
        trusted, whose = (known, "a pinned key") if known else (self._keys, "a published key, not pinned here")
        until = time.monotonic() + _LOGGED_WITHIN
        while True:
            document = self._asked.get(f"/api/v1/decisions/{self._decision_id}/receipt").document
            verification = verify_receipt(document, trusted)
            proved = {claim.name: claim.proved for claim in verification.claims}
            if not verification.ok:
                refuted = [name for name, holds in proved.items() if holds is False]
                raise _Wrong(f"not verified: {', '.join(refuted)}")
            if proved.get("decision inclusion"):
                return f"verified, signed by {whose}, held by the log"
            if time.monotonic() > until:
                raise _Wrong(f"the log did not hold it within {_LOGGED_WITHIN:g} s")
            time.sleep(0.5)

    @property
    def _asked(self) -> Server:
        assert self._caller is not None  # noqa: S101 - these checks are left out without a key
        return self._caller


def _made(name: str, check: Callable[[], str]) -> Found:
    started = time.monotonic()
    try:
        with output.waiting(f"Checking: {name}"):
            holds, detail = True, check()
    except _Wrong as wrong:
        holds, detail = False, str(wrong)
    except NotReady as error:
        holds, detail = False, error.message.replace("; start a server with: caio serve", "")
    except CaioError as error:
        holds, detail = False, error.message
    except ssl.SSLError as error:
        holds, detail = False, f"no trustworthy TLS certificate for this name ({error.reason})"
    except (OSError, http.client.HTTPException) as error:
        holds, detail = False, f"no answer ({type(error).__name__})"
    except (ValueError, KeyError, TypeError, AttributeError):
        holds, detail = False, "answers, but not as CAIO does"
    return Found(name, holds, detail, round((time.monotonic() - started) * 1000, 1))
