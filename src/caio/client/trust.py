"""Verifying receipts offline, with keys that were trusted beforehand.

Whom to trust is always said: ``pinned_keys`` are those of ``caio trust add``, ``keys_in`` those of a key set that
came some other way, ``receipts.published_keys()`` those that the server itself publishes now. The last is trust on
first use: it tells a changed receipt, and not a server that lies from the beginning.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caio.client.errors import Misused
from caio.foundation.errors import InvalidInput

if TYPE_CHECKING:
    from caio.audit.verify import Verification

#: Raw Ed25519 public keys by id.
Keys = Mapping[str, bytes]


def keys_in(document: Any) -> dict[str, bytes]:
    """The keys of a key set document; raises Misused for what is none."""
    from caio.audit.signing import read_key_set

    try:
        return read_key_set(document)
    except InvalidInput as error:
        raise Misused(f"{error.message} {'; '.join(each.message for each in error.violations)}") from None


def pinned_keys(path: str | Path | None = None) -> dict[str, bytes]:
    """The keys that ``caio trust add`` pinned: in ``path``, else in CAIO_TRUST_STORE, else in
    ``~/.config/caio/trusted-keys.json``. Raises Misused when there are none."""
    stated = path or os.environ.get("CAIO_TRUST_STORE") or Path.home() / ".config" / "caio" / "trusted-keys.json"
    try:
        return keys_in(json.loads(Path(stated).read_bytes()))
    except OSError as error:
        raise Misused(f"no keys are pinned in {stated} ({error.strerror}): caio trust add URL") from None
    except ValueError as error:
        raise error if isinstance(error, Misused) else Misused(f"{stated} is not a key set") from None


def verify_receipt(receipt: Mapping[str, Any], keys: Keys, evidence: Mapping[str, Any] | None = None) -> Verification:
    """Check every claim of a receipt, asking nobody. ``ok`` when nothing was refuted; with ``evidence`` the decision
    itself is worked out again."""
    from caio.audit.verify import verify_receipt as verify

    return verify(receipt, keys, evidence)
