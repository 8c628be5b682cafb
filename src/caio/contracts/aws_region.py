"""The region that the address of an AWS service names.

Source: https://docs.aws.amazon.com/general/latest/gr/bedrock.html: endpoints of Bedrock's runtime, also those for
FIPS, both IP versions and private links. Pure.
"""

from __future__ import annotations

import re
from typing import Any

_RUNTIME = re.compile(
    r"https?://(?:[a-z0-9.-]+\.)?bedrock-runtime(?:-fips)?\.([a-z]{2,8}(?:-[a-z0-9]{1,16}){1,4})"
    r"\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)(?::[0-9]+)?(?:/.*)?",
    re.IGNORECASE,
)


def region_of(base_url: Any) -> str | None:
    """The region in the address of Bedrock's runtime; None for another address."""
    found = _RUNTIME.fullmatch(base_url) if isinstance(base_url, str) else None
    return None if found is None else found[1].lower()
