"""The commands of ``caio audit`` that see the log as a whole: export, verify, monitor, checkpoint."""

from __future__ import annotations

from caio.cli import audit_export, audit_monitor, audit_verify
from caio.cli.parameters import group

app = group("The log as a whole.")
app.command("export")(audit_export.export)
app.command("verify")(audit_verify.verify)
app.command("checkpoint")(audit_monitor.checkpoint)
app.command("monitor")(audit_monitor.monitor)
