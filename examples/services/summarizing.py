"""Three extractive summarisers: a summary is sentences of the text, in their order.

- ``TextRank`` (Mihalcea and Tarau, 2004): sentences vote for the sentences they share words with.
- ``LeadAndFrequency``: sentences full of the text's frequent words, the first ones favoured.
- ``PagedSummaries``: the second with a flaw, described in its docstring.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from language import sentences, terms

PAGE = 24  # sentences


class TextRank:
    """PageRank over a graph of sentences weighted by shared terms."""

    def summarize(self, text: str, max_sentences: int = 3) -> dict[str, Any]:
        found = sentences(text)
        bags = [set(terms(sentence)) for sentence in found]
        vocabulary = {term: column for column, term in enumerate(sorted(set().union(*bags)))}
        presence = np.zeros((len(found), len(vocabulary)))
        for row, bag in enumerate(bags):
            presence[row, [vocabulary[term] for term in bag]] = 1.0
        lengths = np.log1p(presence.sum(axis=1))
        links = presence @ presence.T / np.maximum(lengths[:, None] + lengths[None, :], 1.0)
        np.fill_diagonal(links, 0.0)
        votes = links / np.maximum(links.sum(axis=1, keepdims=True), 1e-12)
        rank = np.full(len(found), 1.0)
        for _ in range(50):
            rank = 0.15 + 0.85 * votes.T @ rank
        return _summary(found, [float(value) for value in rank], max_sentences)


class LeadAndFrequency:
    """Average frequency of a sentence's terms, times a bonus that fades from the first sentence on."""

    def summarize(self, text: str, max_sentences: int = 3) -> dict[str, Any]:
        found = sentences(text)
        return _summary(found, _lead_and_frequency(found), max_sentences)


class PagedSummaries:
    """LeadAndFrequency, with a genuine flaw.

    A text of more than ``PAGE`` (24) sentences is summarised page by page, and the answer is then
    ``{"pages": [...], "sentences": n}``: the ``summary`` that the contract's output schema
    requires is missing. This is how contracts break in practice: a feature for long input was
    added and the promise was not looked at. Up to 24 sentences the answer is as promised.
    """

    def summarize(self, text: str, max_sentences: int = 3) -> dict[str, Any]:
        found = sentences(text)
        if len(found) <= PAGE:
            return _summary(found, _lead_and_frequency(found), max_sentences)
        pages = [found[start : start + PAGE] for start in range(0, len(found), PAGE)]
        summaries = [_summary(page, _lead_and_frequency(page), max_sentences)["summary"] for page in pages]
        return {"pages": summaries, "sentences": len(found)}


def _lead_and_frequency(found: list[str]) -> list[float]:
    bags = [terms(sentence) for sentence in found]
    frequency = Counter(term for bag in bags for term in bag)
    return [
        sum(frequency[term] for term in bag) / (len(bag) + 2) * (1 + 1 / (1 + position))
        for position, bag in enumerate(bags)
    ]


def _summary(found: list[str], scores: list[float], max_sentences: int) -> dict[str, Any]:
    chosen = sorted(sorted(range(len(found)), key=lambda row: (-scores[row], row))[:max_sentences])
    return {"summary": " ".join(found[row] for row in chosen), "sentences": len(found)}
