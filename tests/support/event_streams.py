"""Writing AWS's binary event streams, as a service would (the library only reads them)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from zlib import crc32

import msgspec


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message whose headers are all text."""
    block = b"".join(
        bytes([len(name.encode())]) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    body = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return body + struct.pack(">I", crc32(body))


def event(kind: str, document: object) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, msgspec.json.encode(document))


def exception(kind: str, text: str) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, msgspec.json.encode({"message": text}))
