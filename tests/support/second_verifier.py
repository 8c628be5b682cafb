"""A second verifier of receipts, written from docs/reference/receipt-format.md, with Python's standard library alone.

It shares no line with the product: its own canonical JSON, its own Ed25519, its own reading of
notes and its own walk up the Merkle tree. What it does not do is to recompute the decision from
evidence, for which the routing rules have verifiers of their own. Names are the page's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

Claims = dict[str, bool | None]


def read(raw: bytes) -> dict[str, Any]:
    """The receipt's document; ValueError or RecursionError for what is not one JSON object with one reading."""

    def once(members: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(members)) < len(members):
            raise ValueError("a member is named twice")
        return dict(members)

    document = json.loads(raw.decode(), object_pairs_hook=once, parse_constant=int)  # NaN is no integer: ValueError
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return document


def canonical(value: Any) -> bytes:
    """RFC 8785; ValueError for what has no canonical form."""
    return written(value, 100).encode()


def written(value: Any, depth: int) -> str:
    if isinstance(value, dict | list) and depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{written(name, 0)}:{written(value[name], depth - 1)}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(item, depth - 1) for item in value) + "]"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return json.dumps(value, ensure_ascii=False)
    text = ecmascript(value) if isinstance(value, float) else str(value)
    if re.fullmatch(r"-?\d+", text) and abs(int(text)) > 2**53 - 1:
        raise ValueError("too large an integer")
    return text


def ecmascript(value: float) -> str:
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + int(exponent)  # of what is not finite, int("F"): ValueError
    if 0 < point <= 21:
        body = text.ljust(point, "0") if len(text) <= point else f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        body = "0." + "0" * -point + text
    else:
        body = text[0] + ("." + text[1:] if text[1:] else "") + f"e{point - 1:+d}"
    return "-" * sign + body


def from_base64(text: str) -> bytes | None:
    """The bytes that ``text`` is the one base64 text of, or None."""
    if not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text) or len(text) % 4:
        return None
    raw = base64.b64decode(text)
    return raw if base64.b64encode(raw).decode() == text else None


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


# --- The form: a shape says whether a value has it ----------------------------------------------

Shape = Callable[[Any], bool]


def kind(of: type, holds: Shape = lambda value: True) -> Shape:
    return lambda value: type(value) is of and holds(value)


def one_of(*values: Any) -> Shape:
    return lambda value: any(type(value) is type(each) and value == each for each in values)


def like(pattern: str) -> Shape:
    return kind(str, lambda value: re.fullmatch(pattern, value) is not None)


def list_of(shape: Shape) -> Shape:
    return kind(list, lambda value: all(map(shape, value)))


def or_null(shape: Shape) -> Shape:
    return lambda value: value is None or shape(value)


def each(names: str, shape: Shape) -> dict[str, Shape]:
    return dict.fromkeys(names.split(), shape)


def members(required: Mapping[str, Shape], **optional: Shape) -> Shape:
    shapes = {**required, **optional}
    return kind(dict, lambda value: all(has(value[m]) if m in value else m in optional for m, has in shapes.items()))


string, text, count = kind(str), kind(str, bool), kind(int, lambda value: value >= 0)
digest, amount = like(r"[0-9a-f]{64}"), like(r"(0|[1-9][0-9]{0,9})(\.[0-9]{0,8}[1-9])?")
fault = like("auth|quota|overloaded|invalid|timeout|upstream|content_filter|unreachable|garbage|blocked|violation")
ranked_row = kind(list, lambda value: len(value) == 4 and string(value[0]) and string(value[1]))
certificate = members(
    {"v": one_of(2), "tenant": text, "request": digest, "principal": digest, "ranked": list_of(ranked_row)}
    | {"feasible": members({"count": count, "hash": digest})}
)
decision_record = members(
    {"v": one_of(1), "kind": one_of("decision"), "mode": one_of("orchestrate", "route"), "admitted": kind(bool)}
    | each("tenant decision_id", text)
    | each("capability principal service version", string)
    | each("decision_hash payload_commitment payload_salt", digest)
    | {"request": members({"tenant_id": text, "capabilities": list_of(string)})}
    | {"principal_document": members({"id": text}), "certificate": certificate}
    | {"decided_at": count, "passed_over": count, "reserved": amount},
    idempotency_key=string,
    at_most=members({"cost": amount} | each("tokens compute_ms", count)),
)
violations = list_of(members(each("clause required observed", string)))
called = {"service": text, "version": text, "latency_ms": count, "violations": violations}
attempt = members(called, fault=fault, http_status=kind(int), streamed=one_of(True))
ended = (
    {"v": one_of(1), "kind": one_of("outcome"), "tenant": text, "decision_id": text, "service": string}
    | {"status": like("ok|failed|violated|cancelled|rejected|interrupted"), "attempts": list_of(attempt)}
    | {"usage": members(each("input_tokens output_tokens milliseconds", count))}
    | {"finished_at": count, "latency_ms": count, "reserved": amount, "charged": amount}
)
outcome_record = members(ended, answer_commitment=digest, answer_salt=digest, answer_from=text)
journal_entry = {"salt": digest, "seq": count, "commitment": digest}
receipt_form = members(
    {"v": one_of(1), "kind": one_of("caio-receipt"), "tenant": text, "decision_id": text, "issued_at": count}
    | {"decision": members(journal_entry | {"payload": decision_record})}
    | {"outcome": or_null(members(journal_entry | {"payload": outcome_record}))}
    | {"key_id": like(r"[0-9a-f]{16}"), "signature": like(r"[A-Za-z0-9+/]{86}==")},
    log=or_null(members({"checkpoint": text, "decision": list_of(digest), "outcome": or_null(list_of(digest))})),
)


