"""The ``caio`` command: see docs/reference/cli.md. Nothing else imports this room."""
