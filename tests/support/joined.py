"""Tenants that the platform's operator makes over HTTP."""

from __future__ import annotations

import aiohttp


async def admin_of_new(operator: aiohttp.ClientSession, name: str) -> str:
    """The token of a new tenant's first admin, who has accepted the invitation."""
    wish = {"tenant_id": name, "name": name, "invite": {"email": "boss@example.org"}}
    async with operator.post("/api/v1/tenants", json=wish) as answer:
        made = await answer.json()
    joining = {"Authorization": f"Bearer {made['invitation']['token']}"}
    async with operator.post("/api/v1/invitations/accept", json={"name": "laptop"}, headers=joining) as answer:
        return str((await answer.json())["token"])