# --- Ed25519 (RFC 8032, section 5.1), points as (X, Y, Z, T) --------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int, int, int]


def added(a: Point, b: Point) -> Point:
    left, right = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    product, twice = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = right - left, twice - product, twice + product, right + left
    return e * f % P, g * h % P, f * g % P, e * h % P


def decoded(raw: bytes) -> Point | None:
    sign, y = raw[31] >> 7, int.from_bytes(raw, "little") & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != square or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = decoded((4 * pow(5, -1, P) % P).to_bytes(32, "little")) or (0, 1, 1, 0)


@lru_cache(1024)
def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    point = decoded(key) if len(key) == 32 and len(signature) == 64 else None
    if point is None or (s := int.from_bytes(signature[32:], "little")) >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    minus = (P - point[0], point[1], 1, P - point[3])
    both, total = added(BASE, minus), (0, 1, 1, 0)
    for bit in reversed(range(256)):  # [s]B + [k](-A), both at once
        total = added(total, total)
        if which := (s >> bit & 1) + 2 * (k >> bit & 1):
            total = added(total, (BASE, minus, both)[which - 1])
    x, y, z, _ = total
    return (y * pow(z, -1, P) % P | (x * pow(z, -1, P) % P & 1) << 255).to_bytes(32, "little") == signature[:32]


def trusted_keys(key_set: Any) -> dict[str, bytes]:
    """Raw keys by id; ValueError for a set that is unusable."""
    keys = {}
    for entry in key_set["keys"]:
        if entry["algorithm"] == "Ed25519":
            raw = from_base64(entry["public_key"])
            if raw is None or len(raw) != 32 or entry["key_id"] != sha256(raw).hex()[:16]:
                raise ValueError("an entry whose key_id does not follow from its key")
            keys[entry["key_id"]] = raw
    return keys


SPACE = " \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
BODY = re.compile(r"([!-*,-~]{1,200})\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n((?:[^\n]+\n)*)")
LINE = re.compile(rf"— ([^+{SPACE}]+) ([A-Za-z0-9+/=]+)")


class Checkpoint:
    """A signed note of a log; ValueError for anything else."""

    def __init__(self, note: str) -> None:
        body, gap, below = note.rpartition("\n\n")
        self.body = f"{body}\n"
        stated = BODY.fullmatch(self.body)
        if stated is None or not gap or not below.endswith("\n") or re.search(r"[\x00-\x09\x0b-\x1f]", note):
            raise ValueError("not a note")
        self.origin, self.size, self.root = stated[1], int(stated[2]), from_base64(stated[3])
        self.lines = [self._line(line) for line in below[:-1].split("\n")]
        if self.root is None or self.size > 2**63 - 1 or len(note.encode()) > 1_000_000:
            raise ValueError("not a checkpoint")
        if len(self.lines) > 100 or len(set(self.lines)) < len(self.lines):
            raise ValueError("too many signatures, or one twice")

    @staticmethod
    def _line(line: str) -> tuple[str, bytes, bytes]:
        found = LINE.fullmatch(line)
        if found is None or (raw := from_base64(found[2])) is None or len(raw) < 5:
            raise ValueError("not a signature line")
        return found[1], raw[:4], raw[4:]

    def is_signed_by_one_of(self, keys: Mapping[str, bytes]) -> bool:
        verified = [
            is_signed(key, self.body.encode(), signature)
            for key in keys.values()
            for name, key_hash, signature in self.lines
            if (name, key_hash) == (self.origin, sha256(self.origin.encode(), b"\n\x01", key)[:4])
        ]
        return bool(verified) and all(verified)

    def includes(self, entry: Mapping[str, Any], proof: list[str]) -> bool:
        node, i, last = sha256(b"\x00", bytes.fromhex(entry["commitment"])), entry["seq"], self.size - 1
        if i > last:
            return False
        for p in map(bytes.fromhex, proof):
            if last == 0:
                return False
            if i % 2 or i == last:
                node = sha256(b"\x01", p, node)
                while i % 2 == 0 and i:
                    i, last = i // 2, last // 2
            else:
                node = sha256(b"\x01", node, p)
            i, last = i // 2, last // 2
        return last == 0 and node == self.root


