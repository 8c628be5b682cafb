"""sentiment-trained: sentiment of a short review, by logistic regression trained at start. POST /classify {"text"}."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from sentiment import TrainedSentiment
from server import json_service, run, text_field


def build() -> web.Application:
    model = TrainedSentiment()

    def classify(body: dict[str, Any]) -> dict[str, Any]:
        return model.classify(str(text_field(body, "text")))

    return json_service("/classify", classify)


if __name__ == "__main__":
    run("sentiment-trained", 8104, build)
