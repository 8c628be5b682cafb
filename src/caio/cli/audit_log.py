"""The commands of ``caio audit`` that see the log as a whole: export, verify, monitor, checkpoint."""

from __future__ import annotations

from caio.cli import audit_verify
from caio.cli.parameters import group

app = group("The log as a whole.")
app.command("verify")(audit_verify.verify)
