"""answer-careful: extractive question answering, slower and more accurate. POST /answer {"question", "context"?}."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from answering import CarefulAnswers
from server import json_service, run, text_field


def build() -> web.Application:
    model = CarefulAnswers()

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return model.answer(str(text_field(body, "question", limit=2_000)), text_field(body, "context", required=False))

    return json_service("/answer", answer)


if __name__ == "__main__":
    run("answer-careful", 8102, build)
