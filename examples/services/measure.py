"""Measure every example service's model on this machine, in this process, and print a table.

    python examples/services/measure.py [--rounds 5]

Accuracy: text.answer on the ``test`` questions (an answer is right if it contains one of the accepted
strings, letter case aside), text.sentiment on the ``test`` reviews, embeddings on similarity triplets
(right if the anchor is closer to the similar sentence). Latency is the model's own, without HTTP,
for the same inputs, after one unmeasured call.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from answering import CarefulAnswers, SwiftAnswers
from language import EXAMPLES
from local_openai import LocalOpenAI
from sentiment import LexiconSentiment, TrainedSentiment, labelled_reviews
from summarizing import LeadAndFrequency, PagedSummaries, TextRank

Case = tuple[Any, Callable[[Any], bool]]  # an input, and whether an output for it is right


def labelled(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (EXAMPLES / "labelled" / name).read_text(encoding="utf-8").splitlines()]


def question_cases(read: Callable[[Any], str]) -> list[Case]:
    def right(accepted: Sequence[str]) -> Callable[[Any], bool]:
        return lambda output: any(text.casefold() in read(output).casefold() for text in accepted)

    return [(row["question"], right(row["accepted"])) for row in labelled("questions.jsonl") if row["split"] == "test"]


def review_cases() -> list[Case]:
    def right(label: str) -> Callable[[Any], bool]:
        return lambda output: bool(output["label"] == label)

    return [(row["text"], right(row["label"])) for row in labelled_reviews("test")]


def triplet_cases() -> list[Case]:
    rows = labelled("similarity.jsonl")
    return [([row["anchor"], row["similar"], row["dissimilar"]], closer_to_the_second) for row in rows]


def closer_to_the_second(vectors: Sequence[Sequence[float]]) -> bool:
    anchor, similar, dissimilar = (np.asarray(vector) for vector in vectors)
    return bool(anchor @ similar > anchor @ dissimilar)


def document_cases() -> list[Case]:
    """Whole documents to summarise. There is no reference summary, so no accuracy either."""
    files = sorted(path for path in (EXAMPLES / "texts").glob("*.md") if path.name != "SOURCES.md")
    return [(path.read_text(encoding="utf-8"), lambda _: True) for path in files]


def measure(call: Callable[[Any], Any], cases: Sequence[Case], rounds: int) -> tuple[float, list[float]]:
    """The share of right outputs, and milliseconds of each call."""
    call(cases[0][0])
    right, times = 0, []
    for turn in range(rounds):
        for value, is_right in cases:
            start = time.perf_counter()
            output = call(value)
            times.append((time.perf_counter() - start) * 1000)
            right += turn == 0 and is_right(output)
    return right / len(cases), times


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy and latency of the example services.")
    parser.add_argument("--rounds", type=int, default=5, help="times each input is measured (default: %(default)s)")
    rounds = parser.parse_args().rounds
    chat = LocalOpenAI()
    plans: list[tuple[str, Callable[[Any], Any], list[Case], bool]] = [
        ("answer-swift", SwiftAnswers().answer, question_cases(lambda output: output["answer"]), True),
        ("answer-careful", CarefulAnswers().answer, question_cases(lambda output: output["answer"]), True),
        ("sentiment-lexicon", LexiconSentiment().classify, review_cases(), True),
        ("sentiment-trained", TrainedSentiment().classify, review_cases(), True),
        ("local-openai chat", chat.reply, question_cases(str), True),
        ("local-openai embeddings", chat.embed, triplet_cases(), True),
        ("summarize-textrank", TextRank().summarize, document_cases(), False),
        ("summarize-cloud", LeadAndFrequency().summarize, document_cases(), False),
        ("summarize-erratic", PagedSummaries().summarize, document_cases(), False),
    ]
    lines = []
    for number, (name, call, cases, labelled_set) in enumerate(plans, start=1):
        sys.stderr.write(f"[{number}/{len(plans)}] {name}\n")
        accuracy, times = measure(call, cases, rounds)
        shown = f"{accuracy:.3f}" if labelled_set else "-"
        p50, p95, worst = np.percentile(times, [50, 95, 100])
        lines.append(f"{name:<24} {len(cases):>6} {shown:>9} {p50:>8.2f} {p95:>8.2f} {worst:>8.2f}")
    header = f"{'service':<24} {'inputs':>6} {'accuracy':>9} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8}"
    sys.stdout.write("\n".join([header, *lines]) + "\n")


if __name__ == "__main__":
    main()
