"""Asks a witness to cosign a checkpoint: C2SP tlog-witness, ``add-checkpoint``.

Theory of operation
-------------------
One POST carries the size that the witness is believed to know, a consistency proof from there, and the
signed checkpoint. The answer is the witness' line, which is verified here against the pinned key before
anybody sees it. A witness that knows another size says so, and the caller asks again from there.

The address comes from the operator, not from a tenant, and still goes through the guarded client: a
witness in a private network or on this machine must be on the outbound allow-list (CAIO_OUTBOUND_ALLOW).

Laws (each has a test of the same name)
---------------------------------------
- only_a_verified_cosignature_is_returned: of this witness, for this checkpoint.
- a_conflict_carries_the_witness_own_size: and says when no proof can help.
- a_witness_is_bounded: in time and in bytes; everything else it does is UpstreamFailed.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from caio.audit.checkpoint import SignedCheckpoint, read_checkpoint
from caio.audit.notes import COSIGNATURE_V1, VerifierKey
from caio.audit.witnessing import AddCheckpoint, WitnessConflict, cosignature_in, size_in
from caio.foundation.errors import InvalidInput, Misconfigured, UpstreamFailed, UpstreamFault
from caio.providers.answers import Answer
from caio.providers.faults import fault_of_status, quotable
from caio.providers.outbound import OutboundClient

#: A witness answers some lines of a hundred characters; what is longer is not an answer of a witness.
MAX_ANSWER_BYTES = 64 * 1024
SIZE_TYPE = "text/x.tlog.size"

_MEANING = {
    400: "calls the request malformed",
    403: "does not trust the key that signed; give it the log's verifier key",
    404: "does not know this log; give it the log's origin and verifier key",
    422: "does not accept the consistency proof: what it saw of this log is not in this checkpoint",
}


class WitnessClient:
    """One witness: its submission prefix ``url`` and the key ``vkey`` that was pinned for it.

    ``seconds`` bounds a whole exchange. Raises Misconfigured for an address that cannot be a prefix, and for
    a key that is not of a witness.
    """

    def __init__(self, outbound: OutboundClient, url: str, vkey: VerifierKey, *, seconds: float = 10.0) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise Misconfigured(f"The address of the witness {vkey.name} must be an http or https URL without a query.")
        if vkey.algorithm != COSIGNATURE_V1:
            raise Misconfigured(f"The key of {vkey.name} is a log's; the witness publishes another for cosignatures.")
        self._outbound = outbound
        self._address = url.rstrip("/") + "/add-checkpoint"
        self._seconds = seconds
        self._subject = f"The witness {vkey.name}"
        self.key = vkey

    async def cosign(self, note: str, old_size: int, proof: Sequence[bytes]) -> str:
        """The witness' line for the checkpoint ``note``, verified, with its newline.

        ``proof`` leads from the tree of ``old_size`` entries to this one; it is empty for 0. Raises
        WitnessConflict when the witness knows another size, UpstreamFailed when it does not cosign, and
        InvalidInput for a note or proof that cannot be sent. How current its time is, is not checked.
        """
        signed = read_checkpoint(note)
        if signed.checkpoint.origin == self.key.name:
            raise InvalidInput(
                f"{self._subject} has this log's own name, so that its line could not be told from the log's."
            )
        body = AddCheckpoint(old_size, tuple(proof), note).body()
        async with self._outbound.request(
            "POST", self._address, subject=self._subject, seconds=self._seconds, body=body
        ) as answer:
            content = await self._bounded(answer)
        if answer.status == 200:
            return self._cosignature(content, signed)
        if answer.status == 409:
            raise self._conflict(answer.media_type, content, signed, old_size)
        meaning = _MEANING.get(answer.status, "failed")
        quote = quotable(content.decode(errors="replace"), None)
        message = f"{self._subject} {meaning} (status {answer.status}){f': {quote}' if quote else ''}"
        fault = UpstreamFault.INVALID if answer.status == 404 else fault_of_status(answer.status)
        raise UpstreamFailed(message, fault, status=answer.status)

    def _cosignature(self, content: bytes, signed: SignedCheckpoint) -> str:
        try:
            return cosignature_in(content, signed, self.key)
        except InvalidInput as error:
            message = f"{self._subject} answered no cosignature of its own. {error.message}"
            raise UpstreamFailed(message, UpstreamFault.GARBAGE, status=200) from error

    def _conflict(
        self, media_type: str, content: bytes, signed: SignedCheckpoint, old_size: int
    ) -> WitnessConflict | UpstreamFailed:
        """What a 409 means. At the same size, which may be left unsaid, it is about the root."""
        size = size_in(content) if media_type == SIZE_TYPE else None
        log, new_size = signed.checkpoint.origin, signed.checkpoint.size
        if old_size == new_size and size in (None, old_size):
            message = f"{self._subject} saw another root of {log} at size {old_size}: the log showed two trees."
            return WitnessConflict(message, size=old_size, forked=True)
        if size is None or size == old_size:
            message = f"{self._subject} is at another size and does not say at which"
            return UpstreamFailed(message, UpstreamFault.GARBAGE, status=409)
        advice = "prove from there" if size <= new_size else "send a newer one; if there is none, the log was set back"
        return WitnessConflict(f"{self._subject} knows {log} at size {size}, not {old_size}; {advice}.", size=size)

    async def _bounded(self, answer: Answer) -> bytes:
        content = b""
        while piece := await answer.next_piece():
            content += piece
            if len(content) > MAX_ANSWER_BYTES:
                raise UpstreamFailed(f"{self._subject} answered more than a witness may", UpstreamFault.GARBAGE)
        return content
