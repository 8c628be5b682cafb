"""The example services as the demo meets them: processes with HTTP APIs, held to their contracts."""

import base64
import http.client
import json
import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema_rs
import pytest
import yaml

from caio.contracts import parse_contract, parse_policy

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CONTRACTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((EXAMPLES / "contracts").glob("*.yaml"))}
HTTP_JSON = sorted(name for name, contract in CONTRACTS.items() if contract["api"]["protocol"] == "http-json")
VALID = {
    "/answer": {"question": "Who can declare war?"},
    "/classify": {"text": "I love it."},
    "/summarize": {"text": "One. Two."},
}


def script(service):
    return EXAMPLES / "services" / f"{service.replace('-', '_')}.py"


def endpoint(service):
    return CONTRACTS[service]["api"]["endpoints"][0]


class Running:
    """One service process and one kept-alive connection to it."""

    def __init__(self, service, **environment):
        command = [sys.executable, str(script(service)), "--port", "0"]
        # One thread for the small matrices of each: several services share few cores here.
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"} | environment
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.service, self.connection = service, None

    def raw(self, path, body, method="POST"):
        if self.connection is None:
            assert self.process.stdout is not None
            ready = json.loads(self.process.stdout.readline())
            assert ready["service"] == self.service
            self.connection = http.client.HTTPConnection(urlsplit(ready["url"]).netloc, timeout=10)
        self.connection.request(method, path, body, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        return response.status, response.read(), response.headers

    def call(self, path, body=None, method="POST"):
        status, answer, _ = self.raw(path, None if body is None else json.dumps(body), method)
        return status, json.loads(answer)

    def stop(self):
        if self.connection is not None:
            self.connection.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.communicate()


@pytest.fixture(scope="module")
def start():
    """Start services in parallel, each once for this module."""
    running = {}

    def start(*services):
        for service in services:
            if service not in running:
                running[service] = Running(service)
        found = [running[service] for service in services]
        return found[0] if len(found) == 1 else found

    yield start
    for each in running.values():
        each.process.send_signal(signal.SIGTERM)
    for each in running.values():
        each.stop()


def labelled(name):
    return [json.loads(line) for line in (EXAMPLES / "labelled" / name).read_text().splitlines()]


def conforms(service, answer):
    return jsonschema_rs.is_valid(endpoint(service)["output_schema"], answer)


def accuracy(running):
    """The share of right answers over HTTP; every answer must conform to the contract's output schema."""
    service, path = running.service, endpoint(running.service)["path"]
    field, rows = (
        ("question", labelled("questions.jsonl")) if path == "/answer" else ("text", labelled("reviews.jsonl"))
    )
    right = []
    for row in (row for row in rows if row["split"] == "test"):
        status, answer = running.call(path, {field: row[field]})
        assert (status, conforms(service, answer)) == (200, True)
        if path == "/answer":
            right.append(any(text.casefold() in answer["answer"].casefold() for text in row["accepted"]))
        else:
            right.append(answer["label"] == row["label"])
    return sum(right) / len(right)


@pytest.mark.parametrize(
    ("cheap", "accurate"), [("answer-swift", "answer-careful"), ("sentiment-lexicon", "sentiment-trained")]
)
def test_accuracy_is_at_least_what_the_contract_promises_and_rivals_differ(start, cheap, accurate):
    measured = dict(zip((cheap, accurate), map(accuracy, start(cheap, accurate)), strict=True))
    for service, value in measured.items():
        assert value >= CONTRACTS[service]["guarantees"]["accuracy"]["min"]
    assert measured[cheap] + 0.05 < measured[accurate]
    assert float(CONTRACTS[cheap]["cost"]["per_request"]) < float(CONTRACTS[accurate]["cost"]["per_request"])


@pytest.mark.parametrize("service", ["answer-swift", "answer-careful"])
def test_answers_are_words_of_the_documents_or_of_the_given_context(start, service):
    running = start(service)
    corpus = " ".join(" ".join(path.read_text().split()) for path in (EXAMPLES / "texts").glob("*.md"))
    for row in labelled("questions.jsonl")[:8]:
        assert running.call("/answer", {"question": row["question"]})[1]["answer"] in corpus
    context = "The shop opens at nine. Parking is free on Sundays. Dogs must be kept on a lead."
    _, answer = running.call("/answer", {"question": "When is parking free?", "context": context})
    assert (answer["answer"], answer["source"]) == ("Parking is free on Sundays.", "context")
    _, answer = running.call("/answer", {"question": "Wozu?", "context": context})
    assert (answer["found"], answer["answer"]) == (False, "")


@pytest.mark.parametrize("service", [name for name in HTTP_JSON if name.startswith("summarize")])
def test_summaries_are_sentences_of_the_text_in_order(start, service):
    text = "Cats sleep a lot. Cats hunt at night. The sea is blue. Cats sleep by day and hunt mice at night."
    status, answer = start(service).call("/summarize", {"text": text, "max_sentences": 2})
    assert (status, answer["sentences"], conforms(service, answer)) == (200, 4, True)
    assert answer["summary"] != text
    places = [text.index(part) for part in re.findall(r"[^.]+\.", answer["summary"].replace(". ", ".")) if part]
    assert (len(places), places) == (2, sorted(places))


def test_the_erratic_service_breaks_its_schema_for_more_than_24_sentences_and_only_then(start):
    rivals = start("summarize-erratic", "summarize-cloud", "summarize-textrank")
    for count in (1, 23, 24, 25, 60):
        text = " ".join(f"Sentence number {number} speaks of cats." for number in range(count))
        for running in rivals:
            status, answer = running.call("/summarize", {"text": text})
            broken = running.service == "summarize-erratic" and count > 24
            assert (status, conforms(running.service, answer)) == (200, not broken)
            assert ("summary" in answer) is not broken
    unended = {"text": "no sentence ends here " * 50}
    assert all(conforms(each.service, each.call("/summarize", unended)[1]) for each in rivals)


@pytest.mark.parametrize("service", HTTP_JSON)
def test_bad_input_is_refused_with_a_reason(start, service):
    running, path = start(service), endpoint(service)["path"]
    field = endpoint(service)["input_schema"]["required"][0]
    cases = [(b"{", 400), (b"\xff\xfe", 400), (b"[]", 400), (b"", 400), (b"[" * 100_000, 400)]
    cases += [(json.dumps({field: value}).encode(), 422) for value in (None, 7, "", "  ", ["a"], "a" * 70_000)]
    cases += [(b"{}", 422)]
    for body, expected in cases:
        status, answer, _ = running.raw(path, body)
        assert (status, bool(json.loads(answer)["error"]["message"])) == (expected, True), body[:40]
    assert running.raw(path, b" " * 300_000)[0] == 413
    if path != "/classify":
        long_text = {**VALID[path], "context" if path == "/answer" else "text": "A. " * 1001}
        assert (
            running.call(path, long_text)[0],
            "1001 sentences" in running.call(path, long_text)[1]["error"]["message"],
        ) == (422, True)
    assert running.raw("/elsewhere", b"{}")[0] == 404
    status, answer = running.call(path, VALID[path])
    assert (status, conforms(service, answer)) == (200, True)


def chat(running, content, **fields):
    return running.call(
        "/v1/chat/completions", {"model": "extractive-1", "messages": [{"role": "user", "content": content}], **fields}
    )


def test_chat_answers_and_summarises_and_counts_tokens(start):
    running, contract = start("local-openai"), CONTRACTS["local-openai"]
    rows = [row for row in labelled("questions.jsonl") if row["split"] == "test"]
    right = 0
    for row in rows:
        status, answer = chat(running, row["question"])
        assert status == 200
        assert jsonschema_rs.is_valid(endpoint("local-openai")["output_schema"], answer)
        content, usage = answer["choices"][0]["message"]["content"], answer["usage"]
        assert usage["completion_tokens"] == len(re.findall(r"\w+|[^\w\s]", content))
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        right += any(text.casefold() in content.casefold() for text in row["accepted"])
    assert right / len(rows) >= contract["guarantees"]["accuracy"]["min"]
    text = "Cats sleep. Cats hunt mice. The sea is blue. Cats hunt at night. Boats float. Birds sing."
    summary = chat(running, f"Please summarise this text: {text}")[1]["choices"][0]["message"]["content"]
    assert 0 < len(summary) < len(text)
    assert summary.split(". ")[0] in text
    status, cut = chat(running, "What oath does the President take?", max_tokens=5)
    assert (cut["choices"][0]["finish_reason"], cut["usage"]["completion_tokens"]) == ("length", 5)
    parts = [{"type": "text", "text": "What oath does the President take?"}]
    assert "solemnly swear" in chat(running, parts)[1]["choices"][0]["message"]["content"]


def test_a_stream_is_framed_as_server_sent_events_and_ends_with_done(start):
    running, question = start("local-openai"), "Who chooses the Speaker?"
    whole = chat(running, question)[1]
    request = {"model": "extractive-1", "messages": [{"role": "user", "content": question}], "stream": True}
    for options in ({}, {"stream_options": {"include_usage": True}}):
        status, body, headers = running.raw("/v1/chat/completions", json.dumps(request | options))
        assert (status, headers.get_content_type()) == (200, "text/event-stream")
        frames = body.decode().split("\n\n")
        assert frames[-2:] == ["data: [DONE]", ""]
        chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert len({chunk["id"] for chunk in chunks}) == 1
        if options:
            last = chunks.pop()
            assert (last["choices"], last["usage"]) == ([], whole["usage"])
        choices = [chunk["choices"][0] for chunk in chunks]
        assert choices[0]["delta"]["role"] == "assistant"
        assert (
            "".join(choice["delta"].get("content", "") for choice in choices)
            == whole["choices"][0]["message"]["content"]
        )
        assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]