def verify(receipt: Any, trusted: Mapping[str, bytes]) -> Claims:
    """Every claim of the page: True is proved, False refuted, None not checked. Never raises."""
    try:
        unsigned = canonical({name: value for name, value in receipt.items() if name != "signature"})
        if not receipt_form(receipt):
            return {"form": False}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {"form": False}
    key, signature = trusted.get(receipt["key_id"]), from_base64(receipt["signature"])
    outcome, record = receipt["outcome"], receipt["decision"]["payload"]
    claims: Claims = {"form": True, "trusted key": key is not None}
    claims["signature"] = bool(key and signature and is_signed(key, b"caio/receipt/v1\0" + unsigned, signature))
    claims["decision commitment"] = commits(receipt["decision"])
    claims["outcome commitment"] = None if outcome is None else commits(outcome)
    claims["identity"] = identity(receipt)
    claims["certificate"] = hash_of("caio/decision/v2", record["certificate"]) == record["decision_hash"]
    claims["inputs"] = inputs(record)
    claims["choice"] = choice(record)
    claims["calls"] = None if outcome is None else calls(record, outcome["payload"]["attempts"])
    claims["charge"] = None if outcome is None else charge(outcome["payload"])
    return claims | place(receipt, trusted) | {"decision": None}


def commits(entry: Mapping[str, Any]) -> bool:
    made = hmac.digest(bytes.fromhex(entry["salt"]), canonical(entry["payload"]), "sha256").hex()
    return bool(made == entry["commitment"])


def hash_of(word: str, document: Any) -> str:
    return sha256(word.encode(), b"\0", canonical(document)).hex()


def identity(receipt: Mapping[str, Any]) -> bool:
    entries = [entry for entry in (receipt["decision"], receipt["outcome"]) if entry is not None]
    about = [receipt, *(entry["payload"] for entry in entries)]
    decided = entries[0]["payload"]
    tenants = {part["tenant"] for part in [*about, decided["certificate"]]} | {decided["request"]["tenant_id"]}
    in_order = len(entries) == 1 or entries[1]["seq"] > entries[0]["seq"]
    return len(tenants) == 1 and len({part["decision_id"] for part in about}) == 1 and in_order


def inputs(record: Mapping[str, Any]) -> bool:
    request, principal, certificate = record["request"], record["principal_document"], record["certificate"]
    return bool(
        hash_of("caio/request/v1", request) == certificate["request"]
        and hash_of("caio/principal/v1", principal) == certificate["principal"]
        and record["principal"] == principal["id"]
        and record["capability"] in request["capabilities"]
    )


def choice(record: Mapping[str, Any]) -> bool | None:
    certificate, rank = record["certificate"], record["passed_over"]
    if not record["service"] or rank >= certificate["feasible"]["count"]:
        return not record["service"] and record["admitted"] is False
    row = certificate["ranked"][rank][:2] if rank < len(certificate["ranked"]) else None
    return None if row is None else bool(row == [record["service"], record["version"]])


def calls(record: Mapping[str, Any], attempts: list[Any]) -> bool | None:
    certificate = record["certificate"]
    shown = [row[:2] for row in certificate["ranked"]]
    if not record["admitted"]:
        return False
    are_shown = all([one["service"], one["version"]] in shown for one in attempts)
    return are_shown or (None if certificate["feasible"]["count"] > len(shown) else False)


def charge(record: Mapping[str, Any]) -> bool:
    return Decimal(record["charged"]) <= Decimal(record["reserved"]) <= 1_000_000_000


def place(receipt: Mapping[str, Any], trusted: Mapping[str, bytes]) -> Claims:
    log, outcome = receipt.get("log"), receipt["outcome"]
    if log is None:
        return {"checkpoint": None, "decision inclusion": None, "outcome inclusion": None}
    try:
        checkpoint = Checkpoint(log["checkpoint"])
    except ValueError:
        return {"checkpoint": False, "decision inclusion": None, "outcome inclusion": None}
    own, shown = checkpoint.origin.endswith("/" + receipt["tenant"]), log["outcome"] is not None
    return {
        "checkpoint": own and checkpoint.is_signed_by_one_of(trusted),
        "decision inclusion": checkpoint.includes(receipt["decision"], log["decision"]),
        "outcome inclusion": (outcome is not None and checkpoint.includes(outcome, log["outcome"])) if shown else None,
    }
