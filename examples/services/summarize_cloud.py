"""summarize-cloud: summaries by lead and frequency.

It stands for a cloud offering in region us: its contract declares that locality and price. It runs on this machine
like the others, so its contract's region shows what CAIO does with such a promise, not where the bytes go.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from server import count_field, json_service, run, text_field
from summarizing import LeadAndFrequency


def build() -> web.Application:
    model = LeadAndFrequency()

    def summarize(body: dict[str, Any]) -> dict[str, Any]:
        return model.summarize(str(text_field(body, "text")), count_field(body, "max_sentences", 3, 10))

    return json_service("/summarize", summarize)


if __name__ == "__main__":
    run("summarize-cloud", 8106, build)