def test_embeddings_are_unit_vectors_and_rank_similar_above_dissimilar(start):
    running, rows, ranked = start("local-openai"), labelled("similarity.jsonl"), 0
    for row in rows:
        texts = [row["anchor"], row["similar"], row["dissimilar"]]
        status, answer = running.call("/v1/embeddings", {"model": "extractive-1", "input": texts})
        assert (status, [item["index"] for item in answer["data"]]) == (200, [0, 1, 2])
        vectors = [item["embedding"] for item in answer["data"]]
        assert all(len(vector) == 64 and abs(dot(vector, vector) - 1) < 1e-6 for vector in vectors)
        ranked += dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2]) + 0.05
    assert ranked / len(rows) >= CONTRACTS["local-openai"]["guarantees"]["accuracy"]["min"]
    packed = running.call("/v1/embeddings", {"model": "extractive-1", "input": texts, "encoding_format": "base64"})[1]
    unpacked = struct.unpack("<64f", base64.b64decode(packed["data"][0]["embedding"]))
    assert unpacked == pytest.approx(vectors[0], abs=1e-6)
    unusual = ["qwrtz", "...", "the", "日本語", "\ud800"]
    for item in running.call("/v1/embeddings", {"model": "extractive-1", "input": unusual})[1]["data"]:
        assert dot(item["embedding"], item["embedding"]) == pytest.approx(1)


