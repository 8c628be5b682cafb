"""Two extractive question answerers: every word they answer with stands in a document.

- ``SwiftAnswers`` ranks sentences by BM25 and returns the opening of the best one.
- ``CarefulAnswers`` also reads headings, translates today's words into the documents' older
  ones, adds LSA similarity, covered question words and word pairs, and looks for the kind of
  expression the question asks for (a number for "how many"); then it cuts the clauses that
  answer out of a long sentence.

They search the shipped documents, or the ``context`` that comes with the question. Neither
understands anything: a question whose answer is worded quite differently is answered wrongly,
and the measured accuracy in the contracts says how often.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from language import Bm25, Lsa, Passage, Vector, passages, shipped_passages, stem, terms, words

SWIFT_WORDS = 60  # the longest answers, in words
CAREFUL_WORDS = 45

# Today's word, and what eighteenth-century documents say for it.
_GLOSSARY = {
    "choose": "chuse", "chooses": "chuse", "elect": "chosen", "census": "enumeration", "lawyer": "counsel",
    "attorney": "counsel", "salary": "compensation", "pay": "compensation", "begin": "originate", "start": "originate",
    "money": "revenue", "veto": "objections", "join": "admitted", "country": "resident", "live": "inhabitant",
    "tie": "divided", "testify": "witness", "gun": "arms", "weapons": "arms", "forbid": "prohibited",
    "parliament": "legislature", "army": "armies", "fugitive": "flee", "searched": "searches", "term": "hold",
    "serve": "chosen", "old": "age", "export": "exported", "taxed": "tax",
}  # fmt: skip

# Stems that speak of the asking, not of what is asked.
_ASKING = frozenset(
    map(stem, ("say", "says", "said", "according", "name", "mean", "define", "need", "needed", "happens"))
)

_NUMBER = (
    r"\b(one|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|fifty|hundred|thousand|score|half|thirds?"
    r"|fifths?|eighth|fourth|second|majority|every|each|\d+)\b"
)
_CUES = tuple(
    (re.compile(question), re.compile(answer, re.IGNORECASE))
    for question, answer in (
        (r"how long|for how many|how often", _NUMBER + r".{0,12}\b(years?|days?|term|time|life)\b|good behaviour"),
        (r"how (many|old|big|much|large|far)|what (age|fraction|share|number|part)", _NUMBER),
        (r"^when\b|in which (year|month|case)", r"\b(when|in cases? of|in time of|on the|within|until|before|after)\b"),
        (r"^where\b|\bwhere\b", r"\b(in|at|within|originate in|vested in)\b"),
        (r"^who\b|^by whom|^which (person|body|officer)",
         r"\b(president|vice president|senate|house|congress|justice|judges?|electors|king|states?|people|court|he)\b"),
        (r"^why\b", r"\b(because|cause|therefore|for|in order)\b"),
        (r"^how\b", r"\b(by|manner|according|admitted)\b"),
        (r"^what (is|are) (a|an|the)?\b|define", r"\b(is|are|shall be|understand|consist)\b"),
    )
)  # fmt: skip
_CLAUSE = re.compile(r"(?<=[,;:])\s+")


class SwiftAnswers:
    """BM25 over sentences: a fraction of a millisecond, and literal-minded."""

    def __init__(self, shipped: Sequence[Passage] | None = None) -> None:
        self._shipped = list(shipped_passages() if shipped is None else shipped)
        self._index = Bm25([terms(passage.text) for passage in self._shipped])

    def answer(self, question: str, context: str | None = None) -> dict[str, Any]:
        found, index = self._shipped, self._index
        if context is not None:
            found = passages(context)
            index = Bm25([terms(passage.text) for passage in found])
        scores = index.scores(terms(question))
        best = int(scores.argmax()) if len(found) else -1
        if best < 0 or scores[best] <= 0:
            return _nothing_found()
        return _answer(found[best], " ".join(found[best].text.split()[:SWIFT_WORDS]), float(scores[best]))


class CarefulAnswers:
    """Several signals over sentences, then the best clauses of the best sentence."""

    def __init__(self, shipped: Sequence[Passage] | None = None, lsa: Lsa | None = None) -> None:
        self._shipped = list(shipped_passages() if shipped is None else shipped)
        self._lsa = lsa or Lsa([passage.text for passage in self._shipped])
        self._prepared = self._prepare(self._shipped)

    def answer(self, question: str, context: str | None = None) -> dict[str, Any]:
        found, (bodies, headings, vectors) = self._shipped, self._prepared
        if context is not None:
            found = passages(context)
            bodies, headings, vectors = self._prepare(found) if found else self._prepared
        query = _translated(question)
        literal = bodies.scores(query)
        if not found or literal.max() <= 0:
            return _nothing_found()
        titled = headings.scores(query)
        scores = (
            literal / literal.max()
            + 0.6 * titled / max(1.0, float(titled.max()))
            + 0.4 * np.clip(vectors @ self._lsa.embed([question])[0], 0, 1)
        )
        shortlist = np.argsort(-scores, kind="stable")[:12]
        refined = [
            (float(scores[row]) + _evidence(question, query, found[row].text, bodies), int(row)) for row in shortlist
        ]
        score, best = max(refined, key=lambda pair: (pair[0], -pair[1]))
        return _answer(found[best], _best_clauses(question, query, found[best].text, bodies), score)

    def _prepare(self, found: Sequence[Passage]) -> tuple[Bm25, Bm25, Vector]:
        bodies = Bm25([terms(passage.text) for passage in found])
        headings = Bm25([terms(f"{passage.document} {passage.heading}") for passage in found])
        return bodies, headings, self._lsa.embed([passage.text for passage in found])


def _translated(question: str) -> list[str]:
    """The question's terms, and the older words for them."""
    older = [stem(_GLOSSARY[word]) for word in words(question) if word in _GLOSSARY]
    return [term for term in terms(question) if term not in _ASKING] + older


