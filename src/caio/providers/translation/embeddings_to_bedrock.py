"""OpenAI's embeddings ⇄ the embedding models behind Amazon Bedrock's InvokeModel.

Theory of operation
-------------------
InvokeModel hands a model's own document through, so the model's name says how it is spoken to: Amazon's Titan text
embeddings (one text a request) or Cohere's Embed (96). ``embedding_requests`` makes as many requests as a body's texts
need, to be sent one after another; ``vectors`` reads the answer to one, and ``embeddings`` makes one answer of them
all, in the order of the texts. An answer is read when it comes, since it alone is bounded in bytes: what is kept of
two thousand is numbers, so many for each text.

OpenAI's clients ask for ``base64`` and decode it themselves; these models answer numbers, which are written so here.
Fields of the models' own are passed on: ``normalize`` of Titan, ``input_type`` and ``truncate`` of Cohere, which
demands the first: ``search_document`` unless the body says otherwise. Left out: ``user``, and fields nobody knows.

Laws (each has a test of the same name)
---------------------------------------
- each_text_has_its_vector, in its order, or the answer is Unreadable.
- base64_is_what_the_numbers_are, as OpenAI writes it: 32-bit floats, the lowest byte first.
- tokens_are_those_counted: of all requests, or nobody's.
- a_vector_is_bounded: one of more than LONGEST numbers, or of one of any length, is Unreadable.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html and …-embed.html.
Pure.
Not known: Titan's multimodal embeddings, and models by the id of a profile or throughput that does not name them.
"""

from __future__ import annotations

import re
import struct
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caio.foundation.money import Usage
from caio.gateway.ports import ProviderAnswer
from caio.providers.translation.chat_answer import Unreadable
from caio.providers.translation.conversation import Untranslatable

#: Texts that one call may have embedded, as OpenAI has it.
MOST_TEXTS = 2_048

#: Numbers in one vector; no model of these answers more than 1,536.
LONGEST = 2_048


@dataclass(frozen=True, slots=True)
class Embedder:
    """A family of models: how many texts it takes at once, the lengths of vectors it may be asked for, and the fields
    of its own. ``lengths_as`` is what it calls the length; None where it has one length only."""

    texts: int
    lengths_as: str | None
    lengths: tuple[int, ...]
    own: tuple[str, ...]
    is_titan: bool


_COHERES = ("input_type", "truncate")
_FAMILIES = (
    (re.compile(r"titan-embed-text-v2\b"), Embedder(1, "dimensions", (256, 512, 1024), ("normalize",), True)),
    (re.compile(r"titan-embed-(?:text-v1|g1-text-02)\b"), Embedder(1, None, (), (), True)),
    (re.compile(r"cohere\.embed-v4\b"), Embedder(96, "output_dimension", (256, 512, 1024, 1536), _COHERES, False)),
    (re.compile(r"cohere\.embed-(?:english|multilingual)-v3\b"), Embedder(96, None, (), _COHERES, False)),
)


def embedder_of(model: str | None) -> Embedder | None:
    """The family of a model, by its id or address; None for one that is not known to embed texts."""
    return next((family for name, family in _FAMILIES if name.search(model or "")), None)


def embedding_requests(body: Any, model: str | None) -> list[dict[str, Any]]:
    """The requests to send, one after another; raises Untranslatable."""
    if (family := embedder_of(model)) is None:
        raise Untranslatable(
            "/model", "is not one that is known to embed: Titan's text embeddings and Cohere's Embed are"
        )
    if not isinstance(body, Mapping):
        raise Untranslatable("", "must be an object")
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise Untranslatable("/encoding_format", "must be float or base64")
    texts = _texts(body.get("input"))
    more = {name: body[name] for name in family.own if body.get(name) is not None} | _length(family, body)
    if family.is_titan:
        return [{"inputText": text, **more} for text in texts]
    more = {"input_type": "search_document", **more, "embedding_types": ["float"]}
    return [{"texts": texts[at : at + family.texts], **more} for at in range(0, len(texts), family.texts)]


def _texts(stated: Any) -> list[str]:
    texts = [stated] if isinstance(stated, str) else stated
    if not isinstance(texts, list) or not 1 <= len(texts) <= MOST_TEXTS:
        raise Untranslatable("/input", f"must be a text, or a list of 1 to {MOST_TEXTS} texts")
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            where = "/input" if texts is not stated else f"/input/{index}"
            raise Untranslatable(where, "must be a text with something in it: this service takes no tokens")
    return texts


def _length(family: Embedder, body: Mapping[str, Any]) -> dict[str, int]:
    wanted = body.get("dimensions")
    if wanted is None:
        return {}
    if family.lengths_as is None or wanted not in family.lengths:
        possible = f"must be one of {', '.join(map(str, family.lengths))}" if family.lengths else "must be left out"
        raise Untranslatable("/dimensions", f"{possible} for this model")
    return {family.lengths_as: wanted}


@dataclass(frozen=True, slots=True)
class Vectors:
    """What one answer says: a vector for each text of its request, and the tokens these were, if they were counted."""

    numbers: Sequence[Sequence[float]]
    tokens: int | None


def vectors(request: Mapping[str, Any], document: Any, counted: str | None) -> Vectors:
    """Read the answer to one request; ``counted`` is the count of tokens that its head stated. Raises Unreadable."""
    found, stated = _read(document)
    if len(found) != len(request.get("texts", (None,))):
        raise Unreadable("answered another number of embeddings than it was asked for")
    return Vectors(found, _count(stated if stated is not None else counted))


def embeddings(body: Mapping[str, Any], answers: Sequence[Vectors], model: str) -> ProviderAnswer:
    """The answer to ``body`` that the ``answers`` to its requests make up. Raises Unreadable."""
    known = [answer.tokens for answer in answers if answer.tokens is not None]
    tokens = sum(known) if len(known) == len(answers) else None
    written = _as_base64 if body.get("encoding_format") == "base64" else list
    listed = [
        {"object": "embedding", "index": index, "embedding": written(vector)}
        for index, vector in enumerate(vector for answer in answers for vector in answer.numbers)
    ]
    document = {"object": "list", "data": listed, "model": model}
    if tokens is None:
        return ProviderAnswer(document, None)
    return ProviderAnswer(document | {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}, Usage(tokens, 0))


def _read(document: Any) -> tuple[list[Sequence[float]], Any]:
    """The vectors of one answer, and the count of tokens that it states itself."""
    match document:
        case {"embedding": list(vector), **rest}:
            found: list[Any] = [vector]
            stated = rest.get("inputTextTokenCount")
        case {"embeddings": {"float": list(found)}} | {"embeddings": list(found)}:
            stated = None
        case _:
            raise Unreadable("answered something that holds no embeddings")
    for vector in found:
        if not isinstance(vector, list) or not vector:
            raise Unreadable("answered an embedding that is no list of numbers")
        if len(vector) > LONGEST:
            raise Unreadable("answered an embedding of more numbers than is accepted")
        if not all(type(each) is float or (type(each) is int and each.bit_length() < 64) for each in vector):
            raise Unreadable("answered an embedding that is no list of numbers")
    return found, stated


def _count(stated: Any) -> int | None:
    if isinstance(stated, str):
        stated = int(stated) if stated.isascii() and stated.isdecimal() and len(stated) < 10 else None
    return stated if type(stated) is int and 0 <= stated < 10**9 else None


def _as_base64(vector: Sequence[float]) -> str:
    try:
        return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (OverflowError, struct.error):
        failure = Unreadable("answered an embedding with a number that is too large")
    raise failure
