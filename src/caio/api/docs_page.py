"""``/docs``: the OpenAPI document for people, with Swagger UI served from this process.

FastAPI's own page loads its script from a content delivery network: blank on a laptop without one,
and somebody else's code beside the API key that a reader types in. The files come with the package
``fastapi-swagger`` instead.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

PAGE = "/docs"
ASSETS = "/docs/assets"


def add_docs_page(app: FastAPI) -> None:
    """Serve the page and its files; both need no credential and are not in the OpenAPI document."""
    app.mount(ASSETS, StaticFiles(packages=[("fastapi_swagger", "resources")]))

    async def page(_request: Request) -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=app.openapi_url or "/openapi.json",
            title="CAIO: API",
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon-32x32.png",
        )

    app.add_route(PAGE, page, include_in_schema=False)
