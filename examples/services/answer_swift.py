"""answer-swift: extractive question answering, fast and literal. POST /answer {"question", "context"?}."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from answering import SwiftAnswers
from server import json_service, run, text_field


def build() -> web.Application:
    model = SwiftAnswers()

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return model.answer(str(text_field(body, "question", limit=2_000)), text_field(body, "context", required=False))

    return json_service("/answer", answer)


if __name__ == "__main__":
    run("answer-swift", 8101, build)
