"""The FastAPI application behind the hot paths: routes, error answers, the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from time import monotonic
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from caio._version import __version__
from caio.api import openapi
from caio.api.dependencies import CALLER
from caio.api.docs_page import add_docs_page
from caio.api.errors import MethodNotAllowed, as_caio_error, headers_of, openai_error, problem, status_of
from caio.api.platform import Platform
from caio.api.request_log import log_request, new_request_id
from caio.api.routes import (
    aliases,
    audit_custody,
    audit_entries,
    audit_log,
    decisions,
    events,
    health,
    invitations,
    keys,
    me,
    members,
    models,
    observed,
    policies,
    routing,
    service_health,
    service_limits,
    services,
    tenant,
    tenants,
    usage,
    webhooks,
    what_if,
    workflows,
)
from caio.api.turns import HoldingTurns
from caio.foundation.errors import CaioError, InvalidInput, NotFound, Violation

DESCRIPTION = (
    "Routes AI requests by contract, enforces what was promised, and proves every decision. "
    "Errors are RFC 9457 problem documents under `/api/v1` and OpenAI's error shape under `/v1`."
)


_ROUTES = (
    services,
    service_limits,
    service_health,
    observed,
    policies,
    routing,
    decisions,
    what_if,
    audit_entries,
    audit_log,
    audit_custody,
    me,
    keys,
    invitations,
    tenant,
    tenants,
    members,
    usage,
    events,
    webhooks,
    models,
    aliases,
    workflows,
    health,
)

#: As nginx logs a caller who closed the connection before an answer.
CLIENT_GONE = 499


def control_plane(platform: Platform) -> FastAPI:
    """The application; its routes find ``platform`` in its state."""
    app = FastAPI(title="CAIO", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.state.platform = platform
    add_docs_page(app)
    for module in _ROUTES:
        app.include_router(module.router)
    app.add_exception_handler(CaioError, _answer)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    app.middleware("http")(_edge)
    app.add_middleware(HoldingTurns)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app


async def _edge(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer every error (Starlette would answer an unexpected one in plain text and raise it again),
    name the request and log it, as the hot paths do."""
    started = monotonic()
    try:
        # No name holds a NUL, and PostgreSQL takes none as a parameter.
        if "\0" in request.scope["path"] or b"%00" in request.scope["query_string"]:
            raise InvalidInput("an address cannot hold a NUL character", code="invalid_request")
        response = await call_next(request)
    except ClientDisconnect:
        response = Response(status_code=CLIENT_GONE)  # nobody reads it
    except Exception as error:  # noqa: BLE001 - the edge of the process: every error becomes an answer
        response = _answer(request, error)
    response.headers["x-request-id"] = new_request_id()
    log_request(
        method=request.method,
        path=request.url.path,
        status=response.status_code,
        request_id=response.headers["x-request-id"],
        decision_id=response.headers.get("x-caio-decision-id"),
        started=started,
        caller=request.scope.get(CALLER),
    )
    platform: Platform = request.app.state.platform
    platform.metrics.request("control", response.status_code)
    return response


def _answer(request: Request, error: Exception) -> JSONResponse:
    known = as_caio_error(error)
    native = not request.url.path.startswith("/v1/")
    content: dict[str, Any] = problem(known) if native else openai_error(known)
    kind = "application/problem+json" if native else "application/json"
    return JSONResponse(content, status_code=status_of(known), headers=headers_of(known), media_type=kind)


def _answer_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as registered
    violations = [
        Violation("".join(f"/{part}" for part in each["loc"] if part != "body"), each["msg"]) for each in error.errors()
    ]
    return _answer(request, InvalidInput("the request is not valid", violations, code="invalid_request"))


def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered
    if error.status_code == HTTPStatus.NOT_FOUND:
        return _answer(request, NotFound("there is nothing at this address", code="no_such_path"))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _answer(request, MethodNotAllowed((error.headers or {}).get("Allow", "")))
    return _answer(request, InvalidInput(str(error.detail), code="invalid_request"))