def dot(one, two):
    return sum(a * b for a, b in zip(one, two, strict=True))


def test_openai_errors_have_openai_shape(start):
    running, model = start("local-openai"), {"model": "extractive-1"}
    user = {"messages": [{"role": "user", "content": "Hi"}]}
    cases = [
        ("/v1/chat/completions", {**user, "model": "gpt-x"}, 404, "model"),
        ("/v1/chat/completions", {**model, "messages": []}, 400, "messages"),
        ("/v1/chat/completions", {**model, "messages": [{"role": "system", "content": "Hi"}]}, 400, "messages"),
        ("/v1/chat/completions", {**model, "messages": [{"role": "user", "content": 7}]}, 400, "messages[0].content"),
        ("/v1/chat/completions", {**model, **user, "max_tokens": 0}, 400, "max_tokens"),
        ("/v1/chat/completions", {**model, **user, "max_tokens": "9"}, 400, "max_tokens"),
        ("/v1/chat/completions", {**model, **user, "stream_options": 7}, 400, "stream_options"),
        ("/v1/chat/completions", {**model, **user, "n": 2}, 400, "n"),
        ("/v1/chat/completions", {**model, **user, "tools": [{}]}, 400, "tools"),
        ("/v1/embeddings", {**model, "input": []}, 400, "input"),
        ("/v1/embeddings", {**model, "input": [1, 2]}, 400, "input"),
        ("/v1/embeddings", {**model, "input": "Hi", "dimensions": 8}, 400, "dimensions"),
        ("/v1/embeddings", {**model, "input": "Hi", "encoding_format": "x"}, 400, "encoding_format"),
    ]
    for path, body, expected, param in cases:
        status, answer = running.call(path, body)
        assert (status, answer["error"]["param"], answer["error"]["type"]) == (expected, param, "invalid_request_error")
    status, answer = chat(running, "Summarise: " + "A. " * 1001)
    assert (status, "1001 sentences" in answer["error"]["message"]) == (400, True)
    status, body, _ = running.raw("/v1/chat/completions", b"{")
    assert (status, set(json.loads(body)["error"])) == (400, {"message", "type", "param", "code"})
    assert running.call("/v1/elsewhere", {})[0] == 404
    assert [each["id"] for each in running.call("/v1/models", method="GET")[1]["data"]] == ["extractive-1"]


