"""Tenants' data keys wrapped by a key of AWS KMS, which never leaves KMS.

Theory of operation
-------------------
A data key is encrypted by KMS under an *encryption context* that names the tenant: KMS authenticates it with
the ciphertext, so that a wrapped key moved to another tenant does not open, and writes it to CloudTrail, so
that the account's owner sees whose key was opened when. A key policy may demand it.

KMS is asked once per tenant and process. A key that is disabled, or scheduled for deletion, lets no further
process open anything; processes that hold a tenant's key already go on. Destroying one tenant is the work
of ``TenantKeyStore.destroy``; deleting the KMS key destroys all tenants.

Sources: AWS KMS API reference, Encrypt and Decrypt; KMS concepts, "encryption context".
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from caio.aws.outage import answers_of, code_of
from caio.foundation.errors import NotReady, SealBroken

_FOREIGN = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_UNUSABLE = frozenset({"DisabledException", "KMSInvalidStateException", "NotFoundException"})


class KmsWrapping:
    """The ``KeyWrapping`` port. ``client`` is a KMS client; ``key_id`` an id, ARN or alias."""

    def __init__(self, client: Any, key_id: str) -> None:
        self._client = client
        self._key_id = key_id

    async def wrap(self, key: bytes, tenant_id: str) -> bytes:
        """Raises NotReady, with the code ``kms_key_unusable`` when the key is disabled, being deleted or absent."""
        answer = await self._ask("encrypt", tenant_id, Plaintext=key)
        return bytes(answer["CiphertextBlob"])

    async def unwrap(self, wrapped: bytes, tenant_id: str) -> bytes:
        """Raises SealBroken for what this key did not wrap for this tenant, and NotReady as ``wrap`` does."""
        answer = await self._ask("decrypt", tenant_id, CiphertextBlob=wrapped)
        return bytes(answer["Plaintext"])

    async def _ask(self, operation: str, tenant_id: str, **what: bytes) -> Any:
        context = {"caio:tenant": tenant_id, "caio:purpose": "tenant-key"}
        ask = getattr(self._client, operation)
        with answers_of("KMS"):
            try:
                return await ask(KeyId=self._key_id, EncryptionContext=context, **what)
            except ClientError as error:
                if code_of(error) in _FOREIGN:
                    raise SealBroken(
                        f"The data key of tenant {tenant_id} was not wrapped by this KMS key for this tenant. "
                        "Set CAIO_KMS_KEY_ID to the key that belongs to this database."
                    ) from error
                if code_of(error) in _UNUSABLE:
                    raise NotReady(
                        f"The KMS key that opens the tenants' data keys cannot be used ({code_of(error)}): "
                        "it is disabled, scheduled for deletion, or not there. Enable it or cancel the deletion.",
                        code="kms_key_unusable",
                    ) from error
                raise
