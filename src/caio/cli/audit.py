"""``caio audit``: the tenant's audit log, from reading an entry to proving the whole of it."""

from __future__ import annotations

from caio.cli import audit_custody, audit_log, audit_restart
from caio.cli.parameters import group

app = group("Read, keep, export, verify and watch the audit log.")
app.add_typer(audit_custody.app)
app.add_typer(audit_log.app)
app.command("restart")(audit_restart.restart)