def test_answers_do_not_depend_on_the_process(start):
    texts = {"model": "extractive-1", "input": ["We hold these truths.", "The zipper broke."]}
    other = Running("local-openai", PYTHONHASHSEED="7")
    try:
        answers = [each.call("/v1/embeddings", texts)[1] for each in (other, start("local-openai"))]
    finally:
        status = other.stop()
    assert answers[0] == answers[1]
    assert status == 0  # SIGTERM is an orderly exit


@pytest.mark.parametrize("service", sorted(CONTRACTS))
def test_contracts_name_their_service_and_its_default_port(service):
    contract, source = CONTRACTS[service], script(service).read_text()
    assert contract["service_id"] == service
    port = urlsplit(contract["api"]["base_url"]).port
    assert f'run("{service}", {port}, build)' in source
    assert [urlsplit(each["api"]["base_url"]).port for each in CONTRACTS.values()].count(port) == 1
    for each in contract["api"]["endpoints"]:
        jsonschema_rs.validator_for(each["input_schema"])
        jsonschema_rs.validator_for(each["output_schema"])


@pytest.mark.parametrize(
    "path",
    sorted(EXAMPLES.glob("contracts/*.yaml")) + sorted(EXAMPLES.glob("policies/*.yaml")),
    ids=lambda path: path.stem,
)
def test_contracts_and_policies_are_valid_without_a_warning(path):
    parse = parse_contract if path.parent.name == "contracts" else parse_policy
    assert parse(path.read_bytes()).warnings == ()


@pytest.mark.parametrize("path", sorted((EXAMPLES / "requests").glob("*.json")), ids=lambda path: path.stem)
def test_requests_carry_payloads_that_every_rival_accepts_and_policies_that_ship(path):
    body = json.loads(path.read_text())
    rivals = [
        each
        for contract in CONTRACTS.values()
        for each in contract["api"]["endpoints"]
        if body["request"]["capability"] == each.get("capability", contract["capabilities"][0]["type"])
    ]
    assert rivals
    for each in rivals:
        assert jsonschema_rs.is_valid(each["input_schema"], body["request"]["payload"])
    for policy in body["policies"]:
        assert yaml.safe_load((EXAMPLES / "policies" / f"{policy}.yaml").read_text())["id"] == policy
