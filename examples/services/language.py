"""The language arithmetic the example services share: words, sentences, BM25, LSA.

Theory of operation
-------------------
A text is a list of sentences; a sentence is a bag of stemmed words. Two ways to compare
bags are enough for every service here:

- **BM25** (Robertson and Zaragoza, 2009): how well a bag answers a query, by rare words shared.
- **LSA** (Deerwester et al., 1990): a bag's log-weighted counts, projected on the strongest
  singular directions of a corpus, so that words used in the same places come close. A word the
  corpus does not have still counts: it points in a direction drawn from its own hash, so
  the same unknown word agrees with itself and every non-empty text has a vector.

Everything is computed from the files in ``examples/texts`` and ``examples/labelled`` when a
service starts. Nothing is downloaded, and nothing here knows CAIO.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Vector = NDArray[np.float64]

EXAMPLES = Path(__file__).resolve().parent.parent
DIMENSION = 64
MAX_SENTENCES = 1000  # of one text: comparing all with all grows with the square


class TooManySentences(ValueError):
    """A text has more than MAX_SENTENCES sentences."""

    def __init__(self, count: int) -> None:
        super().__init__(f"the text has {count} sentences; at most {MAX_SENTENCES} are read")


def word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOPWORDS = word_set(
    """a about above after again all also am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here
    hers him his how i if in into is it its itself me more most must my no nor not of off on once only or other
    our ours out over own same shall she should so some such than that the their theirs them then there these
    they this those through to too under until up upon very was we were what when where which while who whom
    whose why will with would you your yours thereof therein thereby herein"""
)

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=[\"'“(]?[A-Z])")
_SUFFIXES = (
    "ations",
    "ation",
    "ments",
    "ment",
    "ities",
    "ity",
    "ings",
    "ing",
    "edly",
    "ies",
    "ed",
    "es",
    "s",
    "e",
    "y",
)


@dataclass(frozen=True, slots=True)
class Passage:
    """One sentence, and where it stands: the document's title and the nearest heading."""

    document: str
    heading: str
    text: str

    @property
    def source(self) -> str:
        return f"{self.document}: {self.heading}" if self.heading else self.document


def tokens(text: str) -> list[str]:
    """Words and single punctuation marks: the unit in which the services count usage."""
    return _TOKEN.findall(text)


def words(text: str) -> list[str]:
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def stem(word: str) -> str:
    """Cut one common English ending, leaving at least three letters. Crude, and the same on both sides."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word


def terms(text: str) -> list[str]:
    """The stems of the words that carry content."""
    return [stem(word.removesuffix("'s")) for word in words(text) if word not in STOPWORDS]


def sentences(text: str) -> list[str]:
    """Split at line ends and at closing punctuation before a capital letter. Raises TooManySentences."""
    return _bounded([part.strip() for line in text.splitlines() for part in _SENTENCE_END.split(line) if part.strip()])


def passages(markdown: str) -> list[Passage]:
    """The sentences of a document whose first line is ``# Title`` and whose parts open with ``## Heading``.

    Raises TooManySentences.
    """
    title, heading = "", ""
    found: list[Passage] = []
    for line in markdown.splitlines():
        if line.startswith("## "):
            heading = line[3:].strip()
        elif line.startswith("# "):
            title = line[2:].strip()
        else:
            found.extend(Passage(title, heading, sentence) for sentence in sentences(line))
    return _bounded(found)


def _bounded(found: list[T]) -> list[T]:
    if len(found) > MAX_SENTENCES:
        raise TooManySentences(len(found))
    return found


def shipped_passages() -> list[Passage]:
    """Every sentence of ``examples/texts``, in a fixed order."""
    files = sorted(path for path in (EXAMPLES / "texts").glob("*.md") if path.name != "SOURCES.md")
    return [passage for path in files for passage in passages(path.read_text(encoding="utf-8"))]


class Bm25:
    """Okapi BM25 over bags of terms, with the usual k1 = 1.2 and b = 0.75."""

    def __init__(self, bags: Sequence[Sequence[str]], k1: float = 1.2, b: float = 0.75) -> None:
        lengths = np.array([len(bag) for bag in bags], dtype=float)
        norm = k1 * (1 - b + b * lengths / max(lengths.mean(), 1.0)) if len(bags) else lengths
        postings: dict[str, list[tuple[int, int]]] = {}
        for row, bag in enumerate(bags):
            for term, count in Counter(bag).items():
                postings.setdefault(term, []).append((row, count))
        self.size = len(bags)
        self.idf: dict[str, float] = {}
        self._weights: dict[str, tuple[NDArray[np.intp], Vector]] = {}
        for term, entries in postings.items():
            rows = np.array([row for row, _ in entries], dtype=np.intp)
            counts = np.array([count for _, count in entries], dtype=float)
            self.idf[term] = float(np.log(1 + (self.size - len(rows) + 0.5) / (len(rows) + 0.5)))
            self._weights[term] = (rows, self.idf[term] * counts * (k1 + 1) / (counts + norm[rows]))

    def scores(self, query: Iterable[str]) -> Vector:
        """One score for each bag; zero where no term is shared."""
        total = np.zeros(self.size)
        for term in sorted(set(query)):
            if term in self._weights:
                rows, weights = self._weights[term]
                total[rows] += weights
        return total


class Lsa:
    """Latent semantic analysis: texts as unit vectors of ``DIMENSION`` numbers."""

    def __init__(self, corpus: Sequence[str]) -> None:
        bags = [Counter(terms(text)) for text in corpus]
        frequency = Counter(term for bag in bags for term in bag)
        self._column = {term: column for column, term in enumerate(sorted(frequency))}
        self._idf = np.array([np.log((1 + len(bags)) / (1 + frequency[term])) + 1 for term in self._column])
        self._unknown_weight = float(np.log(1 + len(bags)) + 1)
        matrix = np.stack([self._weights(bag) for bag in bags])
        # The right singular vectors of a wide matrix, by way of its small Gram matrix: a few times faster than an SVD.
        values, vectors = np.linalg.eigh(matrix @ matrix.T)
        strongest = np.argsort(values)[::-1][:DIMENSION]
        self._basis = (matrix.T @ vectors[:, strongest]) / np.sqrt(np.maximum(values[strongest], 1e-12))

    def embed(self, texts: Sequence[str]) -> Vector:
        """One unit row for each text; a text without a single content word falls back on all of its tokens."""
        rows = np.stack([self._project(text) for text in texts])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))

    def _project(self, text: str) -> Vector:
        bag = Counter(terms(text)) or Counter(f"token:{token}" for token in tokens(text.lower()))
        known = self._weights(bag)
        length = np.linalg.norm(known)
        vector = (known / length if length else known) @ self._basis
        strangers = [term for term in sorted(bag) if term not in self._column]
        share = self._unknown_weight / (self._unknown_weight * np.sqrt(len(strangers)) + length) if strangers else 0.0
        for term in strangers:
            vector = vector + share * _direction(term)
        return np.asarray(vector)

    def _weights(self, bag: Counter[str]) -> Vector:
        row = np.zeros(len(self._column))
        for term, count in bag.items():
            column = self._column.get(term)
            if column is not None:
                row[column] = (1 + np.log(count)) * self._idf[column]
        return row


def _direction(term: str) -> Vector:
    """A unit vector that depends on the term alone (crc32 is the same on every machine and in every process)."""
    vector = np.random.default_rng(zlib.crc32(term.encode("utf-8", "surrogatepass"))).standard_normal(DIMENSION)
    return np.asarray(vector / np.linalg.norm(vector))
