"""``caio whoami``: what one's key or token is, on the server."""

from __future__ import annotations

from caio.cli import output
from caio.cli.limits import shown
from caio.cli.parameters import DEFAULT_URL, ApiKey, Json, Url
from caio.cli.server import asked_with


def whoami(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show who the key or token is: its tenant, roles, permissions and limits."""
    me = asked_with(url, api_key).get("/api/v1/me").document
    if as_json:
        output.print_json(me)
        return
    tenant = me["tenant"]
    output.facts(
        {
            "tenant": f"{tenant['tenant_id']} ({tenant['name']}, {tenant['status']})",
            "principal": f"{me['principal_id']} ({me['kind']})",
            "roles": ", ".join(me["roles"]),
            "trust": me["trust_level"],
            "permissions": ", ".join(me["permissions"]),
            "policies": ", ".join(me["policies"]) or None,
            "limits": shown(me["limits"]) or None,
            "ends": output.moment(me["expires_at"]) or None,
        }
    )
