"""summarize-erratic: summaries, with a genuine flaw.

A text of more than 24 sentences is answered with ``{"pages": [...], "sentences": n}``: the ``summary`` that the
contract's output schema requires is missing. Up to 24 sentences the answer keeps the contract. See
``summarizing.PagedSummaries`` for how such a flaw comes about. There is no switch: the input alone decides.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from server import count_field, json_service, run, text_field
from summarizing import PagedSummaries


def build() -> web.Application:
    model = PagedSummaries()

    def summarize(body: dict[str, Any]) -> dict[str, Any]:
        return model.summarize(str(text_field(body, "text")), count_field(body, "max_sentences", 3, 10))

    return json_service("/summarize", summarize)


if __name__ == "__main__":
    run("summarize-erratic", 8107, build)
