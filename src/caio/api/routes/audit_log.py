"""``/api/v1/audit``: the tenant's log as a whole, for auditors and monitors: checkpoint, tiles, proofs, export."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel

from caio.api.dependencies import HeavyTurn, ThePlatform, caller_with
from caio.api.routes.audit_entries import LARGEST
from caio.audit.export import Shown
from caio.audit.merkle import MAX_SIZE
from caio.audit.ports import LeafKind
from caio.audit.query import Result
from caio.audit.tiles import BundleId, TileId, inclusion_proof, read_tile_path, tiles_for_inclusion
from caio.foundation.errors import InvalidInput, NotFound, Violation
from caio.foundation.scope import TenantScope
from caio.registry.audit_log import AuditLog
from caio.tenancy.principals import Caller, Permission

router = APIRouter(tags=["audit"])

Reader = Annotated[Caller, Depends(caller_with(Permission.AUDIT_READ))]
Text = Annotated[str | None, Query(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Size = Annotated[int, Query(ge=0, le=MAX_SIZE)]

#: What a tile's address holds never changes. Not for shared caches: it belongs to one tenant.
_FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
_NEVER = {"cache-control": "no-store"}


class InclusionView(BaseModel):
    """That entry ``seq`` is in the tree of ``size`` entries: RFC 9162's proof, hashes in hexadecimal. The
    signed ``checkpoint`` of that size is there when the size was not asked for."""

    seq: int
    size: int
    proof: list[str]
    checkpoint: str | None


class ConsistencyView(BaseModel):
    """That the tree of ``new`` entries begins with that of ``old``: RFC 9162's proof, hashes in hexadecimal."""

    old: int
    new: int
    proof: list[str]


def _content(kind: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {"schema": {"type": "string"}}}, "description": "The content"}}


@router.get("/api/v1/audit/checkpoint", response_class=PlainTextResponse, responses=_content("text/plain"))
async def get_checkpoint(
    caller: Reader,
    platform: ThePlatform,
    fresh: Annotated[bool, Query(description="Take in what is durable now, and sign that.")] = False,
) -> PlainTextResponse:
    """The newest signed checkpoint of the tenant's log (C2SP tlog-checkpoint)."""
    head = await platform.audit_log.head(caller.scope, fresh=fresh)
    if head is None:
        raise NotFound("the log has no checkpoint yet; ask with ?fresh=true")
    return PlainTextResponse(head.checkpoint, headers=_NEVER)


@router.get("/api/v1/audit/tile/{path:path}", response_class=Response, responses=_content("application/octet-stream"))
async def get_tile(
    caller: Reader,
    platform: ThePlatform,
    path: Annotated[str, Path(description="`<level>/<number>` or `entries/<number>`, as in C2SP tlog-tiles.")],
) -> Response:
    """A tile of the log's tree, or a bundle of its entries, which are the 32-byte commitments."""
    tile, width = read_tile_path(f"tile/{path}")
    if isinstance(tile, BundleId):
        content = await platform.audit_log.entry_bundle(caller.scope, tile.index, width)
    else:
        content = await platform.audit_log.tile(caller.scope, tile.level, tile.index, width)
    return Response(content, media_type="application/octet-stream", headers=_FOREVER)


@router.get("/api/v1/audit/proofs/inclusion")
async def get_inclusion(
    caller: Reader,
    platform: ThePlatform,
    seq: Size,
    size: Annotated[int | None, Query(ge=1, le=MAX_SIZE, description="The newest that there is, if absent.")] = None,
) -> InclusionView:
    """The proof that an entry is in the log."""
    if size is not None:
        proof = await _inclusion_at(platform.audit_log, caller.scope, seq, size)
        return InclusionView(seq=seq, size=size, proof=[each.hex() for each in proof], checkpoint=None)
    found = await platform.audit_log.inclusion(caller.scope, [seq], fresh=True)
    if found is None:
        raise NotFound(f"the log has no entry {seq} yet")
    return InclusionView(
        seq=seq,
        size=found.head.size,
        proof=[each.hex() for each in found.proofs[0]],
        checkpoint=found.checkpoint,
    )


@router.get("/api/v1/audit/proofs/consistency")
async def get_consistency(caller: Reader, platform: ThePlatform, old: Size, new: Size) -> ConsistencyView:
    """The proof that the log only grew between two sizes."""
    proof = await platform.audit_log.consistency(caller.scope, old, new)
    return ConsistencyView(old=old, new=new, proof=[each.hex() for each in proof])


@router.get("/api/v1/audit/export", response_class=StreamingResponse, responses=_content("application/x-ndjson"))
async def get_export(
    caller: Reader,
    _turn: HeavyTurn,
    platform: ThePlatform,
    start: Annotated[int, Query(alias="from", ge=0, le=LARGEST, description="The first entry.")] = 0,
    kind: Annotated[list[LeafKind] | None, Query(description="Disclose these kinds only.")] = None,
    since: Annotated[
        int | None, Query(ge=0, le=LARGEST, description="Disclose what was recorded from this time on.")
    ] = None,
    until: Annotated[
        int | None, Query(ge=0, le=LARGEST, description="Disclose what was recorded before this time.")
    ] = None,
    service: Annotated[Text, Query(description="Disclose decisions that chose it, or that it answered.")] = None,
    principal: Annotated[Text, Query(description="Disclose what this principal asked for or did.")] = None,
    outcome: Annotated[Result | None, Query(description="Disclose decisions that ended so.")] = None,
    capability: Annotated[Text, Query(description="Disclose decisions on this capability.")] = None,
) -> StreamingResponse:
    """The log as one stream: a line for each entry, and a last one with the signed manifest. Entries that are
    not asked for are withheld: their commitments alone are there, so that the whole can be verified."""
    kinds = tuple(each.value for each in kind or ())
    shown = Shown(kinds, since, until, service, principal, outcome, capability)
    lines = await platform.audit_exports.export(caller.scope, caller.principal.principal_id, start, shown)
    return StreamingResponse(lines, media_type="application/x-ndjson", headers=_NEVER)


async def _inclusion_at(log: AuditLog, scope: TenantScope, seq: int, size: int) -> list[bytes]:
    """The proof in the tree that the log had at ``size``."""
    if seq >= size:
        raise InvalidInput("no tree of that size holds the entry", [Violation("/query/size", f"must be above {seq}")])

    async def read(tile: TileId) -> bytes:
        return await log.tile(scope, tile.level, tile.index, tile.width_in(size))

    return inclusion_proof(seq, size, {tile: await read(tile) for tile in tiles_for_inclusion(seq, size)})
