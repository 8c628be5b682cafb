"""summarize-textrank: summaries by TextRank."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from server import count_field, json_service, run, text_field
from summarizing import TextRank


def build() -> web.Application:
    model = TextRank()

    def summarize(body: dict[str, Any]) -> dict[str, Any]:
        return model.summarize(str(text_field(body, "text")), count_field(body, "max_sentences", 3, 10))

    return json_service("/summarize", summarize)


if __name__ == "__main__":
    run("summarize-textrank", 8105, build)
