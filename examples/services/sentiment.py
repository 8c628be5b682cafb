"""Two sentiment classifiers for short English reviews: ``positive`` or ``negative``.

- ``LexiconSentiment`` adds the polarity of known words; a negation flips the next few words, an
  intensifier strengthens them, and what follows "but" counts double. It learns nothing.
- ``TrainedSentiment`` is a logistic regression (L2, full-batch Newton steps in the dual) on
  unigrams, bigrams and the lexicon's verdict, trained when it is built on the ``train`` split of
  ``examples/labelled/reviews.jsonl``. The ``test`` split is read by measure.py and the tests only.

``confidence`` is in [0.5, 1]: calibrated by nothing but the model's own logistic function.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from language import EXAMPLES, Vector, word_set, words

_POSITIVE = word_set(
    """admire affordable amazing amused appreciate attractive awesome bargain beautiful beautifully best better
    brilliant calm careful charming cheerful clean clear clever comfortable convenient courteous delicious
    delight delighted dream durable easy efficient elegant enjoy enjoyable excellent exceptional fair fairly
    fantastic fast favourite favorite fine flawless free fresh friendly friendliest fun generous gentle glad
    good gorgeous grateful great happier happily happy helpful ideal impressed impressive intuitive joy kind
    laughed like liked lovely love loved loves miracle nice outstanding patient patiently perfect perfectly
    pleasant pleased pleasure polite punctual quality quick quickly quicker recommend relief reliable rich safe
    safely satisfied sharp sleek smile smooth smoothly soft solid solved splendid spotless sturdy superb
    superior tasty tender terrific thank thanks tough useful value warm well wonderful worth wow yummy"""
)
_NEGATIVE = word_set(
    """abysmal afraid angry annoying apology appalling awful bad blame bland blunt blurry bored boring broke broken
    burnt cancelled cheap complaint complaints confusing cracked crash crashed crashes cried damaged dangerous
    dead defective deletes dirty disappointed disappointing disappointment disaster drains dreadful drop error
    errors expensive fail failed failures fails failing faded faulty flimsy fraud hard hate headache horrible
    hurt hurts ignored impossible inferior insult itched jammed joke lacking late leak leaks lie lost lousy
    lumpy mess miserable missing mistake mouldy nasty nightmare noise noisy nonsense outdated overpriced pain
    painful pity poor poorly problem problems refund refuse refused regret returned rude ruined rust salty scam
    scratched sick slow slower smelled smell snapped sorry squeaks stale sticks stopped stuck terrible thin
    tired tore torn ugly undercooked unhappy unreliable unusable useless warped waste weak wobbles worse worst
    worthless wrong zero"""
)
_NEGATIONS = word_set(
    """no not never nothing nobody none neither nor without hardly barely cannot can't don't doesn't didn't isn't
    wasn't won't wouldn't couldn't shouldn't haven't hasn't aren't"""
)
_INTENSIFIERS = frozenset(
    ["absolutely", "completely", "extremely", "far", "incredibly", "really", "so", "too", "truly", "very"]
)
_REACH = 3  # how many words a negation or an intensifier governs


class LexiconSentiment:
    """Polarity of known words under negation, intensification and contrast."""

    def classify(self, text: str) -> dict[str, Any]:
        return _verdict(2 * self.polarity(text))

    def polarity(self, text: str) -> float:
        """Above zero for praise; divided by the square root of the number of words that spoke."""
        total, spoke, weight = 0.0, 0, 1.0
        negated = strengthened = -_REACH - 1
        for position, word in enumerate(words(text)):
            if word == "but":
                total, weight = total / 2, 1.5
            sign = float(word in _POSITIVE) - float(word in _NEGATIVE)
            if sign:
                sign *= -0.8 if position - negated <= _REACH else 1.0
                sign *= 1.5 if position - strengthened <= 1 else 1.0
                total, spoke = total + weight * sign, spoke + 1
            if word in _NEGATIONS:
                negated = position
            elif word in _INTENSIFIERS:
                strengthened = position
        return total / math.sqrt(spoke) if spoke else -0.05  # reviews without an opinion word tend to complain


class TrainedSentiment:
    """Logistic regression on unigrams, bigrams and the lexicon's polarity."""

    def __init__(self, examples: Iterable[dict[str, str]] | None = None, penalty: float = 1.0) -> None:
        rows = list(labelled_reviews("train") if examples is None else examples)
        counts = Counter(feature for row in rows for feature in _features(row["text"]))
        self._lexicon = LexiconSentiment()
        self._column = {feature: column for column, feature in enumerate(sorted(counts))}
        matrix = np.stack([self._row(row["text"]) for row in rows])
        target = np.array([1.0 if row["label"] == "positive" else 0.0 for row in rows])
        self._weights = _fit(matrix, target, penalty)

    def classify(self, text: str) -> dict[str, Any]:
        return _verdict(float(self._row(text) @ self._weights))

    def _row(self, text: str) -> Vector:
        row = np.zeros(len(self._column) + 2)
        for feature in _features(text):
            column = self._column.get(feature)
            if column is not None:
                row[column] = 1.0
        row[:-2] /= max(1.0, float(np.linalg.norm(row[:-2])))
        row[-2:] = (self._lexicon.polarity(text), 0.3)  # the last is the intercept, lightly penalised
        return row


def labelled_reviews(split: str) -> list[dict[str, str]]:
    """The rows of ``examples/labelled/reviews.jsonl`` in one split."""
    lines = (EXAMPLES / "labelled" / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["split"] == split]


def _features(text: str) -> set[str]:
    plain = words(text)
    marked = ["not" if word in _NEGATIONS else word for word in plain]
    return set(plain) | {f"{one} {two}" for one, two in pairwise(marked)}


def _fit(matrix: Vector, target: Vector, penalty: float, steps: int = 12) -> Vector:
    """The weights that minimise log loss + penalty/2 |w|², by Newton's method on w = matrix.T @ a."""
    gram = matrix @ matrix.T
    dual = np.zeros(len(target))
    for _ in range(steps):
        chance = _logistic(gram @ dual)
        curvature = np.maximum(chance * (1 - chance), 1e-6)
        gradient = chance - target + penalty * dual
        dual -= np.linalg.solve(curvature[:, None] * gram + penalty * np.eye(len(target)), gradient)
    return np.asarray(matrix.T @ dual)


def _logistic(value: Vector) -> Vector:
    return np.asarray(1 / (1 + np.exp(-np.clip(value, -30, 30))))


def _verdict(log_odds: float) -> dict[str, Any]:
    chance = 1 / (1 + math.exp(-max(-30.0, min(30.0, log_odds))))
    label = "positive" if chance >= 0.5 else "negative"
    return {"label": label, "confidence": round(max(chance, 1 - chance), 6)}