def _evidence(question: str, query: Sequence[str], text: str, index: Bm25) -> float:
    """How well a text covers the question's rare words and word pairs, and holds what it asks for."""
    bag = terms(text)
    held = set(bag)
    weights = {term: index.idf.get(term, 0.0) for term in query}
    covered = sum(weight for term, weight in weights.items() if term in held)
    pairs = set(pairwise(bag)) & set(pairwise(query))
    coverage = covered / (sum(weights.values()) or 1.0)
    return 0.8 * coverage + 0.15 * min(len(pairs), 2) + 0.3 * _holds_what_is_asked(question, text)


def _holds_what_is_asked(question: str, text: str) -> float:
    asked = question.lower().strip()
    for kind, expression in _CUES:
        if kind.search(asked):
            return 1.0 if expression.search(text) else 0.0
    return 0.5


def _best_clauses(question: str, query: Sequence[str], text: str, index: Bm25) -> str:
    """The run of neighbouring clauses, at most CAREFUL_WORDS long, with the best evidence for its length."""
    if len(text.split()) <= CAREFUL_WORDS:
        return text
    clauses = _CLAUSE.split(text)
    best, best_score = clauses[0], float("-inf")
    for first in range(len(clauses)):
        for last in range(first + 1, len(clauses) + 1):
            run = " ".join(clauses[first:last])
            length = len(run.split())
            if length > CAREFUL_WORDS and last > first + 1:
                break
            score = _evidence(question, query, run, index) - 0.15 * (1 - min(length, CAREFUL_WORDS) / CAREFUL_WORDS)
            if score > best_score:
                best, best_score = run, score
    return " ".join(best.split()[:CAREFUL_WORDS]).rstrip(",;:")


def _answer(passage: Passage, text: str, score: float) -> dict[str, Any]:
    return {"found": True, "answer": text, "source": passage.source or "context", "score": round(score, 6)}


def _nothing_found() -> dict[str, Any]:
    return {"found": False, "answer": "", "source": None, "score": 0.0}
